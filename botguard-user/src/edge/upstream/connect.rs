//! New connections to one address of an endpoint: TCP or a Unix socket, TLS where it has to be,
//! HTTP/1.1 or HTTP/2 above. Keeps none; `target` does.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::AlertDescription;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::endpoint::Protocol;
use super::failure::ConnectError;
use super::http2::{self, Stream};
use super::tls::ClientTls;
use super::transfer::RequestBody;

/// How one address is connected to.
pub(super) struct Connector {
    pub(super) address: Address,
    pub(super) protocol: Protocol,
    /// For [`Protocol::Tls`].
    pub(super) tls: Option<(ClientTls, ServerName<'static>)>,
}

/// What is connected to.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// What a request has to be sent by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Need {
    /// HTTP/2 or HTTP/1.1.
    Any,
    /// HTTP/1.1, which alone can switch protocols (RFC 9110 section 7.8, RFC 9113 section 8.6).
    Upgrade,
}

/// A connection that a request can be sent on.
pub(super) enum Channel {
    /// For one request at a time.
    Http1(http1::SendRequest<RequestBody>),
    /// Shared with others.
    Http2(Stream),
}

impl Connector {
    /// Makes a connection. Waits for as long as the other side lets it.
    ///
    /// Errors: [`ConnectError`].
    pub(super) async fn open(&self, need: Need) -> Result<Channel, ConnectError> {
        let address = match &self.address {
            Address::Tcp(address) => *address,
            Address::Unix(path) => return http1(UnixStream::connect(path).await?).await,
        };
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        match (self.protocol, &self.tls) {
            (Protocol::H2c, _) if need == Need::Upgrade => Err(ConnectError::NoUpgrade),
            (Protocol::H2c, _) => http2::open(tcp).await.map(Channel::Http2),
            (Protocol::Tls, Some((tls, name))) => {
                let config = match need {
                    Need::Any => &tls.any,
                    Need::Upgrade => &tls.http1,
                };
                let connector = TlsConnector::from(Arc::clone(config));
                let tls = connector.connect(name.clone(), tcp).await;
                let tls = tls.map_err(|error| match need {
                    Need::Upgrade if refuses_protocols(&error) => ConnectError::NoUpgrade,
                    _ => ConnectError::Tls(error),
                })?;
                if tls.get_ref().1.alpn_protocol() == Some(b"h2") {
                    http2::open(tls).await.map(Channel::Http2)
                } else {
                    http1(tls).await
                }
            }
            (Protocol::Http1 | Protocol::Tls, _) => http1(tcp).await,
        }
    }
}

/// Whether the other side speaks nothing of what it was offered (RFC 7301 section 3.2).
fn refuses_protocols(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref());
    let refusal = rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol);
    error == Some(&refusal)
}

async fn http1<T>(io: T) -> Result<Channel, ConnectError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_headers(MAX_HEAD_LINES)
        .max_header_size(MAX_HEAD_BYTES as usize)
        .handshake(TokioIo::new(io))
        .await?;
    // Ends when its sender is dropped, and with the application's end of it.
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "connection to the application failed");
        }
    });
    Ok(Channel::Http1(sender))
}

/// Bytes of a response's head: far more than clients take.
pub(super) const MAX_HEAD_BYTES: u32 = 256 * 1_024;

/// Its lines over HTTP/1.1, for which room is made while it is parsed. HTTP/2 counts 32 bytes more
/// for each (RFC 9113 section 6.5.2).
const MAX_HEAD_LINES: usize = 1_000;
