//! One client connection from its acceptance to its end: TLS, then HTTP/2 or HTTP/1.1 by ALPN, and
//! a WebSocket if HTTP/1.1 ends in one.
//!
//! When a response earned the peer a ban, it ends here: the response is flushed, this connection
//! is closed, all others of the peer are closed abortively, and only then is the gate told to
//! settle, since the kernel will drop the peer's acknowledgements from there on. At the end of a
//! drain, the client is told that it is cut off (see `farewell`).

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::Edge;
use super::body::ClientBody;
use super::connections::{Live, Registration, SourcePlace};
use super::exchange::Exchange;
use super::farewell::{self, Left, Lent};
use super::framing::watched::Watched;
use super::http_errors;
use super::listener::{Limits, ProxyProtocol, per_source};
use super::prints::{ConnectionPrints, HelloEar, OpeningEar};
use super::proxy_protocol::Source;
use super::proxy_protocol::reading::{self, ReadError};
use super::site::{Service, Site};
use super::stream::ClientStream;
use super::tap::Tapped;
use crate::engine::decision::BanProposal;

mod ends;
mod gathered;
mod http2;

use self::ends::Ends;

/// Serves `tcp` until it ends, is aborted, or has drained after `shutdown`.
pub(super) async fn serve(
    tcp: TcpStream,
    peer: SocketAddr,
    site: Arc<Site>,
    registration: Registration,
    shutdown: CancellationToken,
) {
    let live = Arc::clone(registration.live());
    let service = site.service();
    let ends = Ends::new(shutdown, &site.edge.connections);
    if let Ok(local) = tcp.local_addr()
        // Apart, so that what a handshake takes is given back after it.
        && let Some(begun) =
            Box::pin(begin(tcp, peer.ip(), (&site, &service), &live, &ends)).await
    {
        let exchange = Arc::new(Exchange {
            site: Arc::clone(&site),
            live: Arc::clone(&live),
            peer: peer.ip(),
            told: begun.told,
            local,
            prints: begun.prints,
        });
        let tls = begun.tls;
        let mut left = serve_http(&tls, &service.limits, exchange, &ends).await;
        if let Some(tunnel) = live.take_tunnel() {
            let idle_limit = service.limits.tunnel_timeout;
            // Room for it is needed by few.
            left = Box::pin(tunnel.carry(live.abort(), ends.over(), idle_limit)).await;
        }
        if left == Left::Open
            && let Ok(mut tls) = tls.try_lock()
        {
            Box::pin(part(&mut tls, &live)).await;
        }
    }
    // The socket is closed by now. First out of the registry, so that the ban does not wait for
    // this very connection.
    drop(registration);
    for ban in live.end() {
        settle(&site.edge, ban).await;
    }
}

