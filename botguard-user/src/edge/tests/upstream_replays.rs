//! Requests that are sent a second time, and those that never are.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;
use http_body_util::{Empty, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::upstream_failing::{OK, PATIENCE, scripted};
use super::*;

/// The status of `method` with `body`.
async fn ask<B: Sendable>(edge: &Running, method: &Method, body: B) -> u16 {
    let mut client = edge.http1().await;
    let request = get("/").method(method).body(body).unwrap();
    let response = client.send_request(request);
    let response = timeout(PATIENCE, response).await.expect("no answer");
    response.unwrap().status().as_u16()
}

#[tokio::test]
async fn what_changes_nothing_is_sent_once_more_where_a_kept_connection_closes() {
    let check = async |method: &str, body: &'static str, expected: (u16, usize)| {
        // The second request is read, on the connection of the first, and not answered.
        let (at, n_requests) = scripted(|n| (n != 1).then_some(OK), true).await;
        let edge = start(at).await;
        assert_eq!(ask(&edge, &Method::GET, Empty::<Bytes>::new()).await, 200);
        kept(&edge).await;
        let method = method.parse().unwrap();
        let status = ask(&edge, &method, Full::<Bytes>::from(body)).await;
        let sent = n_requests.load(Ordering::Relaxed) - 1;
        assert_eq!((status, sent), expected, "{method} {body:?}");
    };
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
        check(method, "", (200, 2)).await;
    }
    for (method, body) in [("POST", ""), ("PATCH", ""), ("PUT", "it"), ("POST", "it")] {
        check(method, body, (502, 1)).await;
    }
}

/// Waits for the connection of the first request to be kept.
pub(super) async fn kept(edge: &Running) {
    let kept = timeout(PATIENCE, async {
        while edge.services.upstreams()[0].2[0].idle == 0 {
            tokio::task::yield_now().await;
        }
    });
    kept.await.expect("it is not kept");
}

#[tokio::test]
async fn nothing_is_sent_three_times() {
    // Answered once, and nobody after that.
    let (at, n_requests) = scripted(|n| (n == 0).then_some(OK), true).await;
    let edge = start(at).await;
    assert_eq!(ask(&edge, &Method::GET, Empty::<Bytes>::new()).await, 200);
    kept(&edge).await;
    assert_eq!(ask(&edge, &Method::GET, Empty::<Bytes>::new()).await, 502);
    assert_eq!(n_requests.load(Ordering::Relaxed), 3);
    // On a new connection it is the request that is not liked.
    assert_eq!(ask(&edge, &Method::GET, Empty::<Bytes>::new()).await, 502);
    assert_eq!(n_requests.load(Ordering::Relaxed), 4);
}

/// An application that speaks HTTP/2, and answers the requests of its first `n` connections with
/// the frames of `refusal`, the others with 200; and how many requests it has had.
pub(super) async fn refusing(refusal: &'static [u8], n: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("h2c://{}", listener.local_addr().unwrap());
    let n_requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&n_requests);
    tokio::spawn(async move {
        for number in 0.. {
            let (tcp, _) = listener.accept().await.unwrap();
            let counter = Arc::clone(&counter);
            let answer: &[u8] = if number < n { refusal } else { OK_FRAME };
            tokio::spawn(async move { speak(tcp, answer, &counter).await });
        }
    });
    (at, n_requests)
}

/// Answers HEADERS (RFC 9113 section 6.2) with `answer`, which is for stream 1.
async fn speak(mut tcp: TcpStream, answer: &[u8], n_requests: &AtomicUsize) -> Option<()> {
    let mut preface = [0; 24];
    tcp.read_exact(&mut preface).await.ok()?;
    tcp.write_all(SETTINGS_FRAME).await.ok()?;
    loop {
        let mut head = [0; 9];
        tcp.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        tcp.read_exact(&mut payload).await.ok()?;
        if head[3] == 0x1 {
            n_requests.fetch_add(1, Ordering::Relaxed);
            tcp.write_all(answer).await.ok()?;
        }
    }
}

const SETTINGS_FRAME: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
/// HEADERS that end stream 1, with `:status: 200` of HPACK's static table.
const OK_FRAME: &[u8] = b"\0\0\x01\x01\x05\0\0\0\x01\x88";
/// RST_STREAM of stream 1 with REFUSED_STREAM.
const REFUSED: &[u8] = b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x07";
/// The same with INTERNAL_ERROR.
const FAILED: &[u8] = b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x02";
/// GOAWAY with NO_ERROR and no last stream: nothing was begun.
const GOING_AWAY: &[u8] = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0";

#[tokio::test]
async fn what_http2_says_was_not_begun_is_sent_once_more() {
    let check = async |refusal, n, method: Method, body: &'static str, expected: (u16, usize)| {
        let (at, n_requests) = refusing(refusal, n).await;
        let edge = start_at(&[at], "", "", Trust::default()).await;
        let status = ask(&edge, &method, Full::<Bytes>::from(body)).await;
        let n_requests = n_requests.load(Ordering::Relaxed);
        assert_eq!(
            (status, n_requests),
            expected,
            "{method} {body:?} {refusal:?}"
        );
    };
    for refusal in [REFUSED, GOING_AWAY] {
        for method in [Method::GET, Method::POST] {
            check(refusal, 1, method.clone(), "", (200, 2)).await;
            check(refusal, 2, method, "", (502, 2)).await;
        }
        check(refusal, 1, Method::POST, "it", (502, 1)).await;
    }
    for method in [Method::GET, Method::POST] {
        check(FAILED, 1, method, "", (502, 1)).await;
    }
}
