//! Connections of [`USER`] that stay open while something happens to the daemon.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Result, ensure};
use botguard_tests::certificate::SERVER_NAME;
use botguard_tests::echo_app::SLOW_BYTES;
use botguard_tests::host::Host;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::channel::Channel;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::fixture::USER;

/// Opens a WebSocket and an upload, says so, and sends something over both whenever it is asked to.
pub(crate) async fn hold_open(
    tls: Arc<ClientConfig>,
    mut asked: mpsc::Receiver<()>,
    tells: mpsc::Sender<()>,
) -> Result<()> {
    let mut client = connect(&tls).await?;
    let asks = Request::get("/socket")
        .header("host", SERVER_NAME)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .body(Empty::<Bytes>::new())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(client)).await?;
    tokio::spawn(connection.with_upgrades());
    let mut response = sender.send_request(asks).await?;
    ensure!(response.status() == StatusCode::SWITCHING_PROTOCOLS);
    let mut socket = TokioIo::new(hyper::upgrade::on(&mut response).await?);

    let (mut feed, fed) = Channel::<Bytes>::new(1);
    let upload = Request::post("/upload")
        .header("host", SERVER_NAME)
        .body(fed)?;
    client = connect(&tls).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(client)).await?;
    tokio::spawn(connection);
    let answer = tokio::spawn(async move { sender.send_request(upload).await });

    tells.send(()).await?;
    let mut n_bytes = 0;
    while asked.recv().await.is_some() {
        socket.write_all(b"ping").await?;
        let mut back = [0; 4];
        socket.read_exact(&mut back).await?;
        ensure!(&back == b"ping");
        feed.send_data(Bytes::from_static(&[7; 10_000])).await?;
        n_bytes += 10_000;
        tells.send(()).await?;
    }
    drop(feed);
    socket.shutdown().await?;
    ensure!(socket.read(&mut [0]).await? == 0);
    let body = answer.await??.into_body().collect().await?.to_bytes();
    ensure!(body == n_bytes.to_string(), "{body:?} of {n_bytes}");
    Ok(())
}

async fn connect(tls: &Arc<ClientConfig>) -> Result<TlsStream<TcpStream>> {
    let source = USER.parse()?;
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(source, 0))?;
    let tcp = socket.connect(Host::server(source)?).await?;
    let connector = TlsConnector::from(Arc::clone(tls));
    Ok(connector
        .connect(ServerName::try_from(SERVER_NAME)?, tcp)
        .await?)
}

/// Downloads something that takes eight seconds: says so when it has begun, and again when it has
/// ended well.
pub(crate) async fn download(tls: Arc<ClientConfig>, tells: mpsc::Sender<()>) -> Result<()> {
    let client = connect(&tls).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(client)).await?;
    tokio::spawn(connection);
    let request = Request::get("/slow").header("host", SERVER_NAME);
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?);
    let mut body = response.await?.into_body();
    let mut n_bytes = 0;
    while let Some(frame) = body.frame().await {
        if n_bytes == 0 {
            tells.send(()).await?;
        }
        n_bytes += frame?.data_ref().map_or(0, Bytes::len);
    }
    ensure!(n_bytes == SLOW_BYTES, "{n_bytes} of {SLOW_BYTES}");
    tells.send(()).await?;
    Ok(())
}
