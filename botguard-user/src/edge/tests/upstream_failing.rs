//! Applications that go away, come back, fall silent, lie about lengths, or have enough to do.

use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use http_body_util::channel::Channel;
use http_body_util::{BodyExt as _, Empty, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::*;
use crate::edge::upstream::EndpointState;

/// Reads up to the end of a request's head; false where the connection ends before.
pub(super) async fn read_head(tcp: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match tcp.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_ended) => return false,
        }
    }
    true
}

/// An upstream that answers the n-th request with `answer(n)`, and closes where that is none or
/// `stays` says so; and how many it has read.
pub(super) async fn scripted(
    answer: fn(usize) -> Option<&'static [u8]>,
    stays: bool,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let n_requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&n_requests);
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                while read_head(&mut tcp).await {
                    let Some(answer) = answer(counter.fetch_add(1, Ordering::Relaxed)) else {
                        return;
                    };
                    if tcp.write_all(answer).await.is_err() || !stays {
                        return;
                    }
                }
            });
        }
    });
    (address, n_requests)
}

pub(super) async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// Status and body of `/`, or nothing of a body that broke off.
async fn fetch(edge: &Running) -> (u16, Option<Bytes>) {
    let mut client = edge.http1().await;
    let request = get("/").body(Empty::<Bytes>::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.ok();
    (status, body.map(http_body_util::Collected::to_bytes))
}

pub(super) const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_kept_connection_that_was_closed_fails_no_request() {
    let (closing, n_requests) = scripted(|_| Some(OK), false).await;
    let edge = start(closing).await;
    for _ in 0..20 {
        assert_eq!(fetch(&edge).await, (200, Some(Bytes::from_static(b"ok"))));
    }
    assert_eq!(n_requests.load(Ordering::Relaxed), 20);
}

#[tokio::test]
async fn a_body_that_is_longer_than_it_says_is_nobody_else_s_answer() {
    let (at, _) = scripted(
        |_| Some(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"),
        true,
    )
    .await;
    let edge = start(at).await;
    for _ in 0..20 {
        assert_eq!(fetch(&edge).await, (200, Some(Bytes::from_static(b"ok"))));
    }
}

#[tokio::test]
async fn silence_in_mid_body_is_ended() {
    let (at, _) = scripted(
        |_| Some(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfour"),
        true,
    )
    .await;
    let mut edge = start_with(&[at], "idle_timeout = '30ms'", "").await;
    let mut client = edge.http1().await;
    let request = get("/").body(Empty::<Bytes>::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    let body = timeout(PATIENCE, response.into_body().collect()).await;
    assert!(body.expect("still waiting for the rest").is_err());
    let (facts, before) = edge.finished().await;
    assert_eq!(answered(&facts), (AnsweredBy::Upstream, 200));
    assert!(before.contains(&Event::Broken(BrokenBy::Upstream)));
}

#[tokio::test]
async fn a_long_upload_keeps_a_silent_response_open() {
    // Answers at once, and says the rest when the request has ended.
    let at = upstream(async |request: Request<Incoming>| {
        let (mut feed, body) = fed();
        tokio::spawn(async move {
            let whole = request.into_body().collect().await.unwrap().to_bytes();
            feed.send(Frame::data(whole)).await.unwrap();
        });
        Response::new(body)
    })
    .await;
    let edge = start_with(&[at], "idle_timeout = '200ms'", "").await;
    let mut client = edge.http2().await;
    let (mut feed, body) = fed();
    let request = Request::post("https://localhost/").body(body).unwrap();
    let response = client.send_request(request).await.unwrap();
    let rest = tokio::spawn(response.into_body().collect());
    // Three times the limit in all, in steps that are far below it.
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..30 {
        ticks.tick().await;
        feed.send(data("x")).await.unwrap();
    }
    drop(feed);
    assert_eq!(rest.await.unwrap().unwrap().to_bytes().len(), 30);
}

#[tokio::test]
async fn an_application_that_does_not_read_is_to_blame() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (sender, mut held) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            // Kept open, and never read.
            sender.send(tcp).unwrap();
        }
    });
    let mut edge = start_with(&[at], "first_byte_timeout = '100ms'", "").await;
    let mut client = edge.http1().await;
    let request = Request::post("/").header("host", "localhost").body(Endless);
    let response = client.send_request(request.unwrap());
    let response = timeout(PATIENCE, response).await.expect("still waiting");
    assert_eq!(response.unwrap().status(), 504);
    assert_eq!(answered(&edge.finished().await.0).1, 504);
    assert!(held.recv().await.is_some());
}

