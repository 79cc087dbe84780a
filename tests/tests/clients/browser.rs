//! Headless Chromium: a page, and what its script does.

use botguard_tests::certificate::SERVER_NAME;
use botguard_tests::lab::EDGE_V4;

use crate::scene::{Scene, succeed, url};

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
        // Of the page, not of the test: it ends as soon as nothing is left to wait for.
        .args(["--virtual-time-budget=60000", "--dump-dom"])
        .arg(url("/page"));
    let document = succeed(&mut chromium);
    let done = r#"<p id="done">true, hello, an event</p>"#;
    assert!(document.contains(done), "{document}");
}
