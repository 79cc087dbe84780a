//! What applications say of the length of their answers, and how they end them: the client is told
//! one thing, and the right one.

use http::Method;
use http_body_util::{BodyExt as _, Empty};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::hostile_http2::{DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, block, frame};
use super::upstream_failing::{PATIENCE, read_head};
use super::upstream_replays::refusing;
use super::*;

/// An application that answers each request with `answer`, and closes if that says no length.
async fn saying(answer: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                while read_head(&mut tcp).await {
                    let written = tcp.write_all(answer.as_bytes()).await;
                    if written.is_err() || !answer.contains("-Encoding") && !answer.contains("-Len")
                    {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// What a client is told: the status, each `Content-Length`, and the body if it is whole.
type Told = (u16, Vec<String>, Option<Bytes>);

async fn told(response: impl Future<Output = hyper::Result<Response<Incoming>>>) -> Told {
    let response = timeout(PATIENCE, response).await.expect("no answer");
    let (head, body) = response.unwrap().into_parts();
    let lengths = head.headers.get_all("content-length").iter();
    let lengths = lengths.map(|length| length.to_str().unwrap().to_owned());
    let body = timeout(PATIENCE, body.collect()).await.expect("no end");
    let body = body.ok().map(http_body_util::Collected::to_bytes);
    (head.status.as_u16(), lengths.collect(), body)
}

/// What clients of both protocols are told.
async fn both(edge: &Running, method: &Method) -> [Told; 2] {
    let empty = Empty::<Bytes>::new;
    let request = get("/").method(method).body(empty()).unwrap();
    let first = told(edge.http1().await.send_request(request)).await;
    let request = get2("/").method(method).body(empty()).unwrap();
    [first, told(edge.http2().await.send_request(request)).await]
}

#[tokio::test]
async fn the_length_of_a_response_is_said_once_and_rightly() {
    let check = async |method: Method, head: &str, body: &str, expected: (u16, &[&str], &str)| {
        let edge = start(saying(format!("HTTP/1.1 {head}\r\n\r\n{body}")).await).await;
        for (status, lengths, body) in both(&edge, &method).await {
            let body = body.expect("it is cut");
            let found = (status, lengths.iter().map(|length| &**length).collect());
            let (status, lengths, whole) = expected;
            assert_eq!(found, (status, lengths.to_vec()), "{method} {head}");
            assert_eq!(body, whole, "{method} {head}");
        }
    };
    let (get, head) = (Method::GET, Method::HEAD);
    let chunked = "5\r\nhello\r\n0\r\n\r\n";
    for length in ["3", "9", "5", "x"] {
        for coding in ["chunked", "Chunked"] {
            let fields =
                format!("200 OK\r\nContent-Length: {length}\r\nTransfer-Encoding: {coding}");
            check(get.clone(), &fields, chunked, (200, &[], "hello")).await;
            check(head.clone(), &fields, "", (200, &[], "")).await;
        }
    }
    for fields in [
        "200 OK\r\nContent-Length: 5",
        "200 OK\r\nContent-Length: 5, 5",
        "200 OK\r\nContent-Length: 5\r\nContent-Length: 5",
    ] {
        check(get.clone(), fields, "hello", (200, &["5"], "hello")).await;
        check(head.clone(), fields, "", (200, &["5"], "")).await;
    }
    let sized = "204 No Content\r\nContent-Length: 5";
    check(get.clone(), sized, "", (204, &[], "")).await;
    let coded = "200 OK\r\nTransfer-Encoding: chunked";
    check(get.clone(), coded, chunked, (200, &[], "hello")).await;
    check(get.clone(), "200 OK\r\nX: y", "hello", (200, &[], "hello")).await;
}

#[tokio::test]
async fn a_response_whose_body_cannot_be_read_is_no_response() {
    let check = async |fields: &str, expected: &str| {
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        let edge = start(saying(answer).await).await;
        for (status, _, body) in both(&edge, &Method::GET).await {
            assert_eq!(status, 502, "{fields}");
            let body = String::from_utf8(body.unwrap().to_vec()).unwrap();
            assert!(body.contains(expected), "{fields}: {body}");
        }
    };
    for coding in [
        "gzip, chunked",
        "gzip",
        "identity",
        "chunked,",
        "chunked, chunked",
        "gzip\r\nTransfer-Encoding: chunked",
        "",
    ] {
        let fields = format!("Transfer-Encoding: {coding}");
        check(&fields, "transfer coding").await;
    }
    for length in ["5, 6", "5\r\nContent-Length: 6", "x", "-5"] {
        check(&format!("Content-Length: {length}"), "").await;
    }
}

/// The same of an application that speaks HTTP/2.
#[tokio::test]
async fn the_length_of_a_response_is_said_once_over_http2() {
    let check = async |fields: &[(&str, &str)], body: &str, expected: (u16, &[&str], &str)| {
        let head_ends = if body.is_empty() { END_STREAM } else { 0 };
        let mut answer = frame(HEADERS, END_HEADERS | head_ends, 1, &block(fields));
        if !body.is_empty() {
            answer.extend(frame(DATA, END_STREAM, 1, body.as_bytes()));
        }
        let (at, _) = refusing(answer.leak(), usize::MAX).await;
        let edge = start_at(&[at], "", "", Trust::default()).await;
        let request = get2("/").body(Empty::<Bytes>::new()).unwrap();
        let found = told(edge.http2().await.send_request(request)).await;
        if expected.0 == 502 {
            return assert_eq!(found.0, 502, "{fields:?}");
        }
        let (status, lengths, whole) = expected;
        let lengths = lengths.iter().map(|length| (*length).to_owned()).collect();
        assert_eq!(
            found,
            (status, lengths, Some(Bytes::from(whole.to_owned())))
        );
    };
    let ok = (":status", "200");
    let five = ("content-length", "5");
    check(&[ok, five], "hello", (200, &["5"], "hello")).await;
    check(&[ok, five, five], "hello", (200, &["5"], "hello")).await;
    check(&[ok], "hello", (200, &[], "hello")).await;
    let six = ("content-length", "6");
    check(&[ok, five, six], "hello", (502, &[], "")).await;
    check(&[(":status", "204"), five], "", (204, &[], "")).await;
}

/// All that a client reads of the answer to one request.
async fn read(edge: &Running) -> String {
    let mut tls = edge.connect(b"http/1.1").await;
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    tls.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let ended = timeout(PATIENCE, tls.read_to_end(&mut answer)).await;
    ended.expect("no end").unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn heads_of_responses_may_be_large_and_not_any_size() {
    let http1 = async |fields: &str| {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{fields}\r\nok");
        read(&start(saying(answer).await).await).await
    };
    let http2 = async |bytes: usize| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = format!("h2c://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let service = service_fn(move |_: Request<Incoming>| async move {
                let response = Response::builder().header("x-large", "x".repeat(bytes));
                Ok::<_, Infallible>(response.body(Empty::<Bytes>::new()).unwrap())
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ended = server.serve_connection(TokioIo::new(tcp), service).await;
        });
        read(&start_at(&[at], "", "", Trust::default()).await).await
    };
    let lines = |count: usize| "X-Line: y\r\n".repeat(count);
    let large = |bytes: usize| format!("X-Large: {}\r\n", "x".repeat(bytes));
    for answer in [
        http1(&lines(99)).await,
        http1(&lines(998)).await,
        http1(&large(200_000)).await,
        http2(15_000).await,
        http2(17_000).await,
        http2(200_000).await,
    ] {
        let head = &answer[..100];
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    }
    for answer in [
        http1(&lines(1_001)).await,
        http1(&large(270_000)).await,
        http1(&large(1_000_000)).await,
        http2(270_000).await,
    ] {
        let head = &answer[..100];
        assert!(answer.starts_with("HTTP/1.1 502 "), "{head}");
        assert!(answer.contains("256 KiB"), "{answer}");
    }
}

/// The body of a response, if it is whole; hyper may drop the head with one that breaks off.
async fn whole(response: impl Future<Output = hyper::Result<Response<Incoming>>>) -> Option<Bytes> {
    let read = async {
        Some(
            response
                .await
                .ok()?
                .into_body()
                .collect()
                .await
                .ok()?
                .to_bytes(),
        )
    };
    timeout(PATIENCE, read).await.expect("no end")
}

/// RFC 9113 section 8.1: a response is complete with END_STREAM only, whatever the reset says.
#[tokio::test]
async fn a_stream_that_is_reset_before_its_end_is_a_response_that_broke_off() {
    const NO_ERROR: [u8; 4] = [0; 4];
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    let check = async |reset: Option<[u8; 4]>, ends: bool, sends: bool, expected: bool| {
        let mut answer = frame(HEADERS, END_HEADERS, 1, &block(&[(":status", "200")]));
        let last = if ends { END_STREAM } else { 0 };
        answer.extend(frame(DATA, last, 1, b"part"));
        if let Some(reason) = reset {
            answer.extend(frame(RST_STREAM, 0, 1, &reason));
        }
        let answer: &[u8] = answer.leak();
        for http2 in [false, true] {
            let (at, _) = refusing(answer, usize::MAX).await;
            let edge = start_at(&[at], "", "", Trust::default()).await;
            let (feed, body) = fed();
            // A request that goes on is what an early answer resets.
            let open = sends.then_some(feed);
            let found = if http2 {
                let request = Request::post("https://localhost/").body(body).unwrap();
                whole(edge.http2().await.send_request(request)).await
            } else {
                let request = Request::post("/").header("host", "localhost");
                let request = request.body(body).unwrap();
                whole(edge.http1().await.send_request(request)).await
            };
            let whole = expected.then_some(Bytes::from_static(b"part"));
            assert_eq!(found, whole, "{reset:?} {ends} {sends} {http2}");
            drop(open);
        }
    };
    check(None, true, false, true).await;
    for sends in [false, true] {
        check(Some(NO_ERROR), true, sends, true).await;
        check(Some(NO_ERROR), false, sends, false).await;
        check(Some(CANCEL), false, sends, false).await;
    }
}
