//! WebSockets through the edge: what is sent comes through, is counted, and ends with a ban.

use http::StatusCode;
use http_body_util::Empty;
use hyper::upgrade::Upgraded;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::words::address::host_network;

/// Agrees to every upgrade to the protocol that it is asked for, and sends back what it gets.
pub(super) async fn agreeing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let service = service_fn(async |mut request: Request<Incoming>| {
                let asked = request.headers().get("upgrade").cloned();
                let Some(asked) = asked else {
                    return Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()));
                };
                let upgrade = hyper::upgrade::on(&mut request);
                tokio::spawn(async move {
                    let upgraded = TokioIo::new(upgrade.await.unwrap());
                    let (mut from, mut to) = tokio::io::split(upgraded);
                    tokio::io::copy(&mut from, &mut to).await.unwrap();
                    to.shutdown().await.unwrap();
                });
                let response = Response::builder()
                    .status(StatusCode::SWITCHING_PROTOCOLS)
                    .header("connection", "upgrade")
                    .header("upgrade", asked)
                    .header("sec-websocket-accept", "x")
                    .body(Empty::new());
                Ok(response.unwrap())
            });
            let server = hyper::server::conn::http1::Builder::new();
            let connection = server.serve_connection(TokioIo::new(tcp), service);
            tokio::spawn(connection.with_upgrades());
        }
    });
    address
}

impl Running {
    async fn upgradeable(&self) -> http1::SendRequest<Empty<Bytes>> {
        let io = TokioIo::new(self.connect(b"http/1.1").await);
        let (sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        sender
    }

    async fn ask(&self, protocol: &str) -> Response<Incoming> {
        let request = get("/chat")
            .header("connection", "Upgrade")
            .header("upgrade", protocol)
            .header("sec-websocket-key", "x")
            .body(Empty::new());
        let mut client = self.upgradeable().await;
        client.send_request(request.unwrap()).await.unwrap()
    }

    async fn websocket(&self) -> TokioIo<Upgraded> {
        let mut response = self.ask("websocket").await;
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers()["upgrade"], "websocket");
        assert_eq!(response.headers()["sec-websocket-accept"], "x");
        TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap())
    }
}

async fn echoes(socket: &mut TokioIo<Upgraded>, text: &[u8]) {
    socket.write_all(text).await.unwrap();
    let mut back = vec![0; text.len()];
    socket.read_exact(&mut back).await.unwrap();
    assert_eq!(back, text);
}

#[tokio::test]
async fn carries_both_ways_and_is_finished_once() {
    let mut edge = start(agreeing().await).await;
    let mut socket = edge.websocket().await;
    echoes(&mut socket, b"one").await;
    echoes(&mut socket, b"three").await;
    socket.shutdown().await.unwrap();
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).await.unwrap();
    let (facts, before) = edge.finished().await;
    assert_eq!(before.len(), 1, "{before:?}");
    assert_eq!(answered(&facts), (AnsweredBy::Upstream, 101));
    assert_eq!((facts.bytes_in, facts.bytes_out), (8, 8));
    assert_eq!(edge.stop().await, []);
}

/// As some clients write it that have one way to say how long a body is.
#[tokio::test]
async fn a_length_of_nothing_is_no_body() {
    let mut edge = start(agreeing().await).await;
    let request = get("/chat")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("content-length", "0")
        .body(Empty::new());
    let mut client = edge.upgradeable().await;
    let mut response = client.send_request(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut socket = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    echoes(&mut socket, b"one").await;
    socket.shutdown().await.unwrap();
    assert_eq!(answered(&edge.finished().await.0).1, 101);
}

#[tokio::test]
async fn other_protocols_are_not_asked_for() {
    let mut edge = start(agreeing().await).await;
    let response = edge.ask("h2c").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        answered(&edge.finished().await.0),
        (AnsweredBy::Upstream, 200)
    );
}

#[tokio::test]
async fn ends_with_a_ban_of_its_peer() {
    let mut edge = start(agreeing().await).await;
    let mut socket = edge.websocket().await;
    echoes(&mut socket, b"one").await;
    let closed = (edge.connections).close(&host_network(edge.address.ip()));
    assert_eq!(closed.count(), 1);
    closed.done().await;
    assert!(socket.read_u8().await.is_err());
    let (facts, before) = edge.finished().await;
    assert!(
        before.contains(&Event::Broken(BrokenBy::Client)),
        "{before:?}"
    );
    assert_eq!((facts.bytes_in, facts.bytes_out), (3, 3));
}

#[tokio::test]
async fn is_closed_when_it_carries_nothing() {
    let mut edge = start_with(&[agreeing().await], "", "tunnel_timeout = '10ms'").await;
    let mut socket = edge.websocket().await;
    let mut rest = Vec::new();
    // Without a TLS close_notify, it would be an error.
    socket.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"");
    assert_eq!(answered(&edge.finished().await.0).1, 101);
}
