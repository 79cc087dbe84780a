//! What is denied or malformed never reaches the upstream, and is answered with a problem
//! document; the mirror image beside it passes.

use http_body_util::{BodyExt as _, Empty, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

async fn ok() -> SocketAddr {
    upstream(async |_request| Response::new(Full::new(Bytes::from_static(b"app")))).await
}

#[tokio::test]
async fn denials_are_problem_documents() {
    let mut edge = start(ok().await).await;
    let mut http1 = edge.http1().await;
    let mut http2 = edge.http2().await;
    for (path, status, retry_after) in [
        ("/blocked", 403, None),
        ("/throttled", 429, Some("2")),
        ("/open", 200, None),
    ] {
        let empty = Empty::<Bytes>::new;
        let responses = [
            http1.send_request(get(path).body(empty()).unwrap()).await,
            http2.send_request(get2(path).body(empty()).unwrap()).await,
        ];
        for response in responses {
            let (head, body) = response.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            assert_eq!(head.status.as_u16(), status);
            let seconds = head.headers.get("retry-after");
            assert_eq!(seconds.map(|value| value.to_str().unwrap()), retry_after);
            let (facts, _) = edge.finished().await;
            assert_eq!(facts.bytes_out, body.len() as u64);
            if status == 200 {
                assert_eq!(body, "app");
                assert_eq!(facts.answered_by, AnsweredBy::Upstream);
            } else {
                assert_eq!(head.headers["content-type"], "application/problem+json");
                let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(problem["status"], status);
                assert_eq!(problem["request_id"], "id-1");
                assert_eq!(answered(&facts), (AnsweredBy::Botguard, status));
            }
        }
        http1.ready().await.unwrap();
    }
    drop((http1, http2));
    assert_eq!(edge.stop().await, []);
}

#[tokio::test]
async fn a_denied_head_request_is_finished_as_complete() {
    let mut edge = start(ok().await).await;
    let mut client = edge.http1().await;
    let request = Request::head("/blocked").header("host", "localhost");
    let response = client.send_request(request.body(Empty::<Bytes>::new()).unwrap());
    assert_eq!(response.await.unwrap().status(), 403);
    let (facts, before) = edge.finished().await;
    assert_eq!(answered(&facts), (AnsweredBy::Botguard, 403));
    assert!(matches!(before[..], [Event::Admitted { .. }]));
}

/// Sends raw HTTP/1.1 and returns the status of the answer and what the gate was told.
async fn raw(request: &[u8]) -> (u16, Vec<Event>) {
    let edge = start(ok().await).await;
    let mut tls = edge.connect(b"http/1.1").await;
    tls.write_all(request).await.unwrap();
    let mut answer = [0; 12];
    tls.read_exact(&mut answer).await.unwrap();
    drop(tls);
    let status = std::str::from_utf8(&answer[9..]).unwrap().parse().unwrap();
    (status, edge.stop().await)
}

/// RFC 9110 section 15.5.6 demands `Allow`.
#[tokio::test]
async fn a_method_that_is_not_served_is_told_which_are() {
    let check = async |method: &str, allowed: Option<&str>| {
        let edge = start(ok().await).await;
        let mut client = edge.http1().await;
        let request = get("/").method(method).body(Empty::<Bytes>::new()).unwrap();
        let response = client.send_request(request).await.unwrap();
        let told = response.headers().get("allow");
        let told = told.map(|value| value.to_str().unwrap());
        assert_eq!(told, allowed, "{method}");
        assert_eq!(response.status() == 405, allowed.is_some(), "{method}");
    };
    let allowed = "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH";
    check("TRACE", Some(allowed)).await;
    for method in allowed.split(", ") {
        check(method, None).await;
    }
    // What others know and botguard does not is the application's to judge.
    check("PROPFIND", None).await;
}

#[tokio::test]
async fn malformed_requests_are_refused_and_never_forwarded() {
    let check = async |request: &str, status: u16| {
        let (answer, events) = raw(request.as_bytes()).await;
        assert_eq!(answer, status, "{request}");
        let admitted = events
            .iter()
            .any(|event| matches!(event, Event::Admitted { .. }));
        assert_eq!(admitted, status == 200, "{request}: {events:?}");
    };
    let host = "Host: localhost\r\n";
    check(&format!("GET / HTTP/1.1\r\n{host}\r\n"), 200).await;
    check("GET / HTTP/1.1\r\n\r\n", 400).await;
    check(&format!("GET / HTTP/1.1\r\n{host}{host}\r\n"), 400).await;
    check(&format!("GET /a%2fb HTTP/1.1\r\n{host}\r\n"), 400).await;
    check(&format!("GET /../b HTTP/1.1\r\n{host}\r\n"), 400).await;
    check(&format!("TRACE / HTTP/1.1\r\n{host}\r\n"), 405).await;
    check(&format!("OPTIONS * HTTP/1.1\r\n{host}\r\n"), 400).await;
    check("nonsense\r\n\r\n", 400).await;
    check(
        &format!("GET / HTTP/1.1\r\n{host}X: a\r\n b: c\r\n\r\n"),
        400,
    )
    .await;
    check(&format!("GET / HTTP/1.1\r\n{host}X : a\r\n\r\n"), 400).await;
    // Two ways to frame one body (RFC 9112 section 6.3): what smuggling is made of.
    let two = "Content-Length: 4\r\nContent-Length: 5\r\n";
    check(&format!("POST / HTTP/1.1\r\n{host}{two}\r\nabcd"), 400).await;
    let coded = "Transfer-Encoding: chunked, gzip\r\n";
    check(
        &format!("POST / HTTP/1.1\r\n{host}{coded}\r\n0\r\n\r\n"),
        400,
    )
    .await;
    let length = "Content-Length: 4\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    check(
        &format!("POST / HTTP/1.1\r\n{host}{length}{chunked}\r\n0\r\n\r\n"),
        400,
    )
    .await;
    check(
        &format!("POST / HTTP/1.1\r\n{host}{chunked}{length}\r\n0\r\n\r\n"),
        400,
    )
    .await;
    check(
        &format!("POST / HTTP/1.1\r\n{host}{chunked}\r\n0\r\n\r\n"),
        200,
    )
    .await;
    check(&format!("POST / HTTP/1.1\r\n{host}{length}\r\nabcd"), 200).await;
    let long = "x".repeat(70_000);
    check(&format!("GET / HTTP/1.1\r\n{host}X: {long}\r\n\r\n"), 431).await;
    let many = "X: 1\r\n".repeat(100);
    check(&format!("GET / HTTP/1.1\r\n{host}{many}\r\n"), 431).await;
}

