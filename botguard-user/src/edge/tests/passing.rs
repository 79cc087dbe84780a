//! What passes, passes whole: HTTP/1.1 and HTTP/2, streams, trailers, the reserved prefix.

use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};

use super::*;

/// Answers with the request line and headers that it got, as text.
async fn mirror() -> SocketAddr {
    upstream(async |request: Request<Incoming>| {
        let mut lines = vec![format!("{} {}", request.method(), request.uri())];
        for (name, value) in request.headers() {
            lines.push(format!("{name}: {}", value.to_str().unwrap()));
        }
        lines[1..].sort_unstable();
        Response::builder()
            .header("botguard-observe", "records=1")
            .header("x-app", "1")
            .header("connection", "x-hop")
            .header("x-hop", "1")
            .body(Full::new(Bytes::from(lines.join("\n"))))
            .unwrap()
    })
    .await
}

fn check_mirrored(headers: &HeaderMap, body: &Bytes, via: &str) {
    let text = std::str::from_utf8(body).unwrap();
    let expected = [
        "GET /a/../b?q=%20".to_owned(),
        "accept: */*".to_owned(),
        "botguard-request-id: id-1".to_owned(),
        "host: localhost".to_owned(),
        format!("via: {via} botguard"),
        "x-forwarded-for: 127.0.0.1".to_owned(),
        "x-forwarded-host: localhost".to_owned(),
        "x-forwarded-proto: https".to_owned(),
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    assert_eq!(headers["x-app"], "1");
    assert!(!headers.contains_key("botguard-observe"));
    assert!(!headers.contains_key("x-hop"));
}

#[tokio::test]
async fn http1_passes_and_keeps_the_connection() {
    let mut edge = start(mirror().await).await;
    let mut client = edge.http1().await;
    for _ in 0..2 {
        let request = get("/a/../b?q=%20")
            .header("accept", "*/*")
            .header("botguard-score", "0.00")
            .header("x-forwarded-for", "10.0.0.1");
        let response = client.send_request(request.body(Empty::<Bytes>::new()).unwrap());
        let (head, body) = response.await.unwrap().into_parts();
        assert_eq!(head.status, StatusCode::OK);
        let body = body.collect().await.unwrap().to_bytes();
        check_mirrored(&head.headers, &body, "1.1");
        client.ready().await.unwrap();

        let (facts, before) = edge.finished().await;
        let admitted = Event::Admitted {
            path: "/b".to_owned(),
            authority: "localhost".to_owned(),
        };
        assert_eq!(before, [admitted]);
        assert_eq!(answered(&facts), (AnsweredBy::Upstream, 200));
        assert_eq!((facts.bytes_in, facts.bytes_out), (0, body.len() as u64));
        assert!(facts.upstream.unwrap() <= facts.total);
    }
    drop(client);
    assert_eq!(edge.stop().await, []);
}

#[tokio::test]
async fn http2_passes_many_at_once() {
    let mut edge = start(mirror().await).await;
    let mut client = edge.http2().await;
    let mut responses = Vec::new();
    for _ in 0..20 {
        let request = get2("/a/../b?q=%20").header("accept", "*/*");
        let request = request.header("botguard-score", "0.00");
        responses.push(client.send_request(request.body(Empty::<Bytes>::new()).unwrap()));
    }
    for response in responses {
        let (head, body) = response.await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        check_mirrored(&head.headers, &body, "2.0");
    }
    for _ in 0..20 {
        assert_eq!(
            answered(&edge.finished().await.0),
            (AnsweredBy::Upstream, 200)
        );
    }
    drop(client);
    assert_eq!(edge.stop().await, []);
}

/// Sends each frame of the request back as it comes, trailers included.
async fn echo() -> SocketAddr {
    upstream(async |request: Request<Incoming>| {
        Response::builder()
            .header("trailer", "x-end")
            .body(request.into_body())
            .unwrap()
    })
    .await
}

#[tokio::test]
async fn http1_streams_both_ways_without_waiting() {
    let mut edge = start(echo().await).await;
    let mut client = edge.http1().await;
    let (mut feed, body) = fed();
    feed.send(data("one")).await.unwrap();
    let request = Request::post("/").header("host", "localhost").body(body);
    // The response's head and first frame arrive while the request is still being sent.
    let mut response = client
        .send_request(request.unwrap())
        .await
        .unwrap()
        .into_body();
    for (frame, next) in [("one", "two"), ("two", "three")] {
        let got = response.frame().await.unwrap().unwrap();
        assert_eq!(got.into_data().unwrap(), frame);
        feed.send(data(next)).await.unwrap();
    }
    drop(feed);
    assert_eq!(response.collect().await.unwrap().to_bytes(), "three");
    let (facts, _) = edge.finished().await;
    assert_eq!((facts.bytes_in, facts.bytes_out), (11, 11));
}

#[tokio::test]
async fn http2_streams_both_ways_and_trailers_pass() {
    let mut edge = start(echo().await).await;
    let mut client = edge.http2().await;
    let (mut feed, body) = fed();
    feed.send(data("one")).await.unwrap();
    let request = Request::post("https://localhost/")
        .header("te", "trailers")
        .header("trailer", "x-end");
    let response = client.send_request(request.body(body).unwrap());
    let mut response = response.await.unwrap().into_body();
    let got = response.frame().await.unwrap().unwrap();
    assert_eq!(got.into_data().unwrap(), "one");
    let mut trailers = HeaderMap::new();
    trailers.insert("x-end", "7".parse().unwrap());
    trailers.insert("botguard-observe", "records=1".parse().unwrap());
    feed.send(Frame::trailers(trailers)).await.unwrap();
    drop(feed);
    let rest = response.collect().await.unwrap();
    let trailers = rest.trailers().unwrap();
    assert_eq!(trailers["x-end"], "7");
    assert!(!trailers.contains_key("botguard-observe"));
    assert_eq!(
        answered(&edge.finished().await.0),
        (AnsweredBy::Upstream, 200)
    );
}

#[tokio::test]
async fn the_reserved_prefix_is_answered_here() {
    let mut edge = start(mirror().await).await;
    let mut client = edge.http1().await;
    let check = |path: &'static str, bytes: usize, status: u16, bytes_out: Option<usize>| {
        let request = Request::post(path)
            .header("host", "localhost")
            .body(Full::new(Bytes::from(vec![b'x'; bytes])))
            .unwrap();
        (request, status, bytes_out)
    };
    for (request, status, bytes_out) in [
        check("/.botguard/ui", 10, 200, Some(10)),
        check("/a/../%2ebotguard/ui", 10, 200, Some(10)),
        check("/.botguard/ui", 4_096, 200, Some(4_096)),
        check("/.botguard/ui", 4_097, 413, None),
    ] {
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let (facts, _) = edge.finished().await;
        assert_eq!(answered(&facts), (AnsweredBy::Botguard, status));
        assert_eq!(facts.bytes_out, bytes_out.unwrap_or(body.len()) as u64);
        assert_eq!(facts.upstream, None);
        if client.ready().await.is_err() {
            client = edge.http1().await;
        }
    }
}

