//! `botguard key` from outside, by the built binary: wrong uses, with and without a daemon. No
//! kernel (`backend = "none"`), loopback only.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails, and a panic says where"
)]

mod host;

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use self::host::{Host, text};

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
[[tier]]
name = "free"
keys = ["sk_pub_*"]
client = "browser"
[audit]
path = "audit.jsonl"
"#;

const KEY: &str = "sk_pub_xyz123kd92mvbq07trw4ynlcze518jqa3";
const ID: &str = "xyz123kd92mv";

fn host() -> Host {
    let host = Host::new(SETTINGS, KEY);
    std::fs::write(host.directory().join("key"), format!("{KEY}\n")).unwrap();
    host
}

/// State of the only key, and what the operator said of it.
fn only(host: &Host) -> (String, Value) {
    let listed = host.json(&["key", "list"]);
    let [key] = listed["keys"].as_array().unwrap().as_slice() else {
        panic!("{listed}")
    };
    (
        key["state"].as_str().unwrap().to_owned(),
        key["override"].clone(),
    )
}

#[test]
fn wrong_uses_exit_with_64_and_name_the_mend() {
    let host = host();
    let check = |arguments: &[&str], part: &str| {
        host.check(&[&["key"], arguments].concat(), 64, part);
    };
    check(&[], "Usage");
    check(&["list", "--state", "bad"], "suspended");
    check(&["show"], "--key-file");
    check(&["show", ID, "--key-file", "key"], "cannot be used with");
    check(&["show", &KEY.replace('x', "y")], "whole key");
    check(&["show", "sk_pub_x"], "whole key");
    check(&["show", "#123"], "8 to 32 hexadecimal digits");
    check(&["show", ""], "named by its public id");
    check(&["show", "--key-file", "nosuch"], "nosuch");
    check(&["suspend", ID], "--reason");
    check(&["suspend", ID, "--reason", " "], "--reason");
    check(&["suspend", ID, "--reason", "x", "--for", "10"], "10s");
    check(
        &[
            "suspend",
            "--key-file",
            "key",
            "--reason",
            "x",
            "--for",
            "1ms",
        ],
        "--for",
    );
    check(&["override", ID, "--reason", "x"], "--pin");
    check(&["override", ID, "--pin"], "--reason");
    check(
        &["override", ID, "--rate", "5/s", "--reason", "x"],
        "--burst",
    );
    check(&["override", ID, "--burst", "5", "--reason", "x"], "--rate");
    check(
        &[
            "override", ID, "--rate", "5", "--burst", "5", "--reason", "x",
        ],
        "120/min",
    );
    check(
        &[
            "override", ID, "--rate", "5/s", "--burst", "0", "--reason", "x",
        ],
        "burst",
    );
    check(
        &["override", ID, "--mode", "enforce", "--reason", "x"],
        "log",
    );
    check(&["override", ID, "--clear", "--pin"], "cannot be used with");
    host.check(&["key", "show", ID], 1, "no key `xyz123kd92mv` is known");
    host.check(&["key", "resume", "--key-file", "key"], 1, "not suspended");
    host.check(
        &["key", "override", "--key-file", "key", "--clear"],
        1,
        "no override",
    );
    host.check(&["key", "list"], 0, "no keys");
}

#[test]
fn what_was_acknowledged_outlives_kill_9_with_and_without_a_daemon() {
    let host = host();
    let suspend = ["key", "suspend", "--key-file", "key", "--reason", "leaked"];
    // Before botguard has ever run,
    host.check(&suspend, 0, "every user of it");
    let hash = host.json(&["key", "list"])["keys"][0]["hash"].clone();
    {
        let daemon = host.start();
        assert_eq!(only(&host).0, "suspended");
        // and under the daemon, which hashes in the same way.
        let pin = [
            "key",
            "override",
            "--key-file",
            "key",
            "--pin",
            "--reason",
            "partner",
        ];
        host.check(&pin, 64, "key resume");
        host.check(&["key", "resume", ID, "--reason", "rotated"], 0, "lifted");
        host.check(&pin, 0, "pinned for good: partner");
        let limit = [
            "--rate", "1000/min", "--burst", "100", "--reason", "more", "--for", "30d",
        ];
        host.check(
            &[&["key", "override", ID], limit.as_slice()].concat(),
            0,
            "for 30days",
        );
        drop(daemon);
    }
    let (state, set) = only(&host);
    assert_eq!(state, "ok");
    assert_eq!(set["limit"]["rate"], "1000/min");
    assert_eq!(set["standing"], "earned");
    assert_eq!(set["reason"], "more");
    assert_eq!(host.json(&["key", "list"])["keys"][0]["hash"], hash);
    host.check(
        &["key", "suspend", ID, "--reason", "again"],
        0,
        "suspended for good",
    );
    {
        let _daemon = host.start();
        host.check(&["key", "show", ID], 0, "suspended");
        host.check(&["key", "override", ID, "--clear"], 0, "override lifted");
        assert_eq!(only(&host).0, "suspended");
        host.check(
            &["key", "resume", &format!("#{}", hash.as_str().unwrap())],
            0,
            "lifted",
        );
    }
    host.check(&["key", "list"], 0, "no keys");
    let audit = std::fs::read_to_string(host.directory().join("audit.jsonl")).unwrap();
    for part in [
        r#""kind":"key""#,
        r#""reason":"leaked""#,
        r#""operation":"key suspend""#,
        r#""operation":"key override""#,
        r#""operation":"key resume""#,
    ] {
        assert!(audit.contains(part), "{part} is not in {audit}");
    }
    assert!(!audit.contains(KEY), "{audit}");
}

#[test]
fn a_suspension_that_ends_is_collected_and_recorded() {
    let host = host();
    let _daemon = host.start();
    let suspend = [
        "key",
        "suspend",
        "--key-file",
        "key",
        "--reason",
        "leaked",
        "--for",
        "1s",
    ];
    host.check(&suspend, 0, "suspended for 1s");
    let audit = || std::fs::read_to_string(host.directory().join("audit.jsonl")).unwrap();
    while !audit().contains(r#""by":"time""#) {
        std::thread::yield_now();
    }
    host.check(&["key", "list"], 0, "no keys");
    assert!(audit().contains("the suspension has ended: leaked"));
}

#[test]
fn a_key_can_come_by_standard_input() {
    let host = host();
    let mut command = host.command(&[
        "key",
        "override",
        "--key-file",
        "-",
        "--pin",
        "--reason",
        "x",
    ]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(KEY.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(text(&output).contains("pinned"), "{output:?}");
    host.check(&["key", "show", "sk_pub_xyz123kd92mv…"], 0, "pinned by uid");
}
