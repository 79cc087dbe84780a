//! New connections to one address of an endpoint: TCP or a Unix socket, TLS where it has to be,
//! HTTP/1.1 or HTTP/2 above. Keeps none; `target` does.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::endpoint::Protocol;
use super::failure::ConnectError;
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

/// One stream's part of a connection that others have too.
pub(super) struct Stream {
    pub(super) sender: http2::SendRequest<RequestBody>,
    sharing: Arc<Sharing>,
}

/// What is known of one HTTP/2 connection by all who have a part of it.
pub(super) struct Sharing {
    /// How many parts there are.
    n_streams: AtomicUsize,
    /// Whether the application takes no further requests on it.
    is_retired: AtomicBool,
}

impl Sharing {
    pub(super) fn n_streams(&self) -> usize {
        self.n_streams.load(Ordering::Relaxed)
    }

    pub(super) fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Relaxed)
    }
}

impl Stream {
    fn first(sender: http2::SendRequest<RequestBody>) -> Self {
        let sharing = Sharing {
            n_streams: AtomicUsize::new(1),
            is_retired: AtomicBool::new(false),
        };
        Self {
            sender,
            sharing: Arc::new(sharing),
        }
    }

    pub(super) fn sharing(&self) -> &Arc<Sharing> {
        &self.sharing
    }

    /// One more part, unless there are as many as one connection may have.
    pub(super) fn join(
        sender: &http2::SendRequest<RequestBody>,
        sharing: &Arc<Sharing>,
    ) -> Option<Self> {
        let n_streams = &sharing.n_streams;
        let joined = n_streams.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
            (n < MAX_STREAMS as usize).then_some(n + 1)
        });
        joined.is_ok().then(|| Self {
            sender: sender.clone(),
            sharing: Arc::clone(sharing),
        })
    }

    /// The application takes no further requests on this connection. Those on it go on, and the
    /// last of them closes it.
    pub(super) fn retire(&self) {
        self.sharing.is_retired.store(true, Ordering::Relaxed);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.sharing.n_streams.fetch_sub(1, Ordering::Relaxed);
    }
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
            (Protocol::H2c, _) => http2(tcp).await,
            (Protocol::Tls, Some((tls, name))) => {
                let config = match need {
                    Need::Any => &tls.any,
                    Need::Upgrade => &tls.http1,
                };
                let connector = TlsConnector::from(Arc::clone(config));
                let tls = connector.connect(name.clone(), tcp).await?;
                if tls.get_ref().1.alpn_protocol() == Some(b"h2") {
                    http2(tls).await
                } else {
                    http1(tls).await
                }
            }
            (Protocol::Http1 | Protocol::Tls, _) => http1(tcp).await,
        }
    }
}

async fn http1<T>(io: T) -> Result<Channel, ConnectError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(io)).await?;
    // Ends when its sender is dropped, and with the application's end of it.
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "connection to the application failed");
        }
    });
    Ok(Channel::Http1(sender))
}

/// Without pings: servers of gRPC close connections that ping them more often than every five
/// minutes. An end that is gone without a word is noticed by the time limits of its requests.
async fn http2<T>(io: T) -> Result<Channel, ConnectError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(STREAM_WINDOW_BYTES * MAX_STREAMS)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .handshake(TokioIo::new(io))
        .await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to the application failed");
        }
    });
    Ok(Channel::Http2(Stream::first(sender)))
}

/// Requests on one HTTP/2 connection: what RFC 9113 section 6.5.2 asks servers to allow at least.
pub(super) const MAX_STREAMS: u32 = 100;

/// Response bytes that wait for one client. A connection has room for this of every stream, so
/// that clients who do not read do not keep those waiting who do.
const STREAM_WINDOW_BYTES: u32 = 128 * 1_024;

/// Request bytes that wait for an application that does not read, for one stream.
const SEND_BUFFER_BYTES: usize = 128 * 1_024;