/// Closes in order what is left open, unless it is to be abortive after all.
async fn part(tls: &mut Tls, live: &Live) {
    let told = async {
        if live.is_unframed() {
            // TLS must not vouch for the end of a response that was cut.
            farewell::close(tls.get_mut().0).await;
        } else {
            farewell::close(tls).await;
        }
    };
    tokio::select! {
        biased;
        () = live.abort().cancelled() => {}
        () = told => {}
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

/// A client's stream after TLS.
type Tls = TlsStream<Tapped<ClientStream, HelloEar>>;

/// A connection whose handshake is done.
struct Begun {
    /// Lent to HTTP. Each future that it moved through would keep room for it.
    tls: Arc<Mutex<Tls>>,
    /// What the client showed of itself so far.
    prints: Arc<ConnectionPrints>,
    /// Whom the peer's PROXY protocol header named.
    told: Source,
    /// Of whoever it named.
    _place: Option<SourcePlace>,
}

/// Why a connection did not begin.
#[derive(Debug, thiserror::Error)]
enum NotBegun {
    #[error("the peer is no trusted proxy, and this listener takes connections from nobody else")]
    NoProxy,
    #[error(transparent)]
    ProxyProtocol(#[from] ReadError),
    #[error("the client that the proxy names has too many connections")]
    PerSource,
    #[error("too many handshakes are going on at this listener")]
    Handshakes,
    #[error("the handshake took too long")]
    Timeout,
    #[error("the TLS handshake failed: {0}")]
    Tls(#[from] std::io::Error),
}

/// PROXY protocol header, if there has to be one, and TLS handshake.
async fn begin(
    tcp: TcpStream,
    peer: IpAddr,
    (site, service): (&Site, &Service),
    live: &Live,
    ends: &Ends,
) -> Option<Begun> {
    let begun = timeout(
        service.limits.handshake_timeout,
        shake_hands(tcp, peer, (site, service), live),
    );
    let begun = tokio::select! {
        biased;
        () = live.abort().cancelled() => return None,
        () = ends.last_word() => return None,
        begun = begun => begun.unwrap_or(Err(NotBegun::Timeout)),
    };
    begun
        .inspect_err(|error| {
            tracing::debug!(%error, "a connection did not begin");
            count_not_begun(error);
        })
        .ok()
}

async fn shake_hands(
    mut tcp: TcpStream,
    peer: IpAddr,
    (site, service): (&Site, &Service),
    live: &Live,
) -> Result<Begun, NotBegun> {
    let connections = &site.edge.connections;
    let handshakes = &site.served.handshakes;
    let _handshake =
        (handshakes.begin(service.limits.max_handshakes)).ok_or(NotBegun::Handshakes)?;
    let mut told = Source::Peer;
    if service.limits.proxy_protocol == ProxyProtocol::Required {
        if !site.edge.trust.load().is_proxy(peer) {
            return Err(NotBegun::NoProxy);
        }
        told = reading::read(&mut tcp).await?;
    }
    let place = match told {
        Source::Address(ip) => {
            let place = connections.count_source(ip, per_source(site, ip));
            Some(place.ok_or(NotBegun::PerSource)?)
        }
        Source::Peer | Source::Unnamed => None,
    };
    let stream = ClientStream::new(tcp, live.abort().clone(), service.limits.send_timeout);
    let prints = Arc::new(ConnectionPrints::default());
    let stream = Tapped::new(stream, HelloEar::new(&prints));
    Ok(Begun {
        tls: Arc::new(Mutex::new(service.tls.accept(stream).await?)),
        prints,
        told,
        _place: place,
    })
}

fn count_not_begun(error: &NotBegun) {
    let (name, label, value) = match error {
        NotBegun::NoProxy => (CONNECTIONS_REFUSED, "reason", "no_proxy"),
        NotBegun::PerSource => (CONNECTIONS_REFUSED, "reason", "per_source"),
        NotBegun::Handshakes => (CONNECTIONS_REFUSED, "reason", "handshakes"),
        NotBegun::ProxyProtocol(_) => (HANDSHAKES_FAILED, "kind", "proxy_protocol"),
        NotBegun::Timeout => (HANDSHAKES_FAILED, "kind", "timeout"),
        NotBegun::Tls(_) => (HANDSHAKES_FAILED, "kind", "tls"),
    };
    metrics::counter!(name, label => value).increment(1);
}

const CONNECTIONS_REFUSED: &str = "botguard_connections_refused_total";
const HANDSHAKES_FAILED: &str = "botguard_handshakes_failed_total";

async fn serve_http(
    tls: &Arc<Mutex<Tls>>,
    limits: &Limits,
    exchange: Arc<Exchange>,
    ends: &Ends,
) -> Left {
    let tls: Lent<Tls> = Pin::new(Arc::clone(tls).lock_owned().await);
    let is_http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    let live = Arc::clone(&exchange.live);
    let opening = OpeningEar::new(&exchange.prints);
    let service = service_fn(move |request| {
        let exchange = Arc::clone(&exchange);
        // hyper keeps room for it as long as the connection lives, and moves it several times.
        Box::pin(async move { Ok::<_, Infallible>(exchange.answer(request).await) })
    });
    if is_http2 {
        http2::serve(tls, service, opening, limits, &live, ends).await
    } else {
        let watched = Watched::new(tls, Arc::clone(&live), limits.head, limits.header_timeout);
        let io = TokioIo::new(watched);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // Heads reach hyper whole: what it waits for is the next one's arrival.
            .header_read_timeout(limits.idle_timeout.saturating_add(limits.header_timeout))
            .max_header_size(limits.head.head_bytes)
            .max_headers(limits.head.fields)
            .serve_connection(io, service)
            .with_upgrades();
        let mut connection = Box::pin(connection);
        drive(connection.as_mut(), limits, &live, ends).await
    }
}

/// Polls the connection to its end. Its drop, right after, gives the stream back.
async fn drive<C: Connection>(
    mut connection: Pin<&mut C>,
    limits: &Limits,
    live: &Live,
    ends: &Ends,
) -> Left {
    let mut idle = pin!(sleep(limits.idle_timeout));
    let mut flush = pin!(sleep(Duration::ZERO));
    let mut begun_at_last_look = None;
    let mut state = State::Serving;
    loop {
        tokio::select! {
            biased;
            () = live.abort().cancelled() => return Left::Nothing,
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    http_errors::count(&error);
                }
                return Left::Nothing;
            }
            // Placed after the connection: it has just written what it could of the response.
            () = live.ban_proposed(), if state != State::Flushing => {
                state = State::Flushing;
                flush.set(sleep(FLUSH_LIMIT));
                connection.as_mut().graceful_shutdown();
            }
            () = ends.drain_begins(live), if state == State::Serving => {
                state = State::Draining;
                idle.set(sleep(limits.header_timeout));
                connection.as_mut().graceful_shutdown();
            }
            // The drain begins before it is over, be it by a moment.
            () = ends.over().cancelled(), if state == State::Draining => return Left::Open,
            () = flush.as_mut(), if state == State::Flushing => {
                live.abort().cancel();
                return Left::Nothing;
            }
            () = idle.as_mut(), if state != State::Flushing => {
                let begun = live.begun_if_idle();
                match state {
                    // hyper waits for the client's part of the shutdown, and before all for its
                    // preface.
                    State::Draining if begun.is_some() => return Left::Open,
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

/// What hyper's two kinds of connection have in common.
trait Connection: Future<Output = hyper::Result<()>> {
    fn graceful_shutdown(self: Pin<&mut Self>);
}

impl<S> Connection for http1::UpgradeableConnection<TokioIo<Watched<Lent<Tls>>>, S>
where
    S: HttpService<Incoming, ResBody = ClientBody>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}

/// How long a response that earned a ban may take to be flushed, before its connection is closed
/// abortively as well.
const FLUSH_LIMIT: Duration = Duration::from_millis(50);

/// How long the peer's other connections may take to close before the ban is settled regardless.
const CLOSE_LIMIT: Duration = Duration::from_millis(5);
