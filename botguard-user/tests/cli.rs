//! The built binary from outside: exit statuses, messages, and a daemon that starts, answers,
//! reloads and stops. No kernel (`backend = "none"`), loopback only.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails, and a panic says where"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

const SETTINGS: &str = r#"
state_dir = "state"
[admin]
socket = "run/admin.sock"
http = "127.0.0.1:0"
[[listener]]
bind = "127.0.0.1:0"
upstream = "app"
self_signed = ["localhost"]
[upstream.app]
endpoints = ["http://127.0.0.1:9"]
[kernel]
backend = "none"
[[route]]
path = "/users"
mode = "enforce"
[audit]
path = "audit.jsonl"
"#;

struct Host {
    directory: TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        host.configure(SETTINGS);
        host
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("botguard.toml")
    }

    fn configure(&self, text: &str) {
        std::fs::write(self.config(), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_botguard"));
        command.args(arguments).arg("--config").arg(self.config());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command and compares exit status and a part of what it says.
    fn check(&self, arguments: &[&str], status: i32, part: &str) {
        let output = self.run(arguments);
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {text}");
        assert!(
            text.contains(part),
            "{arguments:?}: {part:?} is not in {text}"
        );
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// A running daemon; killed when the test ends before it.
struct Daemon {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Daemon {
    fn start(host: &Host) -> Self {
        let mut command = host.command(&["run"]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut daemon = Self { child, log };
        daemon.wait_for("ready");
        daemon
    }

    /// Reads the log up to a line with this text; the daemon's end ends the test.
    fn wait_for(&mut self, text: &str) -> String {
        let mut seen = String::new();
        loop {
            let from = seen.len();
            assert_ne!(
                self.log.read_line(&mut seen).unwrap(),
                0,
                "{text:?} not in {seen}"
            );
            if seen[from..].contains(text) {
                return seen[from..].to_owned();
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, signal).unwrap();
    }

    fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail where it has ended, which is what they are for.
        let _killed: std::io::Result<()> = self.child.kill();
        let _reaped: std::io::Result<_> = self.child.wait();
    }
}

#[test]
fn bad_usage_exits_with_64_and_names_the_mend() {
    let host = Host::new();
    let check = |arguments: &[&str], part: &str| host.check(arguments, 64, part);
    check(&[], "Usage");
    check(&["explode"], "explode");
    check(&["block", "add", "AS16509"], "`[intel] asn` names no table");
    check(&["block", "add", "192.0.2.1/24"], "192.0.2.0/24");
    check(&["block", "add", "203.0.113.1", "--ttl", "10"], "10s");
    check(&["block", "add", "127.0.0.0/8"], "this host");
    check(&["mode", "off"], "log");
    host.configure("mode = \"log\"\n[kernel]\nbackend = \"none\"\nscop = \"host\"\n");
    check(
        &["status"],
        "botguard.toml:4: unknown key `scop`; did you mean `scope`?",
    );
    host.configure("[kernel]\nbackend = \"tcx\"\n");
    check(&["run", "--check"], "not yet supported");
    let long_path = SETTINGS.replace("admin.sock", &"s".repeat(108));
    host.configure(&long_path);
    check(&["run", "--check"], "botguard.toml:4: admin.socket: ");
}

#[test]
fn help_and_version_are_answers() {
    let host = Host::new();
    host.check(&["--help"], 0, "would-block");
    host.check(&["--version"], 0, "botguard");
}

#[test]
fn check_binds_nothing_and_is_strict() {
    let host = Host::new();
    host.check(&["run", "--check"], 0, "is good");
    assert!(!host.directory.path().join("state").exists());
    host.configure(&SETTINGS.replace("\"none\"", "\"xdp\"\ninterfaces = [\"nosuch0\"]"));
    host.check(&["run", "--check"], 64, "no interface `nosuch0`");
    let files = "certificate = [{ cert = \"missing.pem\", key = \"k.pem\" }]";
    host.configure(&SETTINGS.replace("self_signed = [\"localhost\"]", files));
    host.check(&["run", "--check"], 64, "missing.pem");
    host.configure(&SETTINGS.replace("upstream = \"app\"", "upstream = \"other\""));
    host.check(&["run", "--check"], 64, "botguard.toml:6");
}

#[test]
fn lists_work_without_a_daemon() {
    let host = Host::new();
    host.check(&["block", "list"], 0, "no blocks");
    host.check(
        &["block", "add", "203.0.113.7", "--ttl", "1h"],
        0,
        "scope listeners",
    );
    host.check(&["block", "list"], 0, "203.0.113.7/32");
    host.check(&["would-block", "203.0.113.7"], 2, "203.0.113.7/32");
    host.check(&["would-block", "203.0.113.8"], 2, "no live block");
    host.check(&["block", "del", "203.0.113.8"], 1, "no block of exactly");
    host.check(
        &["allow", "add", "203.0.113.0/24", "--reason", "office"],
        0,
        "allowed",
    );
    host.check(&["would-block", "203.0.113.7"], 2, "beats every block");
    let blocks = host.json(&["block", "list"]);
    assert_eq!(blocks["blocks"][0]["network"], "203.0.113.7/32");
    host.check(&["block", "flush"], 0, "1 blocks removed");
    host.check(&["mode", "log"], 0, "mode log");
    host.check(&["status"], 2, "LOG (NOTHING IS DENIED)");
    host.check(&["status"], 2, "no daemon is running");
    host.check(&["kernel", "detach"], 1, "no kernel filter");
}

#[test]
fn whoever_stops_reading_ends_the_command_quietly() {
    let host = Host::new();
    let mut command = host.command(&["block", "list"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_daemon_starts_answers_and_stops() {
    let host = Host::new();
    let daemon = Daemon::start(&host);
    host.check(&["status"], 0, "127.0.0.1:");
    host.check(
        &["block", "add", "203.0.113.9", "--reason", "test"],
        0,
        "scope listeners",
    );
    host.check(&["block", "list"], 0, "203.0.113.9/32");
    host.check(&["run"], 1, "held by another botguard process");

    let status = host.json(&["status"]);
    let http = status["daemon"]["http"].as_str().unwrap();
    assert_eq!(get(http, "localhost", "/healthz"), (200, "ok\n".to_owned()));
    let (code, metrics) = get(http, "localhost", "/metrics");
    assert_eq!(code, 200);
    assert!(metrics.contains("botguard_audit_lost_total 0"), "{metrics}");
    assert_eq!(get(http, "evil.example", "/metrics").0, 403);
    daemon.stop();

    // What was acknowledged is there without it, and on record.
    host.check(&["block", "list"], 0, "203.0.113.9/32");
    let audit = std::fs::read_to_string(host.directory.path().join("audit.jsonl")).unwrap();
    assert!(audit.contains(r#""operation":"block add""#), "{audit}");
}

#[test]
fn an_acknowledged_block_survives_kill_9() {
    let host = Host::new();
    let mut daemon = Daemon::start(&host);
    host.check(&["block", "add", "203.0.113.10"], 0, "blocked");
    daemon.signal(Signal::SIGKILL);
    daemon.child.wait().unwrap();
    host.check(&["block", "list"], 0, "203.0.113.10/32");
}

#[test]
fn reload_is_all_or_nothing() {
    let host = Host::new();
    let mut daemon = Daemon::start(&host);
    let mode = |host: &Host| host.json(&["status"])["routes"][0]["effective"].clone();
    assert_eq!(mode(&host), "enforce");

    host.configure(&SETTINGS.replace("mode = \"enforce\"", "mode = \"enforced\""));
    host.check(&["reload"], 64, "did you mean `enforce`?");
    daemon.signal(Signal::SIGHUP);
    let line = daemon.wait_for("reload refused");
    assert!(line.contains("the old configuration stays"), "{line}");
    let intact = SETTINGS.to_owned();
    host.configure(&intact);
    assert_eq!(mode(&host), "enforce");

    host.configure(&SETTINGS.replace("mode = \"enforce\"", "mode = \"log\""));
    host.check(&["reload"], 0, "changed: [[route]]");
    assert_eq!(mode(&host), "log");
    daemon.stop();
}

#[test]
fn what_needs_a_restart_is_told_until_there_is_one() {
    let host = Host::new();
    let daemon = Daemon::start(&host);
    host.configure(&format!("drain = \"3s\"\n{SETTINGS}"));
    for _ in 0..2 {
        host.check(&["reload"], 0, "only after a restart: drain");
    }
    daemon.stop();
    let daemon = Daemon::start(&host);
    host.check(&["reload"], 0, "nothing that a reload takes up has changed");
    daemon.stop();
}

#[test]
fn a_reload_moves_a_listener() {
    let host = Host::new();
    let daemon = Daemon::start(&host);
    let bind = |host: &Host| host.json(&["status"])["daemon"]["listeners"][0]["bind"].clone();
    let is_at = |bind: &Value, ip: &str| bind.as_str().unwrap().starts_with(ip);
    assert!(is_at(&bind(&host), "127.0.0.1:"));
    let moved = SETTINGS.replace("bind = \"127.0.0.1:0\"", "bind = \"127.0.0.2:0\"");
    host.configure(&moved);
    host.check(&["reload"], 0, "listens on 127.0.0.2:");
    assert!(is_at(&bind(&host), "127.0.0.2:"));
    daemon.stop();
}

#[test]
fn a_reload_gives_a_listener_another_upstream() {
    let host = Host::new();
    let daemon = Daemon::start(&host);
    let upstream =
        |host: &Host| host.json(&["status"])["daemon"]["listeners"][0]["upstream"].clone();
    assert_eq!(upstream(&host), "app");
    let other = "[upstream.other]\nendpoints = [\"http://127.0.0.1:9\"]\n";
    host.configure(&(SETTINGS.replace("upstream = \"app\"", "upstream = \"other\"") + other));
    host.check(&["reload"], 0, "changed: [[listener]], [upstream]");
    assert_eq!(upstream(&host), "other");
    host.check(
        &["status"],
        0,
        "endpoint    http://127.0.0.1:9 (127.0.0.1:9) up",
    );
    daemon.stop();
}

#[test]
fn the_kill_switch_outlives_the_daemon() {
    let host = Host::new();
    let daemon = Daemon::start(&host);
    host.check(&["mode", "log"], 0, "mode log");
    host.check(&["status"], 0, "LOG (NOTHING IS DENIED) BY COMMAND");
    daemon.stop();
    let daemon = Daemon::start(&host);
    host.check(&["status"], 0, "LOG (NOTHING IS DENIED) BY COMMAND");
    host.check(&["mode", "enforce"], 0, "mode enforce");
    let status = host.json(&["status"]);
    assert_eq!(status["mode_override"], Value::Null);
    daemon.stop();
}

#[test]
fn a_corrupt_store_is_moved_aside_and_degrades() {
    let host = Host::new();
    let state = host.directory.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::write(state.join("store.redb"), "damage").unwrap();
    let daemon = Daemon::start(&host);
    host.check(&["status"], 2, "DEGRADED    the store was corrupt");
    daemon.stop();
    let aside = std::fs::read_dir(&state).unwrap().flatten().find(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with("store.redb.corrupt-")
    });
    assert_eq!(std::fs::read(aside.unwrap().path()).unwrap(), b"damage");
}

fn get(address: &str, host: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}