#[tokio::test]
async fn a_refused_request_does_not_hide_a_conflict_after_it() {
    let edge = start(ok().await).await;
    let mut tls = edge.connect(b"http/1.1").await;
    let head = "Host: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n";
    for request in [
        "GET /%00 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        format!("POST / HTTP/1.1\r\n{head}\r\n0\r\n\r\n"),
    ] {
        tls.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            answer.push(tls.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 400"), "{request}");
    }
    drop(tls);
    assert_eq!(
        edge.stop().await,
        [Event::Refused(400), Event::Refused(400)]
    );
}

#[tokio::test]
async fn http2_is_held_to_the_same_limits() {
    let edge = start(ok().await).await;
    let mut client = edge.http2().await;
    let check =
        async |client: &mut http2::SendRequest<Empty<Bytes>>, headers: usize, status: u16| {
            let mut request = get2("/");
            for _ in 0..headers {
                request = request.header("x", "1");
            }
            let response = client.send_request(request.body(Empty::new()).unwrap());
            assert_eq!(response.await.unwrap().status().as_u16(), status);
        };
    // The upstream's own limit is 100, with what the edge adds.
    check(&mut client, 90, 200).await;
    check(&mut client, 101, 431).await;
    let request = get2("/").header("host", "other").body(Empty::new());
    let response = client.send_request(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn an_http2_head_that_is_too_large_is_refused_like_any_other() {
    let edge = start(ok().await).await;
    let mut client = edge.http2().await;
    let request = get2("/").header("x", "x".repeat(70_000));
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 431);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    drop((client, response));
    assert_eq!(edge.stop().await, [Event::Refused(431)]);
}

/// What hyper alone would answer, and nobody would hear of.
#[tokio::test]
async fn a_target_that_is_no_uri_is_refused_like_any_other() {
    let check = async |target: &[u8], pieces: usize| {
        let edge = start(ok().await).await;
        let mut tls = edge.connect(b"http/1.1").await;
        let request = [b"GET ", target, b" HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat();
        for piece in request.chunks(request.len().div_ceil(pieces)) {
            tls.write_all(piece).await.unwrap();
            tls.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut answer = Vec::new();
        let _end: std::io::Result<usize> = tls.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{target:?}: {answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
        drop(tls);
        assert_eq!(edge.stop().await, [Event::Refused(400)], "{target:?}");
    };
    for target in [
        &b"/\xff"[..],
        b"/a<b",
        b":::",
        b"http://",
        b"http://a:b:c/",
        b"https://[::1/",
    ] {
        check(target, 1).await;
        check(target, 7).await;
    }
}

#[tokio::test]
async fn noise_instead_of_tls_harms_nobody_else() {
    let mut edge = start(ok().await).await;
    let mut client = edge.http1().await;
    let mut noise = TcpStream::connect(edge.address).await.unwrap();
    noise.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // An alert, and then the end: in order or not is the kernel's choice.
    let _end: std::io::Result<usize> = noise.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
    let request = get("/").body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(client.send_request(request).await.unwrap().status(), 200);
    assert_eq!(
        answered(&edge.finished().await.0),
        (AnsweredBy::Upstream, 200)
    );
}

#[tokio::test]
async fn a_source_has_at_most_its_connections() {
    let edge = start_with(&[ok().await], "", "max_connections_per_source = 1").await;
    let first = edge.connect(b"http/1.1").await;
    let mut second = TcpStream::connect(edge.address).await.unwrap();
    let mut end = Vec::new();
    assert_eq!(second.read_to_end(&mut end).await.unwrap(), 0);
    drop(first);
}

/// Each waits for the edge to let go; the test's own patience is the runner's.
#[tokio::test]
async fn slow_clients_are_let_go() {
    let lines = "handshake_timeout = '20ms'\nheader_timeout = '20ms'\nidle_timeout = '20ms'";
    let edge = start_with(&[ok().await], "", lines).await;
    let mut silent = TcpStream::connect(edge.address).await.unwrap();
    assert_eq!(silent.read_to_end(&mut Vec::new()).await.unwrap(), 0);

    let mut half = edge.connect(b"http/1.1").await;
    half.write_all(b"GET / HTTP/1.1\r\nHost: lo").await.unwrap();
    let mut answer = Vec::new();
    let _end: std::io::Result<usize> = half.read_to_end(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"));

    let mut idle = edge.http2::<Empty<Bytes>>().await;
    let request = get2("/").body(Empty::new()).unwrap();
    let response = idle.send_request(request).await.unwrap();
    response.into_body().collect().await.unwrap();
    while !idle.is_closed() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_body_under_the_reserved_prefix_has_to_arrive() {
    let edge = start_with(&[ok().await], "", "header_timeout = '20ms'").await;
    let mut client = edge.http1().await;
    let (_feed, body) = fed();
    let request = Request::post("/.botguard/ui")
        .header("host", "localhost")
        .body(body);
    let response = client.send_request(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 408);
}

#[tokio::test]
async fn a_taken_address_is_named_with_the_mend() {
    let edge = start(ok().await).await;
    let upstreams = toml::from_str("app = { endpoints = ['http://127.0.0.1:1'] }").unwrap();
    let upstreams = Upstreams::new(&upstreams).unwrap();
    let listener = format!(
        "bind = '{}'\nupstream = 'app'\nself_signed = ['localhost']",
        edge.address
    );
    let listener = toml::from_str(&listener).unwrap();
    let prepared = prepare(&[listener], &upstreams, std::path::Path::new("/")).unwrap();
    let error = Listeners::bind(prepared).unwrap_err().to_string();
    assert!(error.contains(&edge.address.to_string()), "{error}");
    assert!(error.contains("ss -ltnp"), "{error}");
}
