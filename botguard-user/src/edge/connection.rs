//! One client connection from its acceptance to its end: TLS, then HTTP/2 or HTTP/1.1 by ALPN.
//!
//! When a response earned the peer a ban, it ends here: the response is flushed, this connection
//! is closed, all others of the peer are closed abortively, and only then is the gate told to
//! settle, since the kernel will drop the peer's acknowledgements from there on.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::Edge;
use super::body::ClientBody;
use super::connections::{Live, Registration};
use super::exchange::Exchange;
use super::framing::Watched;
use super::listener::Limits;
use super::prints::tap::Tapped;
use super::prints::{ConnectionPrints, HelloEar, OpeningEar};
use super::stream::ClientStream;
use super::upstream::Upstream;
use crate::engine::decision::BanProposal;

/// What all connections of one listener share.
pub(super) struct Site {
    pub(super) edge: Edge,
    pub(super) upstream: Arc<Upstream>,
    pub(super) tls: TlsAcceptor,
    pub(super) limits: Limits,
}

/// Serves `tcp` until it ends, is aborted, or has drained after `shutdown`.
pub(super) async fn serve(
    tcp: TcpStream,
    peer: SocketAddr,
    site: Arc<Site>,
    registration: Registration,
    shutdown: CancellationToken,
) {
    let live = Arc::clone(registration.live());
    let prints = Arc::new(ConnectionPrints::default());
    if let Ok(local) = tcp.local_addr()
        && let Some(tls) = shake_hands(tcp, &site, &live, &shutdown, &prints).await
    {
        let exchange = Arc::new(Exchange {
            site: Arc::clone(&site),
            live: Arc::clone(&live),
            peer: peer.ip(),
            local,
            prints,
        });
        serve_http(tls, &site.limits, exchange, &shutdown).await;
    }
    // The socket is closed by now. First out of the registry, so that the ban does not wait for
    // this very connection.
    drop(registration);
    for ban in live.end() {
        settle(&site.edge, ban).await;
    }
}

/// Closes all connections of a banned peer, then tells the gate.
async fn settle(edge: &Edge, ban: BanProposal) {
    let closed = edge.connections.close(&ban.network);
    // A task that is kept from running must not keep the ban waiting.
    if timeout(CLOSE_LIMIT, closed.done()).await.is_err() {
        tracing::debug!("connections of a banned peer are still closing");
    }
    edge.gate.settle(ban);
}

async fn shake_hands(
    tcp: TcpStream,
    site: &Site,
    live: &Live,
    shutdown: &CancellationToken,
    prints: &Arc<ConnectionPrints>,
) -> Option<Tls> {
    let stream = ClientStream::new(tcp, live.abort().clone(), site.limits.send_timeout);
    let stream = Tapped::new(stream, HelloEar::new(prints));
    let failed = |kind: &'static str| {
        metrics::counter!("botguard_handshakes_failed_total", "kind" => kind).increment(1);
        None
    };
    tokio::select! {
        biased;
        () = live.abort().cancelled() => None,
        () = shutdown.cancelled() => None,
        handshake = timeout(site.limits.handshake_timeout, site.tls.accept(stream)) => {
            match handshake {
                Ok(Ok(tls)) => Some(tls),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "TLS handshake failed");
                    failed("tls")
                }
                Err(_elapsed) => failed("timeout"),
            }
        }
    }
}

async fn serve_http(
    tls: Tls,
    limits: &Limits,
    exchange: Arc<Exchange>,
    shutdown: &CancellationToken,
) {
    let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    let live = Arc::clone(&exchange.live);
    let opening = OpeningEar::new(&exchange.prints);
    let service = service_fn(move |request| {
        let exchange = Arc::clone(&exchange);
        async move { Ok::<_, Infallible>(exchange.answer(request).await) }
    });
    if http2 {
        let io = TokioIo::new(Tapped::new(tls, opening));
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .keep_alive_interval(limits.idle_timeout)
            .serve_connection(io, service);
        drive(connection, limits, &live, shutdown).await;
    } else {
        let io = TokioIo::new(Watched::new(tls, Arc::clone(&live)));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_header_size(limits.max_header_bytes)
            .serve_connection(io, service);
        drive(connection, limits, &live, shutdown).await;
    }
}

