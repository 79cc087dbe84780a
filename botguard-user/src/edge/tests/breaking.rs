//! What breaks off is told to both sides, and finished exactly once.

use http_body_util::{BodyExt as _, Empty};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// An upstream that reads a request's head, sends `answer` and closes once `closing` says so.
async fn scripted(answer: &'static [u8], closing: CancellationToken) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let closing = closing.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(tcp.read_u8().await.unwrap());
                }
                tcp.write_all(answer).await.unwrap();
                closing.cancelled().await;
            });
        }
    });
    address
}

fn at_once() -> CancellationToken {
    let token = CancellationToken::new();
    token.cancel();
    token
}

/// An address that nobody listens on.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn an_upstream_without_answer_is_a_bad_gateway() {
    let check = async |endpoint: SocketAddr, lines: &str, status: u16| {
        let mut edge = start_with(&[endpoint], lines, "").await;
        let mut client = edge.http1().await;
        let request = get("/").body(Empty::<Bytes>::new()).unwrap();
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["request_id"], "id-1");
        let (facts, _) = edge.finished().await;
        assert_eq!(answered(&facts), (AnsweredBy::Botguard, status));
        assert!(facts.upstream.is_some());
    };
    check(nobody().await, "", 502).await;
    check(scripted(b"", at_once()).await, "", 502).await;
    check(scripted(b"nonsense\r\n\r\n", at_once()).await, "", 502).await;
    check(
        scripted(
            b"HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
            at_once(),
        )
        .await,
        "",
        502,
    )
    .await;
    let silent = scripted(b"", CancellationToken::new()).await;
    check(silent, "first_byte_timeout = '20ms'", 504).await;
}

#[tokio::test]
async fn the_next_endpoint_is_tried_with_the_same_body() {
    let echo =
        upstream(async |request: Request<Incoming>| Response::new(request.into_body())).await;
    let edge = start_with(&[nobody().await, echo], "", "").await;
    let mut client = edge.http1().await;
    for _ in 0..4 {
        let request = Request::post("/").header("host", "localhost");
        let request = request.body(http_body_util::Full::new(Bytes::from_static(b"body")));
        let response = client.send_request(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "body");
        client.ready().await.unwrap();
    }
}

#[tokio::test]
async fn a_stalled_upload_is_the_client_s_fault() {
    let silent = scripted(b"", CancellationToken::new()).await;
    let mut edge = start_with(&[silent], "first_byte_timeout = '20ms'", "").await;
    let mut client = edge.http1().await;
    let (_feed, body) = fed();
    let request = Request::post("/").header("host", "localhost").body(body);
    let response = client.send_request(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 408);
    assert_eq!(
        answered(&edge.finished().await.0),
        (AnsweredBy::Botguard, 408)
    );
}

#[tokio::test]
async fn a_death_in_mid_response_breaks_the_client_s_stream() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfour"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfour\r\n",
    ] {
        let mut edge = start(scripted(answer, at_once()).await).await;
        let mut http1 = edge.http1().await;
        let mut http2 = edge.http2().await;
        let empty = Empty::<Bytes>::new;
        let responses = [
            http1.send_request(get("/").body(empty()).unwrap()).await,
            http2.send_request(get2("/").body(empty()).unwrap()).await,
        ];
        for response in responses {
            // hyper may already have found the end missing before it hands out the head.
            if let Ok(response) = response {
                assert_eq!(response.status(), 200);
                assert!(response.into_body().collect().await.is_err());
            }
            let (facts, before) = edge.finished().await;
            assert_eq!(answered(&facts), (AnsweredBy::Upstream, 200));
            assert_eq!(facts.bytes_out, 4);
            assert!(
                before.contains(&Event::Broken(BrokenBy::Upstream)),
                "{before:?}"
            );
        }
        // Only the one stream of the HTTP/2 connection was broken off.
        let request = get2("/blocked").body(empty()).unwrap();
        assert_eq!(http2.send_request(request).await.unwrap().status(), 403);
        drop((http1, http2));
        let rest = edge.stop().await;
        assert!(
            matches!(rest[..], [Event::Admitted { .. }, Event::Finished(_)]),
            "{rest:?}"
        );
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_is_finished_once() {
    let mut edge = start(scripted(b"", CancellationToken::new()).await).await;
    let mut tls = edge.connect(b"http/1.1").await;
    tls.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    assert!(matches!(edge.event().await, Event::Admitted { .. }));
    drop(tls);
    let (facts, before) = edge.finished().await;
    assert_eq!(answered(&facts), (AnsweredBy::Botguard, 499));
    assert_eq!(before, [Event::Broken(BrokenBy::Client)]);
    assert_eq!(edge.stop().await, []);
}

#[tokio::test]
async fn a_client_that_leaves_in_mid_response_is_finished_once() {
    let (mut feed, body) = fed();
    let body = Arc::new(parking_lot::Mutex::new(Some(body)));
    let at = upstream(move |_request| {
        let body = body.lock().take().unwrap();
        async { Response::new(body) }
    })
    .await;
    let mut edge = start(at).await;
    let mut client = edge.http2().await;
    let request = get2("/").body(Empty::<Bytes>::new()).unwrap();
    let mut response = client.send_request(request).await.unwrap().into_body();
    feed.send(data("four")).await.unwrap();
    response.frame().await.unwrap().unwrap();
    drop(response);
    let (facts, before) = edge.finished().await;
    assert_eq!(answered(&facts), (AnsweredBy::Upstream, 200));
    assert_eq!(facts.bytes_out, 4);
    assert!(before.contains(&Event::Broken(BrokenBy::Client)));
    drop(client);
    assert_eq!(edge.stop().await, []);
}

#[tokio::test]
async fn a_broken_upload_is_not_the_upstream_s_fault() {
    let silent = scripted(b"", CancellationToken::new()).await;
    let mut edge = start(silent).await;
    let mut tls = edge.connect(b"http/1.1").await;
    tls.write_all(
        b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n-3\r\nabc",
    )
    .await
    .unwrap();
    let mut answer = Vec::new();
    tls.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
    let (facts, _) = edge.finished().await;
    assert_eq!(answered(&facts), (AnsweredBy::Botguard, 400));
}

#[tokio::test]
async fn a_client_that_never_begins_http2_is_let_go() {
    let silent = scripted(b"", CancellationToken::new()).await;
    let edge = start_with(
        &[silent],
        "",
        "idle_timeout = '20ms'\nheader_timeout = '20ms'",
    )
    .await;
    for begun in [&b""[..], b"PRI * HTTP/2.0\r\n"] {
        let mut tls = edge.connect(b"h2").await;
        tls.write_all(begun).await.unwrap();
        let mut rest = Vec::new();
        let end = tokio::time::timeout(PATIENCE, tls.read_to_end(&mut rest)).await;
        assert!(end.is_ok(), "{begun:?}: still open");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go() {
    let endless = upstream(|_| async { Response::new(Endless) }).await;
    let mut edge = start_with(&[endless], "", "send_timeout = '50ms'").await;
    let mut tls = edge.connect(b"http/1.1").await;
    tls.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let finished = tokio::time::timeout(PATIENCE, edge.finished()).await;
    let (facts, before) = finished.expect("still waiting for a client that does not read");
    assert_eq!(answered(&facts), (AnsweredBy::Upstream, 200));
    assert!(before.contains(&Event::Broken(BrokenBy::Client)));
}

/// Far longer than any limit that these tests set.
const PATIENCE: Duration = Duration::from_secs(10);
