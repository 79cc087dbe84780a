//! A real browser, in the world, before the real daemon: it solves the challenge and is cleared.

use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use botguard_tests::audit::AuditTail;
use botguard_tests::config::{Config, PORT};
use botguard_tests::host::Host;
use botguard_tests::lab::EDGE_V4;
use botguard_tests::wait;
use tempfile::TempDir;

use crate::fixture::{USER, running, status_of};

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
