//! A real browser, in the world, before the real daemon: it solves the challenge and is cleared.

use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use botguard_tests::audit::AuditTail;
use botguard_tests::client::{Answer, Client};
use botguard_tests::config::{Config, PORT};
use botguard_tests::host::Host;
use botguard_tests::lab::EDGE_V4;
use botguard_tests::wait;
use serde_json::Value;
use tempfile::TempDir;

use crate::fixture::{SCRAPER, USER, running, status_of};

/// How long a browser may take to start and to solve. Only a broken page needs all of it.
const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn a_browser_is_cleared_by_the_daemon() {
    let (host, _daemon) = running("challenge", &Config::default()).unwrap();
    // The network is up once somebody was answered.
    assert_eq!(
        status_of(&host, USER, "/.botguard/status").unwrap(),
        Some(200)
    );
    let _browser = Browser::open(&host, "/.botguard/challenge").unwrap();
    let mut tail = AuditTail::new(host.audit_path());
    let solved = wait::until("a solution", PATIENCE, || {
        let records = tail.read().unwrap();
        (records.into_iter()).find(|record| record["http"]["method"] == "POST")
    });
    let solved = solved.unwrap();
    assert_eq!(solved["http"]["path"], "/.botguard/challenge", "{solved}");
    assert_eq!(solved["http"]["status"], 204, "{solved}");

    // What was signed is good after a restart: its key is kept, for the daemon's eyes only.
    let secrets = host.lab.directory().join("state/secrets");
    let text = std::fs::read_to_string(secrets).unwrap();
    assert!(text.lines().any(|line| line.starts_with("clearance ")));
}

#[test]
fn a_browser_gets_to_a_challenged_page_and_a_program_is_told() {
    let (host, _daemon) = running("lowbar", &challenging()).unwrap();
    // Whom nothing is held against is not asked.
    assert_eq!(status_of(&host, USER, "/page").unwrap(), Some(404));
    let answer = get_as_program(&host, "/page").unwrap();
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    let problem = answer.json().unwrap();
    let kind = problem["type"].as_str().unwrap();
    assert!(kind.ends_with("challenge-required"), "{problem}");
    assert!(problem["challenge_url"].is_string(), "{problem}");
    // The same is held against who asks for this, and the application answers.
    let answer = get_as_program(&host, "/robots.txt").unwrap();
    assert_eq!(answer.status, 404, "{answer:?}");

    // Chromium takes the address that the kernel prefers.
    let route = ["route", "replace", EDGE_V4, "dev", "world", "src", SCRAPER];
    host.lab.world.ip(&route).unwrap();
    let _browser = Browser::open(&host, "/page").unwrap();
    let mut tail = AuditTail::new(host.audit_path());
    let mut told = Vec::new();
    wait::until("the application is asked for the page", PATIENCE, || {
        let records = tail.read().unwrap().into_iter();
        told.extend(records.filter(|it| it["client"]["ip"] == SCRAPER && is_of_browser(it)));
        told.iter().any(is_forwarded).then_some(())
    })
    .unwrap();
    let of_page: Vec<_> = (told.iter())
        .filter(|it| it["http"]["path"] == "/page")
        .map(|it| {
            let (status, action) = (&it["http"]["status"], &it["decision"]["action"]);
            (status.as_u64(), action.as_str())
        })
        .collect();
    let expected = [(Some(403), Some("challenge")), (Some(404), Some("allow"))];
    assert_eq!(of_page, expected, "{told:?}");
}

/// A hosting network is enough for a challenge.
fn challenging() -> Config {
    Config {
        more: r#"
[[route]]
path = "/{page}"
mode = "enforce"
expects = "browser"
throttle = 0.2
challenge = 0.2
"#,
        ..Config::default()
    }
}

fn is_of_browser(record: &Value) -> bool {
    let headers = record["http"]["headers"].as_array();
    headers.is_some_and(|headers| headers.iter().any(|it| it[0] == "sec-fetch-mode"))
}

/// The page, by the application's own word: it has none.
fn is_forwarded(record: &Value) -> bool {
    record["http"]["path"] == "/page" && record["http"]["status"] == 404
}

/// One `GET` of a program in a hosting network.
fn get_as_program(host: &Host, target: &'static str) -> Result<Answer> {
    let source = SCRAPER.parse()?;
    let tls = host.certificate.client(&["h2"]);
    host.in_world(move || async move {
        let mut client = Client::new(source, Host::server(source)?, tls);
        let headers = [("accept", "application/json"), ("user-agent", "curl/8.11")];
        client.get(target, &headers).await
    })
}

/// Chromium in the world, ended with the test.
struct Browser {
    process: Child,
    _profile: TempDir,
}

impl Browser {
    fn open(host: &Host, path: &str) -> Result<Self> {
        let profile = tempfile::tempdir()?;
        let process = (host.lab.world.command("chromium"))
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--ignore-certificate-errors",
                "--no-first-run",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("https://{EDGE_V4}:{PORT}{path}"))
            .env("HOME", profile.path())
            // It is killed, and would leave its own there.
            .env("TMPDIR", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("chromium does not start; `cargo xtask setup` installs it")?;
        Ok(Self {
            process,
            _profile: profile,
        })
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // One that has ended by itself cannot be killed.
        let _ended: std::io::Result<()> = self.process.kill();
        let _status: std::io::Result<_> = self.process.wait();
    }
}