#[tokio::test]
async fn shutdown_lets_running_requests_end() {
    let (mut feed, body) = fed();
    let body = Arc::new(parking_lot::Mutex::new(Some(body)));
    let at = upstream(move |_request| {
        let body = body.lock().take().unwrap();
        async { Response::new(body) }
    })
    .await;
    let edge = start(at).await;
    let mut client = edge.http1().await;
    let request = get("/").body(Empty::<Bytes>::new()).unwrap();
    let mut response = client.send_request(request).await.unwrap().into_body();
    feed.send(data("one")).await.unwrap();
    response.frame().await.unwrap().unwrap();

    edge.shutdown.cancel();
    feed.send(data("two")).await.unwrap();
    drop(feed);
    assert_eq!(response.collect().await.unwrap().to_bytes(), "two");
    let address = edge.address;
    let events = edge.stop().await;
    assert!(matches!(
        &events[..],
        [Event::Admitted { .. }, Event::Finished(_)]
    ));
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn what_is_forwarded_is_told_its_limit_unless_the_application_has_its_own() {
    let app = upstream(async |request: Request<Incoming>| {
        let mut response = Response::new(Full::new(Bytes::new()));
        if request.uri().path().ends_with("/own") {
            let own = HeaderValue::from_static("\"app\";r=1;t=2");
            response.headers_mut().insert("ratelimit", own);
        }
        response
    });
    let edge = start(app.await).await;
    let mut client = edge.http1().await;
    for (path, policy, state) in [
        (
            "/limited",
            Some("\"key\";q=120;w=60"),
            Some("\"key\";r=7;t=30"),
        ),
        ("/limited/own", None, Some("\"app\";r=1;t=2")),
        ("/open", None, None),
    ] {
        let request = get(path).body(Empty::<Bytes>::new()).unwrap();
        let response = client.send_request(request).await.unwrap();
        let field = |name| {
            response
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap())
        };
        assert_eq!(
            (field("ratelimit-policy"), field("ratelimit")),
            (policy, state),
            "{path}"
        );
        client.ready().await.unwrap();
    }
}

/// The application says the same of every request: what it was asked to, signed for `id-1`.
#[tokio::test]
async fn what_the_application_observes_is_believed_only_if_signed() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, format!("k1:{}\n", "01".repeat(32))).unwrap();
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, owner_only).unwrap();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[1; 32]);
    let sign = |id: &str| {
        let tag = aws_lc_rs::hmac::sign(&key, format!("observe v1\n{id}\nrecords=3").as_bytes());
        let tag = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, tag);
        format!("records=3, sig=:{tag}:")
    };
    let app = upstream(async |request: Request<Incoming>| {
        let mut response = Response::new(Full::new(Bytes::new()));
        let reflected = request.headers()["x-say"].clone();
        response.headers_mut().insert("botguard-observe", reflected);
        response
    })
    .await;
    let check = async |lines: &str, said: &str, expected: Option<u64>| {
        let mut edge = start_with(&[app], lines, "").await;
        let request = get("/").header("x-say", said).body(Empty::<Bytes>::new());
        let mut client = edge.http1().await;
        let response = client.send_request(request.unwrap()).await.unwrap();
        assert!(!response.headers().contains_key("botguard-observe"));
        let (facts, _) = edge.finished().await;
        let records = facts.observation.map(|it| it.records.unwrap());
        assert_eq!(records, expected, "{lines} {said}");
    };
    let file = format!("secret_file = {secret:?}");
    let believed = format!("{file}\nobserve = true");
    check(&believed, &sign("id-1"), Some(3)).await;
    check(&believed, &sign("id-2"), None).await;
    check(&believed, "records=3", None).await;
    check(&file, &sign("id-1"), None).await;
}
