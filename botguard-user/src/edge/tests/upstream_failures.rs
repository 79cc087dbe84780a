//! What is told of an application that gives no response: a line of the log, a count, and what is
//! recorded of the request.

use std::io;

use http_body_util::Empty;
use parking_lot::Mutex;

use super::upstream_failing::{OK, nobody, scripted};
use super::*;

/// What an application answers to its n-th request.
type Script = fn(usize) -> Option<&'static [u8]>;

/// Lines that were logged by this thread, at the level of a daemon.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    /// Those about failures.
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().clone()).unwrap();
        let lines = text.lines().filter(|line| line.contains("no response"));
        lines.map(ToOwned::to_owned).collect()
    }
}

async fn status_of(edge: &Running, upgrade: Option<&str>) -> u16 {
    let mut client = edge.http1().await;
    let mut request = get("/");
    if let Some(protocol) = upgrade {
        request = request
            .header("connection", "upgrade")
            .header("upgrade", protocol);
    }
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    response.status().as_u16()
}

/// What the gate is told of one request.
async fn told(edge: &mut Running) -> Option<(Option<String>, &'static str)> {
    let (_, before) = edge.finished().await;
    before.into_iter().find_map(|event| match event {
        Event::Failed(endpoint, kind) => Some((endpoint, kind)),
        _ => None,
    })
}

/// An application that says nothing, nonsense, and too much; and one that is not there.
#[tokio::test]
async fn every_failure_has_a_line_a_count_and_a_word_for_the_record() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let away = nobody().await;
    let check = async |script: Option<Script>,
                       upgrade: Option<&str>,
                       status: u16,
                       kind: Option<(&'static str, &str)>| {
        let at = match script {
            Some(script) => scripted(script, false).await.0,
            None => away,
        };
        let log = Log::default();
        // Before anyone listens: who registers a line of code first decides whether it is heard.
        let mut edge = start(at).await;
        assert_eq!(status_of(&edge, upgrade).await, status);
        told(&mut edge).await;
        {
            let _listening = log.listen();
            assert_eq!(status_of(&edge, upgrade).await, status);
        }
        let endpoint = format!("http://{at}");
        let expected = kind.map(|(kind, _)| (Some(endpoint.clone()), kind));
        assert_eq!(told(&mut edge).await, expected);
        let lines = log.lines();
        let Some((kind, cause)) = kind else {
            assert_eq!(lines, [""; 0]);
            return;
        };
        let [line] = &lines[..] else {
            panic!("{lines:?}");
        };
        for part in [
            "WARN",
            "request_id=\"id-1\"",
            "upstream=\"app\"",
            &format!("endpoint={endpoint}"),
            &format!("kind=\"{kind}\""),
            cause,
        ] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
        let count = format!("botguard_upstream_failures_total{{upstream=\"app\",kind=\"{kind}\"}}");
        let page = recorder.handle().render();
        assert!(page.contains(&count), "{count} is not in {page}");
    };
    check(Some(|_| Some(OK)), None, 200, None).await;
    let silent: Script = |_| None;
    let closed = "connection closed before message completed";
    check(Some(silent), None, 502, Some(("broken", closed))).await;
    let garbage: Script = |_| Some(b"garbage\r\n\r\n");
    let invalid = "invalid HTTP version parsed";
    check(Some(garbage), None, 502, Some(("broken", invalid))).await;
    let many: Script = |_| {
        const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n";
        let head = [HEAD, &b"a: b\r\n".repeat(1_001), b"\r\n"].concat();
        Some(head.leak())
    };
    let large = "larger than 256 KiB or 1,000 lines";
    check(Some(many), None, 502, Some(("broken", large))).await;
    let refused = "Connection refused";
    check(None, None, 502, Some(("unreachable", refused))).await;
    let switches: Script =
        |_| Some(b"HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
    let unasked = "without being asked";
    let kind = ("unasked_upgrade", unasked);
    check(Some(switches), Some("websocket"), 502, Some(kind)).await;
}

#[tokio::test]
async fn a_dead_application_does_not_fill_the_log() {
    let edge = start(nobody().await).await;
    assert_eq!(status_of(&edge, None).await, 502);
    let log = Log::default();
    let _listening = log.listen();
    for _ in 0..30 {
        assert_eq!(status_of(&edge, None).await, 502);
    }
    let n_lines = log.lines().len();
    // Five in ten seconds; the tests may be slow.
    assert!((1..=10).contains(&n_lines), "{n_lines}");
}

/// A client that does not send its request is none of the application's failures.
#[tokio::test]
async fn a_client_s_failure_is_not_the_upstream_s() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = silent.local_addr().unwrap();
    let mut edge = start_with(&[at], "", "body_timeout = '50ms'").await;
    let log = Log::default();
    let _listening = log.listen();
    let mut client = edge.http2().await;
    let (mut feed, body) = fed();
    feed.send(data("abc")).await.unwrap();
    let request = Request::post("https://localhost/").body(body).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 408);
    drop((feed, response));
    assert_eq!(told(&mut edge).await, None);
    assert_eq!(log.lines(), [""; 0]);
}
