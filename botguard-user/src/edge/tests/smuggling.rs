//! What could be read in two ways is refused, through a real listener, and each refusal has a mirror
//! that passes: the same request, written so that there is one reading.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// An upstream that answers every request, keep-alive, with what it was sent.
async fn echo() -> SocketAddr {
    upstream(async |request: Request<Incoming>| {
        let line = format!("{} {};", request.method(), request.uri());
        let body = http_body_util::BodyExt::collect(request.into_body()).await;
        let body = body
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        let whole = [line.as_bytes(), &body].concat();
        Response::new(http_body_util::Full::new(Bytes::from(whole)))
    })
    .await
}

/// All that is answered to `stream`, to the end of the connection.
async fn exchange(edge: &Running, stream: &str) -> String {
    let mut tls = edge.connect(b"http/1.1").await;
    tls.write_all(stream.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _end: std::io::Result<usize> = tls.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

/// The statuses of the answers in `text`.
fn statuses(text: &str) -> Vec<&str> {
    text.match_indices("HTTP/1.")
        .filter_map(|(at, _)| text.get(at + 9..at + 12))
        .filter(|status| status.bytes().all(|byte| byte.is_ascii_digit()))
        .collect()
}

#[tokio::test]
async fn two_readings_are_refused_and_one_passes() {
    let edge = start_with(&[echo().await], "", "max_uri_length = '1KiB'").await;
    let check = async |stream: String, expected: &[&str]| {
        let answer = exchange(&edge, &stream).await;
        assert_eq!(statuses(&answer), expected, "{stream:?}: {answer}");
        if expected.last() != Some(&"200") {
            assert!(answer.contains("application/problem+json"), "{answer}");
            assert!(answer.contains("urn:botguard:problem:malformed-request"));
        }
    };
    let host = "Host: localhost\r\n";
    let close = "Connection: close\r\n";
    let post =
        |lines: &str, body: &str| format!("POST / HTTP/1.1\r\n{host}{close}{lines}\r\n{body}");
    let length = "Content-Length: 5\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    let zero = "0\r\n\r\n";
    check(post(length, "abcde"), &["200"]).await;
    check(post(chunked, zero), &["200"]).await;
    check(post(&format!("{length}{chunked}"), zero), &["400"]).await;
    check(post(&format!("{chunked}{length}"), zero), &["400"]).await;
    for encodings in [
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer_Encoding: chunked\r\n",
    ] {
        check(post(encodings, zero), &["400"]).await;
    }
    for lengths in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 0x5\r\n",
    ] {
        check(post(lengths, "abcde"), &["400"]).await;
    }
    let http10 = format!("POST / HTTP/1.0\r\n{host}");
    check(format!("{http10}{length}\r\nabcde"), &["200"]).await;
    check(format!("{http10}{chunked}\r\n{zero}"), &["400"]).await;
    // Lines.
    check(post("A: b\r\n", ""), &["200"]).await;
    for line in [
        "A: b\n",
        "A: b\rc\r\n",
        "A: b\r\n c\r\n",
        "A : b\r\n",
        "A: \0\r\n",
        "A\0: b\r\n",
        ": b\r\n",
    ] {
        check(post(line, ""), &["400"]).await;
    }
    check(format!("GET / HTTP/1.1\n{host}{close}\n"), &["400"]).await;
    check(format!("GET  / HTTP/1.1\r\n{host}{close}\r\n"), &["400"]).await;
    // Sizes.
    let target = |bytes: usize| format!("GET /{} HTTP/1.1\r\n{host}{close}\r\n", "a".repeat(bytes));
    check(target(1_000), &["200"]).await;
    check(target(1_030), &["414"]).await;
}

#[tokio::test]
async fn chunks_that_two_readers_would_end_differently_are_refused() {
    let edge = start(echo().await).await;
    let check = async |body: &str, expected: &str| {
        let head = "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
        let stream = format!("{head}Transfer-Encoding: chunked\r\n\r\n{body}");
        let answer = exchange(&edge, &stream).await;
        assert_eq!(statuses(&answer), [expected], "{body:?}: {answer}");
    };
    check("5\r\nabcde\r\n0\r\n\r\n", "200").await;
    check("5;a=b\r\nabcde\r\n0\r\nA: b\r\n\r\n", "200").await;
    for body in [
        "0x5\r\nabcde\r\n0\r\n\r\n",
        "5 \r\nabcde\r\n0\r\n\r\n",
        "5\nabcde\r\n0\r\n\r\n",
        "00000000000000005\r\nabcde\r\n0\r\n\r\n",
        "5\r\nabcdef\r\n0\r\n\r\n",
        "5\r\nabcde0\r\n\r\n",
        "5;a\nb\r\nabcde\r\n0\r\n\r\n",
        "0\r\nContent-Length: 5\r\n\r\n",
    ] {
        check(body, "400").await;
    }
    let extensions = format!("5;{}\r\nabcde\r\n0\r\n\r\n", "e".repeat(10_000));
    check(&extensions, "400").await;
}

#[tokio::test]
async fn a_refusal_in_a_pipeline_spoils_no_earlier_answer() {
    let (mut feed, body) = fed();
    let body = Arc::new(parking_lot::Mutex::new(Some(body)));
    let at = upstream(move |_request| {
        let body = body.lock().take().unwrap();
        async { Response::new(body) }
    })
    .await;
    let edge = start(at).await;
    let mut tls = edge.connect(b"http/1.1").await;
    let first = "POST /one HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc";
    let smuggled =
        "GET /two HTTP/1.1\r\nHost: localhost\r\nX : y\r\n\r\nGET /three HTTP/1.1\r\n\r\n";
    tls.write_all(format!("{first}{smuggled}").as_bytes())
        .await
        .unwrap();
    let mut answer = Vec::new();
    feed.send(data("begun")).await.unwrap();
    while !answer.ends_with(b"begun\r\n") {
        answer.push(tls.read_u8().await.unwrap());
    }
    feed.send(data("ended")).await.unwrap();
    drop(feed);
    tls.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert_eq!(statuses(&answer), ["200", "400"], "{answer}");
    assert!(
        answer.contains("ended\r\n0\r\n\r\nHTTP/1.1 400"),
        "{answer}"
    );
    let events = edge.stop().await;
    let admitted = |event: &&Event| matches!(event, Event::Admitted { .. });
    assert_eq!(events.iter().filter(admitted).count(), 1, "{events:?}");
    assert_eq!(events.last(), Some(&Event::Refused(400)));
}

#[tokio::test]
async fn a_head_may_come_in_pieces_and_a_pipeline_at_once() {
    let edge = start(echo().await).await;
    let head = "Host: localhost\r\n";
    let stream = format!(
        "GET /a HTTP/1.1\r\n{head}\r\n\r\nPOST /b HTTP/1.1\r\n{head}Content-Length: 3\r\n\r\nabc\
         POST /c HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n\
         GET /d HTTP/1.1\r\n{head}Connection: close\r\n\r\n"
    );
    let check = |answer: &str| {
        assert_eq!(statuses(answer), ["200"; 4], "{answer}");
        for part in ["GET /a;", "POST /b;abc", "POST /c;def", "GET /d;"] {
            assert!(answer.contains(part), "{part}: {answer}");
        }
    };
    check(&exchange(&edge, &stream).await);
    let mut tls = edge.connect(b"http/1.1").await;
    for byte in stream.bytes() {
        tls.write_all(&[byte]).await.unwrap();
        tls.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = Vec::new();
    tls.read_to_end(&mut answer).await.unwrap();
    check(&String::from_utf8(answer).unwrap());
}

/// An upgrade that the upstream did not agree to is followed by requests like any other.
#[tokio::test]
async fn a_refused_upgrade_is_followed_by_watched_requests() {
    let edge = start(echo().await).await;
    let upgrade = "GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let next = "GET /b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    let answer = exchange(&edge, &format!("{upgrade}{next}\r\n")).await;
    assert_eq!(statuses(&answer), ["200", "200"], "{answer}");
    let answer = exchange(&edge, &format!("{upgrade}{next}A : b\r\n\r\n")).await;
    assert_eq!(statuses(&answer), ["200", "400"], "{answer}");
}

/// Only what the gate saw arrives, and nothing beside it.
#[tokio::test]
async fn the_upstream_reads_what_the_gate_saw() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let edge = start(listener.local_addr().unwrap()).await;
    let wire = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"0\r\n\r\n") {
            seen.push(tcp.read_u8().await.unwrap());
        }
        tcp.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .unwrap();
        String::from_utf8(seen).unwrap()
    });
    let inner = "GET /inner HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let size = inner.len();
    let head = "POST /a%20b?c=d HTTP/1.1\r\nHost: LOCALHOST\r\nA: b: c\r\nConnection: close\r\n";
    let stream =
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{size:x};x=y\r\n{inner}\r\n0\r\n\r\n");
    let answer = exchange(&edge, &stream).await;
    assert_eq!(statuses(&answer), ["204"], "{answer}");
    let seen = wire.await.unwrap();
    assert!(seen.starts_with("POST /a%20b?c=d HTTP/1.1\r\n"), "{seen}");
    let (head, body) = seen.split_once("\r\n\r\n").unwrap();
    let lines: Vec<_> = head.lines().map(str::to_ascii_lowercase).collect();
    let named = |name: &str| lines.iter().filter(|line| line.starts_with(name)).count();
    assert_eq!(named("host: localhost"), 1, "{seen}");
    assert_eq!(named("a: b: c"), 1, "{seen}");
    assert_eq!(named("transfer-encoding: chunked"), 1, "{seen}");
    assert_eq!(named("content-length"), 0, "{seen}");
    assert_eq!(body, format!("{size:X}\r\n{inner}\r\n0\r\n\r\n"), "{seen}");
}
