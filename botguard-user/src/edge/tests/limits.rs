//! Clients that are slow where others wait for them, and secrets that are there twice.

use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::reloading::{prepared, replace};
use super::*;
use crate::engine::decision::{LimitState, LimitUnit};

/// Below `/limited` there is a limit.
pub(super) fn limit(path: &str) -> Option<LimitState> {
    path.starts_with("/limited").then(|| LimitState {
        name: "key".into(),
        unit: LimitUnit::Requests,
        quota: 120,
        window: Duration::from_secs(60),
        remaining: 7,
        reset: Duration::from_secs(30),
    })
}

async fn echo() -> SocketAddr {
    upstream(async |request: Request<Incoming>| Response::new(request.into_body())).await
}

/// What is answered to `sent`, to the end of the connection, by an edge that is patient otherwise.
async fn answer(lines: &str, sent: &str) -> String {
    let edge = start_with(&[echo().await], "", lines).await;
    let mut tls = edge.connect(b"http/1.1").await;
    tls.write_all(sent.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _end: std::io::Result<usize> = tls.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_head_has_to_arrive_once_it_has_begun() {
    let check = async |sent: &str, expected: &str| {
        let answer = answer("header_timeout = '50ms'\nidle_timeout = '10m'", sent).await;
        assert!(answer.starts_with(expected), "{sent:?}: {answer}");
        answer
    };
    let head = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    check(&format!("{head}\r\n"), "HTTP/1.1 200").await;
    let late = check(head, "HTTP/1.1 408").await;
    assert!(late.contains("application/problem+json"), "{late}");
    check("G", "HTTP/1.1 408").await;
    check("\r\nG", "HTTP/1.1 408").await;
}

#[tokio::test]
async fn an_empty_line_after_a_request_is_no_request() {
    let check = async |sent: &str, n_answers: usize| {
        let answer = answer("header_timeout = '50ms'\nidle_timeout = '100ms'", sent).await;
        let answers: Vec<_> = answer.matches("HTTP/1.1 ").collect();
        assert_eq!(answers.len(), n_answers, "{sent:?}: {answer}");
        let good = answer.matches("HTTP/1.1 200").count();
        assert_eq!(good, n_answers, "{sent:?}: {answer}");
    };
    let post = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc";
    check(post, 1).await;
    check(&format!("{post}\r\n"), 1).await;
    check(&format!("{post}\r\n\r\n\r"), 1).await;
    check(&format!("{post}\r\n{post}\r\n\r\n{post}\r\n"), 3).await;
    check("\r\n", 0).await;
    check("\r", 0).await;
}

#[tokio::test]
async fn handshakes_at_one_listener_leave_room_at_another() {
    let mut edge = start(echo().await).await;
    let endpoint = echo().await;
    let lines = "max_handshakes = 1";
    let [first, second] = [(); 2].map(|()| prepared(&edge, endpoint, lines));
    replace(&edge, first.into_iter().chain(second).collect());
    let [one, other] = edge.services.addresses()[..] else {
        panic!("not two");
    };
    let _silent = TcpStream::connect(one).await.unwrap();
    let mut refused = TcpStream::connect(one).await.unwrap();
    let _reset: std::io::Result<usize> = refused.read_to_end(&mut Vec::new()).await;
    edge.address = other;
    edge.connect(b"http/1.1").await;
}

#[tokio::test]
async fn a_body_has_to_arrive() {
    let check = async |sent: &str, expected: &str| {
        let head = "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
        let answer = answer("body_timeout = '50ms'", &format!("{head}{sent}")).await;
        assert!(answer.starts_with(expected), "{sent:?}: {answer}");
    };
    check("Content-Length: 3\r\n\r\nabc", "HTTP/1.1 200").await;
    // The upstream answers at once: from then on, it is for it to say how long it waits.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = silent.local_addr().unwrap();
    let edge = start_with(&[at], "", "body_timeout = '50ms'").await;
    let mut client = edge.http2().await;
    let (mut feed, body) = fed();
    feed.send(data("abc")).await.unwrap();
    let request = Request::post("https://localhost/").body(body).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 408);
    drop(feed);
}

#[tokio::test]
async fn a_secret_that_is_there_twice_is_refused() {
    let mut edge = start(echo().await).await;
    let mut check = async |keys: &[&str], status: u16| {
        let mut client = edge.http1().await;
        let mut request = Request::post("/").header("host", "localhost");
        for key in keys {
            request = request.header("x-api-key", *key);
        }
        let request = request.body(Full::new(Bytes::new())).unwrap();
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{keys:?}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let named = String::from_utf8_lossy(&body).contains("more than one header:x-api-key");
        assert_eq!(named, status == 400);
        let event = edge.event().await;
        assert_eq!(event == Event::Refused(400), status == 400, "{event:?}");
        if status == 200 {
            edge.finished().await;
        }
    };
    check(&["a"], 200).await;
    check(&["a", "b"], 400).await;
    check(&["a", "a"], 400).await;
}
