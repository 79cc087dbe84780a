//! slowhttptest: clients that begin and do not go on, or do not read. All of them are closed, and
//! others are served meanwhile.

use std::process::Stdio;
use std::time::Duration;

use botguard_tests::wait;

use crate::scene::{Scene, succeed};

const HASTY_LISTENER: &str = r#"
[[listener]]
bind = "192.0.2.1:9443"
upstream = "app"
certificate = [{ cert = "fullchain.pem", key = "privkey.pem" }]
header_timeout = "2s"
body_timeout = "2s"
send_timeout = "2s"
idle_timeout = "2s"
"#;

/// One mode: whether its connections are closed long before the test's own end.
fn check(name: &str, arguments: &[&str]) {
    let scene = Scene::set_up(name, HASTY_LISTENER);
    let mut command = scene.command("slowhttptest");
    command
        .args(["-c", "100", "-r", "100", "-l", "60", "-p", "5"])
        .args(arguments)
        .args(["-u", "https://192.0.2.1:9443/large"]);
    let said = succeed(&mut command);
    let ended = said.contains("Exit status:") && said.contains("No open connections left");
    assert!(ended, "{name}: {said}");
    assert!(
        !said.contains("service available:\u{1b}[1;31m   NO"),
        "{said}"
    );
    let (status, _) = scene.curl("/json", &[]);
    assert_eq!(status, "2 200");
}

#[test]
fn slow_heads_are_closed() {
    check("slow-head", &["-H", "-i", "1"]);
}

#[test]
fn slow_bodies_are_closed() {
    check("slow-body", &["-B", "-i", "4", "-s", "100000"]);
}

/// The tool reads on from its own buffers after a reset and does not see it, so the daemon is asked.
#[test]
fn slow_readers_are_closed() {
    let scene = Scene::set_up("slow-read", HASTY_LISTENER);
    let mut command = scene.command("slowhttptest");
    command
        .args(["-X", "-c", "100", "-r", "100", "-l", "120", "-p", "5"])
        .args(["-w", "1", "-y", "64", "-z", "1", "-n", "4"])
        .args(["-u", "https://192.0.2.1:9443/large"])
        .stdout(Stdio::null());
    let mut readers = command.spawn().unwrap();
    let stalled = wait::until("slow readers closed", Duration::from_secs(60), || {
        let metrics = metrics(&scene);
        let stalled = metrics
            .lines()
            .find_map(|line| line.strip_prefix("botguard_http_errors_total{kind=\"stalled\"} "));
        (stalled == Some("100")).then_some(())
    });
    readers.kill().unwrap();
    readers.wait().unwrap();
    stalled.unwrap_or_else(|error| panic!("{error}\n{}", metrics(&scene)));
    let (status, _) = scene.curl("/json", &[]);
    assert_eq!(status, "2 200");
}

fn metrics(scene: &Scene) -> String {
    let mut command = scene.host.lab.edge.command("curl");
    succeed(command.args(["--silent", "http://127.0.0.1:9480/metrics"]))
}