/// The first byte is waited for from the end of the request's body, and from then on once.
#[tokio::test]
async fn the_first_byte_is_waited_for_since_the_body_s_last_progress() {
    let (at, _) = scripted(|_| Some(b""), true).await;
    let edge = start_with(&[at], "first_byte_timeout = '2s'", "").await;
    let request = |body: Channel<Bytes>| {
        let request = Request::post("/").header("host", "localhost");
        request.body(body).unwrap()
    };
    let (mut feed, body) = fed();
    feed.send(data("all of it")).await.unwrap();
    drop(feed);
    let mut client = edge.http1().await;
    let response = client.send_request(request(body));
    let response = timeout(Duration::from_millis(3_900), response).await;
    let response = response.expect("waited for twice").unwrap();
    assert_eq!(response.status(), 504);

    // Begun long before, and answered as soon as it has ended.
    let at = upstream(async |request: Request<Incoming>| {
        let whole = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(Full::new(whole))
    });
    let edge = start_with(&[at.await], "first_byte_timeout = '2s'", "").await;
    let (mut feed, body) = fed();
    let mut client = edge.http1().await;
    let response = tokio::spawn(client.send_request(request(body)));
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for _ in 0..30 {
        ticks.tick().await;
        feed.send(data("x")).await.unwrap();
    }
    drop(feed);
    assert_eq!(response.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_reached_is_left_alone_and_comes_back() {
    let (good, _) = scripted(|_| Some(OK), true).await;
    let away = nobody().await;
    let lines = "eject = { failures = 1, time = '20ms', max = '20ms' }\n\
                 keep_alive = { connections = 0 }";
    let edge = start_with(&[away, good], lines, "").await;
    let state = |edge: &Running| edge.services.upstreams()[0].2[0].state;
    let mut seen_ejected = false;
    for _ in 0..50 {
        assert_eq!(fetch(&edge).await.0, 200);
        seen_ejected |= state(&edge) == EndpointState::Ejected;
    }
    assert!(seen_ejected);
    // Somebody listens there again, and gets requests without being asked for.
    let listener = TcpListener::bind(away).await.unwrap();
    let accepted = tokio::spawn(async move { listener.accept().await.is_ok() });
    let found = timeout(PATIENCE, async {
        while !accepted.is_finished() {
            // The one that is accepted is closed again.
            let status = fetch(&edge).await.0;
            assert!(status == 200 || status == 502);
        }
    });
    found.await.expect("it got no request");
    assert_eq!(state(&edge), EndpointState::Up);
}

#[tokio::test]
async fn where_nobody_is_up_all_are_tried() {
    let away = nobody().await;
    let lines = "eject = { failures = 1, time = '1h', max = '1h' }";
    let edge = start_with(&[away], lines, "").await;
    for _ in 0..3 {
        assert_eq!(fetch(&edge).await.0, 502);
    }
    assert_eq!(
        edge.services.upstreams()[0].2[0].state,
        EndpointState::Ejected
    );
    let listener = TcpListener::bind(away).await.unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        assert!(read_head(&mut tcp).await);
        tcp.write_all(OK).await.unwrap();
        // Kept open until the edge closes it.
        read_head(&mut tcp).await;
    });
    assert_eq!(fetch(&edge).await.0, 200);
    assert_eq!(edge.services.upstreams()[0].2[0].state, EndpointState::Up);
}

