//! curl and h2load.

use botguard_tests::certificate::SERVER_NAME;
use botguard_tests::config::PORT;
use botguard_tests::lab::EDGE_V4;

use crate::application::{RANGE_BYTES, byte_of};
use crate::scene::{Scene, succeed, url};

#[test]
fn curl_gets_what_the_application_says() {
    let scene = Scene::set_up("curl", "");
    let upload = scene.host.lab.directory().join("upload");
    std::fs::write(&upload, vec![b'x'; 3_000_000]).unwrap();
    let upload = format!("@{}", upload.display());
    let all: Vec<u8> = (0..RANGE_BYTES).map(byte_of).collect();
    let check = |path: &str, arguments: &[&str], said: &str, body: &[u8]| {
        let got = scene.curl(path, arguments);
        assert_eq!(got.0, said, "{path} {arguments:?}");
        assert!(got.1 == body, "{path} {arguments:?}: {} bytes", got.1.len());
    };
    for (switch, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let ok = format!("{version} 200");
        check("/json", &[switch], &ok, br#"{"fetched": true}"#);
        check("/range", &[switch], &ok, &all);
        let part = format!("{version} 206");
        check(
            "/range",
            &[switch, "--range", "500-999"],
            &part,
            &all[500..1_000],
        );
        check(
            "/none",
            &[switch],
            &format!("{version} 404"),
            b"no such page",
        );
        let data = [switch, "--data-binary", &upload];
        check("/upload", &data, &ok, b"3000000");
    }
    let chunked = ["--http1.1", "-H", "transfer-encoding: chunked"];
    let chunked = [&chunked[..], &["--data-binary", &upload]].concat();
    check("/upload", &chunked, "1.1 200", b"3000000");
}

#[test]
fn curl_is_told_the_length_by_head_and_to_continue() {
    let scene = Scene::set_up("head", "");
    for switch in ["--http1.1", "--http2"] {
        let (_, head) = scene.curl("/range", &[switch, "--head"]);
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert!(head.contains("content-length: 100000\r\n"), "{head}");
    }
    let upload = scene.host.lab.directory().join("upload");
    std::fs::write(&upload, vec![b'x'; 3_000_000]).unwrap();
    let upload = format!("@{}", upload.display());
    let mut heads = scene.command("curl");
    heads
        .args(["--silent", "--http1.1", "--include", "--max-time", "60"])
        // It would wait so long for 100 before it sends the body all the same.
        .args(["--expect100-timeout", "50"])
        .args(["-H", "expect: 100-continue"])
        .args(["--resolve", &format!("{SERVER_NAME}:{PORT}:{EDGE_V4}")])
        .arg("--cacert")
        .arg(&scene.host.certificate.chain)
        .args(["--data-binary", &upload, &url("/upload")]);
    let said = succeed(&mut heads);
    assert!(said.starts_with("HTTP/1.1 100 Continue\r\n"), "{said}");
    assert!(said.ends_with("\r\n\r\n3000000"), "{said}");
}

#[test]
fn h2load_sees_no_request_fail() {
    let scene = Scene::set_up("h2load", "");
    let check = |arguments: &[&str]| {
        let mut command = scene.command("h2load");
        command
            .args(["-n", "2000", "-c", "8"])
            .args(arguments)
            .arg(format!("--connect-to={EDGE_V4}:{PORT}"))
            .arg(url("/json"));
        let said = succeed(&mut command);
        let n_good = "status codes: 2000 2xx, 0 3xx, 0 4xx, 0 5xx";
        assert!(said.contains(n_good), "{arguments:?}: {said}");
        assert!(said.contains(" 0 failed, 0 errored, 0 timeout"), "{said}");
    };
    check(&["--h1"]);
    check(&["-m", "16"]);
}
