//! The end of a drain: what is left is cut, and its peers are told so in order.

use http_body_util::{BodyExt as _, Empty};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Mutex;

use super::websocket::agreeing;
use super::*;

/// Begins an answer and never goes on.
async fn never_ending() -> SocketAddr {
    upstream(async |_request: Request<Incoming>| {
        let (mut feed, body) = fed();
        feed.send(data("begun")).await.unwrap();
        // Leaked, as the end of the channel is that of the body.
        std::mem::forget(feed);
        Response::new(body)
    })
    .await
}

/// Reads until `text` has come.
async fn read_until(tls: &mut TlsStream<TcpStream>, text: &str) {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(text) {
        read.push(tls.read_u8().await.unwrap());
    }
}

#[tokio::test]
async fn who_is_cut_off_is_told_so_by_tls() {
    let check = async |upstream: SocketAddr, sent: &str, last: &str, is_told: bool| {
        let mut edge = start(upstream).await;
        let mut tls = edge.connect(b"http/1.1").await;
        tls.write_all(sent.as_bytes()).await.unwrap();
        read_until(&mut tls, last).await;
        edge.cut_short().await;
        let ended = tls.read_to_end(&mut Vec::new()).await;
        let expected = match is_told {
            true => Ok(()),
            // Never a reset.
            false => Err(std::io::ErrorKind::UnexpectedEof),
        };
        let ended = ended.map(|_n_bytes| ()).map_err(|error| error.kind());
        assert_eq!(ended, expected, "{sent}");
        edge.finished().await;
    };
    let switch =
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    check(
        agreeing().await,
        &format!("{switch}ping"),
        "\r\n\r\nping",
        true,
    )
    .await;
    let (one, zero) = (
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n",
    );
    check(never_ending().await, one, "begun", true).await;
    // It would take the connection's end for that of the response.
    check(never_ending().await, zero, "begun", false).await;
}

#[tokio::test]
async fn http2_is_cut_off_in_order() {
    let mut edge = start(never_ending().await).await;
    let tls = Arc::new(Mutex::new(edge.connect(b"h2").await));
    let lent = Pin::new(Arc::clone(&tls).lock_owned().await);
    let shaken = http2::handshake(TokioExecutor::new(), TokioIo::new(lent)).await;
    let (mut sender, connection) = shaken.unwrap();
    let connection = tokio::spawn(connection);
    let request = get2("/").body(Empty::<Bytes>::new()).unwrap();
    let mut body = sender.send_request(request).await.unwrap().into_body();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "begun"
    );
    edge.cut_short().await;
    assert!(body.frame().await.unwrap().is_err());
    let _ended: hyper::Result<()> = connection.await.unwrap();
    let mut tls = tls.lock().await;
    // Read to its end already, which rustls says again.
    assert_eq!(tls.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    edge.finished().await;
}

/// Bytes that nobody has read would reset the connection.
#[tokio::test]
async fn who_still_sends_is_not_reset() {
    let mut edge = start(never_ending().await).await;
    let mut tls = edge.connect(b"http/1.1").await;
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000000\r\n\r\n";
    tls.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut tls, "begun").await;
    let (mut read, mut write) = tokio::io::split(tls);
    let sending = tokio::spawn(async move { while write.write_all(&[7; 65_536]).await.is_ok() {} });
    edge.cut_short().await;
    read.read_to_end(&mut Vec::new()).await.unwrap();
    sending.abort();
}

/// The application of a WebSocket as well as its client.
#[tokio::test]
async fn both_sides_of_a_tunnel_are_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut edge = start(listener.local_addr().unwrap()).await;
    let mut tls = edge.connect(b"http/1.1").await;
    let asks =
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    tls.write_all(asks.as_bytes()).await.unwrap();
    let (mut application, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(application.read_u8().await.unwrap());
    }
    let grants = "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhere";
    application.write_all(grants.as_bytes()).await.unwrap();
    read_until(&mut tls, "here").await;
    let sending = tokio::spawn(async move {
        let (mut read, mut write) = application.into_split();
        // More than the client takes.
        let flood =
            tokio::spawn(async move { while write.write_all(&[7; 65_536]).await.is_ok() {} });
        let ended = read.read_to_end(&mut Vec::new()).await;
        flood.abort();
        ended
    });
    edge.cut_short().await;
    assert_eq!(sending.await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn who_takes_nothing_holds_nobody_up() {
    let endless = upstream(async |_request: Request<Incoming>| Response::new(Endless));
    let mut edge = start(endless.await).await;
    let mut tls = edge.connect(b"http/1.1").await;
    let head = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    tls.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut tls, "\r\n\r\n").await;
    edge.cut_short().await;
    edge.finished().await;
}
