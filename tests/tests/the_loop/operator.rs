//! What an operator does, with the daemon and without it.

use botguard_tests::config::Config;

use crate::fixture::{USER, ask, dropped, exit_of, host, running, status_of};

#[test]
fn the_daemon_may_open_as_many_files_as_the_host_allows() {
    let (host, _daemon) = running("limit", &Config::default()).unwrap();
    let pid = ask(&host, &["status"]).unwrap()["daemon"]["pid"].clone();
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let open_files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let [soft, hard] = open_files.unwrap().split_whitespace().collect::<Vec<_>>()[3..5] else {
        panic!("{limits}")
    };
    assert_eq!(soft, hard);
}

#[test]
fn the_kill_switch_stops_all_drops_and_comes_back() {
    let (host, _daemon) = running("switch", &Config::default()).unwrap();
    let botguard = |arguments: &[&str]| host.botguard.expect(&host.lab, arguments).unwrap();
    botguard(&["block", "add", USER, "--ttl", "1h"]);
    assert_eq!(status_of(&host, USER, "/users").unwrap(), None);
    botguard(&["mode", "log"]);
    let before = dropped(&host).unwrap();
    assert_eq!(status_of(&host, USER, "/users").unwrap(), Some(200));
    assert_eq!(dropped(&host).unwrap(), before);
    botguard(&["mode", "enforce"]);
    assert_eq!(status_of(&host, USER, "/users").unwrap(), None);
}

#[test]
fn without_a_daemon_the_cli_blocks_on_store_and_pinned_maps() {
    let (host, daemon) = running("offline", &Config::default()).unwrap();
    let botguard = |arguments: &[&str]| host.botguard.expect(&host.lab, arguments).unwrap();
    daemon.kill().unwrap();
    botguard(&[
        "block",
        "add",
        USER,
        "--ttl",
        "1h",
        "--reason",
        "while it was down",
    ]);
    let listed = ask(&host, &["block", "list"]).unwrap();
    assert_eq!(listed["blocks"].as_array().unwrap().len(), 1, "{listed}");
    let said = botguard(&["mode", "log", "--for", "1h"]);
    assert!(said.contains("no daemon is running to end it"), "{said}");
    botguard(&["mode", "enforce"]);
    let daemon = host.botguard.start(&host.lab).unwrap();
    assert_eq!(status_of(&host, USER, "/users").unwrap(), None);
    assert!(dropped(&host).unwrap() > 0);
    botguard(&["block", "flush"]);
    assert_eq!(status_of(&host, USER, "/users").unwrap(), Some(200));
    daemon.stop().unwrap();
    botguard(&["kernel", "detach"]);
    assert!(!host.lab.pin_dir().join("v2").exists());
}

#[test]
fn blocks_survive_a_detached_kernel_and_come_back_with_attach() {
    let host = host("attach", &Config::default()).unwrap();
    let botguard = |arguments: &[&str]| host.botguard.expect(&host.lab, arguments).unwrap();
    botguard(&["block", "add", "198.51.100.7", "--ttl", "1h"]);
    botguard(&["kernel", "attach"]);
    assert_eq!(
        exit_of(&host, &["would-block", "198.51.100.7"]).unwrap().0,
        0
    );
    botguard(&["kernel", "detach"]);
    botguard(&["kernel", "attach"]);
    assert_eq!(
        exit_of(&host, &["would-block", "198.51.100.7"]).unwrap().0,
        0
    );
    assert_eq!(
        exit_of(&host, &["would-block", "198.51.100.8"]).unwrap().0,
        2
    );
}

#[test]
fn an_operator_does_not_cut_the_host_off() {
    let (host, _daemon) = running("lifeline", &Config::default()).unwrap();
    let refused = |arguments: &[&str], expected: &str| {
        let (exit, said) = exit_of(&host, arguments).unwrap();
        assert_eq!(exit, 64, "{arguments:?}");
        assert!(said.contains(expected), "{said}");
    };
    for own in ["192.0.2.1", "127.0.0.1", "0.0.0.0/0", "::/0", "2001:db8::1"] {
        for scope in ["listeners", "host"] {
            refused(
                &["block", "add", own, "--scope", scope],
                "shut out this host",
            );
        }
    }
    // The gateway is known from the next look at the host, which a reload takes.
    let gateway = "192.0.2.254";
    host.lab
        .edge
        .ip(&["route", "replace", "default", "via", gateway])
        .unwrap();
    let botguard = |arguments: &[&str]| host.botguard.expect(&host.lab, arguments).unwrap();
    botguard(&["reload"]);
    refused(
        &["block", "add", gateway, "--scope", "host"],
        "default gateway",
    );
    botguard(&["block", "add", gateway]);
}
