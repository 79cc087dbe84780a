//! The admin port of a running daemon: operating by a token, and its rotation. No kernel
//! (`backend = "none"`), loopback only.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails, and a panic says where"
)]

mod host;

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

use self::host::{Host, Running};

const SETTINGS: &str = r#"
state_dir = "state"
[admin]
socket = "run/admin.sock"
http = "127.0.0.1:0"
token_file = "token"
[[listener]]
bind = "127.0.0.1:0"
upstream = "app"
self_signed = ["localhost"]
[upstream.app]
endpoints = ["http://127.0.0.1:9"]
[kernel]
backend = "none"
[audit]
path = "audit.jsonl"
"#;

const TOKEN: &str = "0123456789abcdef";
const OTHER: &str = "fedcba9876543210";

fn host() -> Host {
    let host = Host::new(SETTINGS, TOKEN);
    set_token(&host, TOKEN, 0o600);
    host
}

fn set_token(host: &Host, token: &str, mode: u32) {
    let path = host.directory().join("token");
    fs::write(&path, token).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
}

/// A daemon and its admin port.
struct Daemon {
    http: String,
    _running: Running,
}

impl Daemon {
    fn start(host: &Host) -> Self {
        let running = host.start();
        let status = host.json(&["status"]);
        Self {
            http: status["daemon"]["http"].as_str().unwrap().to_owned(),
            _running: running,
        }
    }

    /// Status and body of `POST /v1/operate`.
    fn operate(&self, host: &str, token: &str, body: &str) -> (u16, String) {
        let head = format!(
            "POST /v1/operate HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        self.exchange(&head)
    }

    fn exchange(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.http).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }
}

const BLOCK: &str = r#"{"request":"block_add","networks":["203.0.113.9/32"],"ttl_s":60,
    "reason":"by a program","scope":null,"effect":"drop"}"#;

#[test]
fn whoever_has_the_token_operates_and_is_recorded() {
    let host = host();
    let daemon = Daemon::start(&host);
    let status = r#"{"request":"status"}"#;
    assert_eq!(daemon.operate("evil.example", TOKEN, BLOCK).0, 403);
    assert_eq!(daemon.operate("localhost", OTHER, BLOCK).0, 401);
    assert_eq!(daemon.operate("localhost", "", status).0, 401);
    host.check(&["block", "list"], 0, "no blocks");
    assert_eq!(daemon.operate("localhost", TOKEN, BLOCK).0, 200);
    host.check(&["block", "list"], 0, "by a program");
    let (code, listed) = daemon.operate("127.0.0.1", TOKEN, r#"{"request":"block_list"}"#);
    assert_eq!(code, 200);
    assert!(listed.contains("203.0.113.9/32"), "{listed}");
    let suspend = r#"{"request":"key","operation":"suspend","key":"nobody","reason":"x"}"#;
    let (code, said) = daemon.operate("localhost", TOKEN, suspend);
    assert_eq!(code, 500, "{said}");
    assert!(said.contains("no key `nobody` is known"), "{said}");
    // What is for everybody stays so.
    let get = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let (code, metrics) = daemon.exchange(get);
    assert_eq!(code, 200);
    for line in [
        r#"botguard_admin_refused_total{reason="host"} 1"#,
        r#"botguard_admin_refused_total{reason="wrong_token"} 1"#,
        r#"botguard_admin_refused_total{reason="no_token"} 1"#,
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    drop(daemon);
    let audit = fs::read_to_string(host.directory().join("audit.jsonl")).unwrap();
    assert!(audit.contains(r#""actor":"http token""#), "{audit}");
    assert!(!audit.contains(TOKEN), "{audit}");
}

#[test]
fn a_reload_takes_up_another_token_or_nothing() {
    let host = host();
    let daemon = Daemon::start(&host);
    let code = |token| {
        daemon
            .operate("localhost", token, r#"{"request":"status"}"#)
            .0
    };
    assert_eq!((code(TOKEN), code(OTHER)), (200, 401));
    set_token(&host, OTHER, 0o644);
    host.check(&["reload"], 64, "chmod 0600");
    assert_eq!((code(TOKEN), code(OTHER)), (200, 401));
    set_token(&host, OTHER, 0o600);
    host.check(&["reload"], 0, "");
    assert_eq!((code(TOKEN), code(OTHER)), (401, 200));
}

#[test]
fn a_token_that_others_can_read_is_refused_at_the_start() {
    let host = host();
    set_token(&host, TOKEN, 0o640);
    host.check(&["run", "--check"], 64, "chmod 0600");
    host.check(&["run"], 64, "chmod 0600");
    set_token(&host, "short", 0o600);
    host.check(&["run", "--check"], 64, "16 to 4096");
    fs::remove_file(host.directory().join("token")).unwrap();
    host.check(&["run", "--check"], 64, "cannot read");
    // Commands that need none work all the same.
    host.check(&["mode", "log"], 0, "mode log");
}
