//! Headless Chromium through Playwright: a page with what belongs to it, and what its script does.

use botguard_tests::certificate::SERVER_NAME;
use botguard_tests::config::PORT;
use botguard_tests::lab::EDGE_V4;
use serde_json::{Value, json};

use crate::python::program;
use crate::scene::{Scene, succeed};

#[test]
fn chromium_loads_fetches_talks_and_listens() {
    let scene = Scene::set_up("chromium", "");
    let port = PORT.to_string();
    let said = succeed(&mut program(
        &scene,
        include_str!("browser.py"),
        &[SERVER_NAME, EDGE_V4, &port],
    ));
    let said: Value = serde_json::from_str(&said).unwrap();
    let expected = json!({
        "loaded": { "page": 200, "page.css": 200, "page.js": 200, "page.svg": 200 },
        // The script set the one, the style sheet the other.
        "page": ["scripted", "rgb(1, 2, 3)"],
        "got": { "fetched": true },
        "posted": { "a": [1, "é"] },
        "missing": 404,
        "echoed": "hello",
        "heard": ["event 1", "event 2", "event 3"],
        // Of page, assets and fetches; a WebSocket is not among them.
        "protocols": ["h2"],
    });
    assert_eq!(said, expected);
}
