//! Programs in Python, from the environment that `cargo xtask setup` makes below `target`.

use std::path::PathBuf;
use std::process::Command;

use botguard_tests::config::PORT;
use botguard_tests::lab::EDGE_V4;

use crate::scene::{Scene, succeed};

/// The interpreter of that environment.
pub(crate) fn interpreter() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/python");
    path.to_str().unwrap().to_owned()
}

/// A program of this directory, in the world.
pub(crate) fn program(scene: &Scene, text: &str, arguments: &[&str]) -> Command {
    let mut command = scene.command(&interpreter());
    command.args(["-c", text]).args(arguments);
    command
}

#[test]
fn httpx_speaks_http2() {
    let scene = Scene::set_up("httpx", "");
    let address = format!("https://{EDGE_V4}:{PORT}");
    let mut httpx = program(&scene, HTTPX, &[&address]);
    assert_eq!(
        succeed(&mut httpx).trim(),
        "HTTP/2 True 50 HTTP/2 1000000 404"
    );
}

/// Fifty requests at once over one connection, an upload whose length nobody knows, and a page
/// that is not there.
const HTTPX: &str = r#"
import asyncio, ssl, sys, httpx

async def pieces():
    for _ in range(100):
        yield b"x" * 10_000

async def main(address):
    trust = ssl.create_default_context()
    host = {"host": "app.example.com"}
    names = {"sni_hostname": "app.example.com"}
    async with httpx.AsyncClient(http2=True, verify=trust, base_url=address, headers=host) as client:
        one = await client.get("/json", extensions=names)
        many = await asyncio.gather(*[client.get("/json", extensions=names) for _ in range(50)])
        good = sum(answer.status_code == 200 for answer in many)
        sent = await client.post("/upload", content=pieces(), extensions=names)
        none = await client.get("/none", extensions=names)
        print(one.http_version, one.json()["fetched"], good, sent.http_version, sent.text,
              none.status_code)

asyncio.run(main(sys.argv[1]))
"#;