/// An application that names itself, and whose check answers what it is told to.
async fn checked(
    name: &'static str,
    status: &Arc<AtomicU16>,
) -> (SocketAddr, mpsc::UnboundedReceiver<()>) {
    let (sender, checks) = mpsc::unbounded_channel();
    let status = Arc::clone(status);
    let at = upstream(move |request: Request<Incoming>| {
        let (sender, status) = (sender.clone(), Arc::clone(&status));
        async move {
            let mut response = Response::new(Full::from(name));
            if request.uri() == "/healthz" {
                *response.status_mut() =
                    http::StatusCode::from_u16(status.load(Ordering::Relaxed)).unwrap();
                // Nobody counts any more once a test ends.
                let _unheard: Result<(), _> = sender.send(());
            }
            response
        }
    })
    .await;
    (at, checks)
}

#[tokio::test]
async fn checks_take_an_endpoint_out_and_bring_it_back() {
    let (well, status) = (Arc::new(AtomicU16::new(204)), Arc::new(AtomicU16::new(503)));
    let (good, _good_checks) = checked("good", &well).await;
    let (bad, mut checks) = checked("bad", &status).await;
    let lines = "health = { path = '/healthz', interval = '5ms', timeout = '5s' }";
    let edge = start_with(&[good, bad], lines, "").await;
    let mut until = async |expected: EndpointState| {
        let reached = timeout(PATIENCE, async {
            while edge.services.upstreams()[0].2[1].state != expected {
                checks.recv().await.unwrap();
            }
        });
        reached.await.expect("checks change nothing");
    };
    until(EndpointState::Down).await;
    for _ in 0..10 {
        assert_eq!(fetch(&edge).await, (200, Some(Bytes::from_static(b"good"))));
    }
    status.store(200, Ordering::Relaxed);
    until(EndpointState::Up).await;
    let returned = timeout(PATIENCE, async {
        while fetch(&edge).await.1.unwrap() != "bad" {}
    });
    returned.await.expect("it got no request");
    assert_eq!(edge.services.upstreams()[0].2[0].state, EndpointState::Up);
}

#[tokio::test]
async fn no_endpoint_has_more_requests_than_it_may_have() {
    let (feed, body) = fed();
    let held = Arc::new(parking_lot::Mutex::new(Some(body)));
    let at = upstream(move |_request| {
        // The first response lasts, the others are over at once.
        let body = held.lock().take().unwrap_or_else(|| fed().1);
        async { Response::new(body) }
    })
    .await;
    let lines = "max_connections = 1\nqueue_timeout = '20ms'";
    let edge = start_with(&[at], lines, "").await;
    let mut client = edge.http2().await;
    let request = get2("/").body(Empty::<Bytes>::new()).unwrap();
    let first = client.send_request(request).await.unwrap();
    assert_eq!(edge.services.upstreams()[0].2[0].requests, 1);

    let mut other = edge.http1().await;
    let request = get("/").body(Empty::<Bytes>::new()).unwrap();
    let refused = other.send_request(request).await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");

    drop(feed);
    first.into_body().collect().await.unwrap();
    assert_eq!(fetch(&edge).await.0, 200);
    assert_eq!(edge.services.upstreams()[0].2[0].requests, 0);
}

/// Far longer than any limit that these tests set.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The application answers a request whose body never ends, and does not read it.
#[tokio::test]
async fn an_early_answer_ends_its_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (closed, is_closed) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut head = [0; 16];
        tcp.read_exact(&mut head).await.unwrap();
        let answer = b"HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n";
        tcp.write_all(answer).await.unwrap();
        let mut rest = Vec::new();
        let _ended = tcp.read_to_end(&mut rest).await;
        closed.send(()).unwrap();
    });
    let edge = start(address).await;
    let mut client = edge.http2().await;
    let (mut feed, body) = fed();
    feed.send(data("begun")).await.unwrap();
    let request = Request::post("https://localhost/").body(body).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 401);
    drop(response);
    let is_closed = timeout(PATIENCE, is_closed).await;
    is_closed.expect("the request goes on").unwrap();
    assert_eq!(edge.services.upstreams()[0].2[0].requests, 0);
    drop(feed);
}