/// Polls the connection to its end. Dropping it, on return, closes the socket.
async fn drive<C: Connection>(
    connection: C,
    limits: &Limits,
    live: &Live,
    shutdown: &CancellationToken,
) {
    let mut connection = pin!(connection);
    let mut idle = pin!(sleep(limits.idle_timeout));
    let mut flush = pin!(sleep(Duration::ZERO));
    let mut begun_at_last_look = None;
    let mut state = State::Serving;
    loop {
        tokio::select! {
            biased;
            () = live.abort().cancelled() => return,
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    count_http_error(&error);
                }
                return;
            }
            // Placed after the connection: it has just written what it could of the response.
            () = live.ban_proposed(), if state != State::Flushing => {
                state = State::Flushing;
                flush.set(sleep(FLUSH_LIMIT));
                connection.as_mut().graceful_shutdown();
            }
            () = shutdown.cancelled(), if state == State::Serving => {
                state = State::Draining;
                idle.set(sleep(limits.header_timeout));
                connection.as_mut().graceful_shutdown();
            }
            () = flush.as_mut(), if state == State::Flushing => {
                live.abort().cancel();
                return;
            }
            () = idle.as_mut(), if state != State::Flushing => {
                let begun = live.begun_if_idle();
                match state {
                    // hyper waits for the client's part of the shutdown, and before all for its
                    // preface.
                    State::Draining if begun.is_some() => return,
                    State::Serving if begun.is_some() && begun == begun_at_last_look => {
                        state = State::Draining;
                        idle.set(sleep(limits.header_timeout));
                        connection.as_mut().graceful_shutdown();
                    }
                    _ => {
                        begun_at_last_look = begun;
                        idle.set(sleep(limits.idle_timeout));
                    }
                }
            }
        }
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum State {
    Serving,
    Draining,
    Flushing,
}

/// A client's stream after TLS.
type Tls = TlsStream<Tapped<ClientStream, HelloEar>>;

/// What hyper's two kinds of connection have in common.
trait Connection: Future<Output = hyper::Result<()>> {
    fn graceful_shutdown(self: Pin<&mut Self>);
}

impl<S> Connection for http1::Connection<TokioIo<Watched<Tls>>, S>
where
    S: HttpService<Incoming, ResBody = ClientBody>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}

impl<S> Connection for http2::Connection<TokioIo<Tapped<Tls, OpeningEar>>, S, TokioExecutor>
where
    S: HttpService<Incoming, ResBody = ClientBody>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send + 'static,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}

fn count_http_error(error: &hyper::Error) {
    let kind = if error.is_timeout() {
        "timeout"
    } else if error.is_parse() {
        "malformed"
    } else if error.is_user() {
        // The response's body failed: counted where it is finished.
        return;
    } else {
        "broken"
    };
    tracing::debug!(%error, "HTTP connection failed");
    metrics::counter!("botguard_http_errors_total", "kind" => kind).increment(1);
}

/// Concurrent requests of one HTTP/2 connection; nginx's and h2o's default as well.
const MAX_STREAMS: u32 = 128;

/// Response bytes buffered for one HTTP/2 stream whose client does not read.
const SEND_BUFFER_BYTES: usize = 64 * 1_024;

/// How long a response that earned a ban may take to be flushed, before its connection is closed
/// abortively as well.
const FLUSH_LIMIT: Duration = Duration::from_millis(50);

/// How long the peer's other connections may take to close before the ban is settled regardless.
const CLOSE_LIMIT: Duration = Duration::from_millis(5);
