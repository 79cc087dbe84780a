//! A ban: the answer arrives, then the peer's connections are closed, then the gate settles.

use http_body_util::{BodyExt as _, Empty};
use tokio::io::AsyncReadExt as _;

use super::*;

async fn check_banned(status: u16, body: Incoming, edge: &mut Running) {
    assert_eq!(status, 403);
    let body = body.collect().await.unwrap().to_bytes();
    assert!(body.starts_with(b"{"));
    assert_eq!(
        answered(&edge.finished().await.0),
        (AnsweredBy::Botguard, 403)
    );
    let Event::Settled { ban, open } = edge.event().await else {
        panic!("not settled");
    };
    assert_eq!(ban.target.ip().to_string(), "127.0.0.1");
    // The gate is told when all are closed.
    assert_eq!(open, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http1_ban_closes_every_connection_of_the_peer() {
    let mut edge = start("127.0.0.1:1".parse().unwrap()).await;
    let mut idle = edge.connect(b"http/1.1").await;
    let mut unshaken = TcpStream::connect(edge.address).await.unwrap();
    let mut client = edge.http1().await;
    let request = get("/banned").body(Empty::<Bytes>::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    check_banned(response.status().as_u16(), response.into_body(), &mut edge).await;
    let error = idle.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let error = unshaken.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    while !client.is_closed() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_ban_closes_every_connection_of_the_peer() {
    let mut edge = start("127.0.0.1:1".parse().unwrap()).await;
    let mut idle = edge.connect(b"h2").await;
    let mut client = edge.http2().await;
    let request = get2("/banned").body(Empty::<Bytes>::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    check_banned(response.status().as_u16(), response.into_body(), &mut edge).await;
    // The server's settings may have arrived before the reset.
    let mut rest = Vec::new();
    let error = idle.read_to_end(&mut rest).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_mere_denial_closes_nothing() {
    let mut edge = start("127.0.0.1:1".parse().unwrap()).await;
    let idle = edge.connect(b"http/1.1").await;
    let mut client = edge.http1().await;
    for _ in 0..3 {
        let request = get("/blocked").body(Empty::<Bytes>::new()).unwrap();
        let response = client.send_request(request).await.unwrap();
        response.into_body().collect().await.unwrap();
        client.ready().await.unwrap();
        edge.finished().await;
    }
    assert_eq!(edge.connections.count(), 2);
    drop((idle, client));
    assert_eq!(edge.stop().await, []);
}

#[tokio::test]
async fn an_operator_s_block_closes_connections_at_once() {
    let edge = start("127.0.0.1:1".parse().unwrap()).await;
    let mut idle = edge.connect(b"http/1.1").await;
    edge.connections
        .close(&"192.0.2.0/24".parse().unwrap())
        .done()
        .await;
    assert_eq!(edge.connections.count(), 1);
    edge.connections
        .close(&"127.0.0.0/8".parse().unwrap())
        .done()
        .await;
    assert_eq!(edge.connections.count(), 0);
    let error = idle.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}
