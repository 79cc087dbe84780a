//! Headless Chromium: a page, and what its script does.

use std::process::{Child, Stdio};
use std::time::Duration;

use botguard_tests::certificate::SERVER_NAME;
use botguard_tests::lab::EDGE_V4;
use botguard_tests::wait;

use crate::application::SAID;
use crate::scene::{Scene, url};

#[test]
fn chromium_loads_fetches_talks_and_listens() {
    let scene = Scene::set_up("chromium", "");
    let profile = tempfile::tempdir().unwrap();
    let mut chromium = scene.command("chromium");
    chromium
        .args(["--headless", "--no-sandbox", "--disable-gpu"])
        .args([
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--ignore-certificate-errors",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--host-resolver-rules=MAP {SERVER_NAME} {EDGE_V4}"))
        .arg(url("/page"))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let spawned = chromium.spawn();
    let _browser = Browser(spawned.expect("chromium; `cargo xtask setup` installs it"));
    // Told by the page itself: what the browser prints of a page may come before its script has ended.
    let limit = Duration::from_secs(60);
    let said = wait::until("the page says what worked", limit, || SAID.get()).unwrap();
    assert_eq!(said, "true, hello, an event");
}

/// Ended with the test.
struct Browser(Child);

impl Drop for Browser {
    fn drop(&mut self) {
        // One that has ended by itself cannot be killed.
        let _ended: std::io::Result<()> = self.0.kill();
        let _status: std::io::Result<std::process::ExitStatus> = self.0.wait();
    }
}
