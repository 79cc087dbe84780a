//! Clients that h2load cannot be: they count handshakes, full and resumed, and hold connections.

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use anyhow::{Context as _, Result, anyhow, ensure};
use botguard_tests::certificate::SERVER_NAME;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Clients that shake hands at the same time.
const N_WORKERS: u32 = 16;

/// Of which kind every handshake must be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shake {
    /// With the certificate.
    Full,
    /// With the ticket of the connection before.
    Resumed,
}

/// `n_handshakes` of TLS 1.3, a connection each. A connection is closed once the server's ticket
/// has come, which it sends when the handshake is over for it too. Of resumed ones, each worker
/// makes one full one more, first.
///
/// Errors: a connection or handshake fails, or is of the other kind.
pub(crate) async fn shake(
    port: u16,
    trusting: Arc<ClientConfig>,
    kind: Shake,
    n_handshakes: u32,
) -> Result<()> {
    let mut workers = Vec::new();
    for worker in 0..N_WORKERS {
        let mut config = ClientConfig::clone(&trusting);
        config.resumption = match kind {
            Shake::Full => Resumption::disabled(),
            // Of its own, so that none takes another's ticket.
            Shake::Resumed => Resumption::in_memory_sessions(8),
        };
        let connector = TlsConnector::from(Arc::new(config));
        let n_own = (worker..n_handshakes).step_by(N_WORKERS as usize).count();
        workers.push(tokio::spawn(async move {
            if kind == Shake::Resumed {
                shake_once(port, &connector).await?;
            }
            for _ in 0..n_own {
                let done = shake_once(port, &connector).await?;
                let is_resumed = done == HandshakeKind::Resumed;
                ensure!(is_resumed == (kind == Shake::Resumed), "{done:?}");
            }
            Ok(())
        }));
    }
    for worker in workers {
        worker.await??;
    }
    Ok(())
}

/// How many handshakes [`shake`] makes beside those that were asked for.
pub(crate) const fn preliminary(kind: Shake) -> u32 {
    match kind {
        Shake::Full => 0,
        Shake::Resumed => N_WORKERS,
    }
}

async fn shake_once(port: u16, connector: &TlsConnector) -> Result<HandshakeKind> {
    let mut stream = connect(port, connector).await?;
    // Nothing is asked for, so that nothing can be read; but reading takes the ticket in.
    let ticket = poll_fn(|context| {
        let mut byte = [0];
        let read = Pin::new(&mut stream).poll_read(context, &mut ReadBuf::new(&mut byte));
        let has_ticket = stream.get_ref().1.tls13_tickets_received() > 0;
        match read {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            _ if has_ticket => Poll::Ready(Ok(())),
            Poll::Ready(Ok(())) => Poll::Ready(Err(anyhow!("closed without a ticket"))),
            Poll::Pending => Poll::Pending,
        }
    });
    ticket.await?;
    (stream.get_ref().1.handshake_kind()).context("no handshake")
}

async fn connect(port: u16, connector: &TlsConnector) -> Result<TlsStream<TcpStream>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let tcp = TcpStream::connect(address).await.context("connection")?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from(SERVER_NAME)?;
    connector.connect(name, tcp).await.context("handshake")
}

/// Opens `n_connections`, asks once over each of them, and keeps them.
///
/// Errors: one of them fails or is not answered with 200.
pub(crate) async fn hold(
    port: u16,
    trusting: Arc<ClientConfig>,
    n_connections: u32,
) -> Result<Vec<TlsStream<TcpStream>>> {
    let connector = TlsConnector::from(trusting);
    let mut held = Vec::new();
    for _ in 0..n_connections {
        let mut stream = connect(port, &connector).await?;
        let request = format!("GET /1k HTTP/1.1\r\nhost: {SERVER_NAME}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        while !is_whole(&answer) {
            let n_bytes = stream.read_buf(&mut answer).await?;
            ensure!(n_bytes > 0, "closed: {}", String::from_utf8_lossy(&answer));
        }
        ensure!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        held.push(stream);
    }
    Ok(held)
}

/// Whether the head is there and 1 KiB behind it.
fn is_whole(answer: &[u8]) -> bool {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    end.is_some_and(|end| answer.len() >= end + 4 + (1 << 10))
}
