//! `[[listener]]`: sockets that accept clients.
//!
//! In three steps, since the daemon fills the kernel before anything is bound: [`prepare`] checks
//! settings and loads certificates (all that `run --check` does), [`Listeners::bind`] binds,
//! [`Listeners::serve`] accepts until its shutdown is asked for, and then drains. [`Services`] is the
//! hand that a reload has on them meanwhile.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Edge;
use super::connection;
use super::farewell;
use super::framing::HeadLimits;
use super::hosts::Hosts;
use super::site::{Service, Site};
use super::tls::{Certificates, Tls};
use super::upstream::{Upstream, Upstreams};

mod inherited;
mod services;
mod settings;

pub use inherited::Inherited;
pub use services::{BACKLOG, Fresh, Services};
pub use settings::{ListenerError, ListenerSettings, prepare};

/// A listener that is ready to be bound.
pub struct Prepared {
    pub(super) bind: SocketAddr,
    settings: ListenerSettings,
    pub(super) upstream: Arc<Upstream>,
    tls: Tls,
    pub(super) limits: Limits,
    hosts: Arc<Hosts>,
}

impl Prepared {
    pub(super) fn service(&self) -> Service {
        Service {
            upstream: Arc::clone(&self.upstream),
            tls: TlsAcceptor::from(Arc::clone(&self.tls.config)),
            limits: self.limits,
            hosts: Arc::clone(&self.hosts),
        }
    }

    /// Serving with the certificates that `old` has, whose content was exchanged; and with the keys
    /// of its session tickets, unless TLS is to differ otherwise.
    pub(super) fn continuing(self, old: &Self) -> Self {
        let tls = if self.settings.has_tls_of(&old.settings) {
            old.tls.clone()
        } else {
            self.tls.serving_with(&old.tls.certificates)
        };
        Self { tls, ..self }
    }

    /// Where it is to listen.
    #[must_use]
    pub const fn bind(&self) -> SocketAddr {
        self.bind
    }

    /// What it identifies itself by, to be exchanged while it serves.
    #[must_use]
    pub const fn certificates(&self) -> &Arc<Certificates> {
        &self.tls.certificates
    }
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Prepared({})", self.bind)
    }
}

/// What one client may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) handshake_timeout: Duration,
    pub(super) header_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) send_timeout: Duration,
    pub(super) tunnel_timeout: Duration,
    pub(super) body: BodyLimits,
    /// Bytes of a login's body that are looked into; 0 for none.
    pub(super) inspect_body: usize,
    pub(super) head: HeadLimits,
    pub(super) max_connections: usize,
    pub(super) max_connections_per_source: usize,
    pub(super) max_handshakes: usize,
    pub(super) proxy_protocol: ProxyProtocol,
}

/// How slow the body of a request may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimits {
    pub(super) timeout: Duration,
    /// Bytes a second; above 0.
    pub(super) min_rate: u64,
}

/// Whether trusted peers begin with a PROXY protocol header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ProxyProtocol {
    Off,
    Required,
}

/// An address that cannot be bound. The configuration's fault, or the host's.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; {}", self.mend())]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

impl BindError {
    fn mend(&self) -> String {
        match self.source.kind() {
            io::ErrorKind::AddrInUse => format!(
                "see who has it with `ss -ltnp 'sport = :{}'`, or change `bind`",
                self.address.port()
            ),
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need root or CAP_NET_BIND_SERVICE".to_owned()
            }
            io::ErrorKind::AddrNotAvailable => {
                "no interface has this address; see `ip address`, or change `bind`".to_owned()
            }
            _ => "change `bind` of this listener".to_owned(),
        }
    }
}

/// Bound sockets. Connections wait in their backlogs until [`Self::serve`].
#[derive(Debug)]
pub struct Listeners(Services);

impl Listeners {
    /// Binds all of `prepared`, or none. Needs a tokio runtime.
    ///
    /// Errors: [`BindError`] for the first address that cannot be bound.
    pub fn bind(prepared: Vec<Prepared>) -> Result<Self, BindError> {
        Self::bind_or_take(prepared, &mut Inherited::default())
    }

    /// The same, but takes up what is inherited instead of binding it anew.
    ///
    /// Errors: [`BindError`] for the first address that cannot be bound.
    pub fn bind_or_take(
        prepared: Vec<Prepared>,
        inherited: &mut Inherited,
    ) -> Result<Self, BindError> {
        let services = Services::default();
        let fresh = services.bind_missing(&prepared, inherited)?;
        services.replace(prepared, fresh);
        Ok(Self(services))
    }

    /// Further handles of the sockets, for whoever is to listen on them after this process.
    ///
    /// Errors: the process has no descriptors left.
    pub fn handles(&self) -> io::Result<Vec<OwnedFd>> {
        self.0.handles()
    }

    /// The addresses that are really bound, in the order of the settings: a port 0 is resolved.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.addresses()
    }

    /// What a reload gives the next configuration to.
    #[must_use]
    pub fn services(&self) -> Services {
        self.0.clone()
    }

    /// Accepts until `shutdown` is cancelled; then lets running requests end, for as long as `drain`
    /// has it, and closes what is left in order.
    pub async fn serve(self, edge: Edge, shutdown: CancellationToken, drain: Drain) {
        let tasks = TaskTracker::new();
        let connections = Arc::clone(&edge.connections);
        self.0.begin(edge, tasks.clone(), shutdown.clone());
        tasks.close();
        shutdown.cancelled().await;
        self.0.close();
        let has_drained = tokio::select! {
            biased;
            () = tasks.wait() => true,
            () = sleep(drain.longest) => false,
            () = drain.cut_short.cancelled() => false,
        };
        if !has_drained {
            let n_connections = connections.end_all();
            tracing::warn!(n_connections, "the drain is over; closing what is left");
            // Each is bounded by itself; a task that is kept from running would not be.
            if timeout(2 * farewell::LIMIT, tasks.wait()).await.is_err() {
                connections.close_all().done().await;
                tasks.wait().await;
            }
        }
    }
}

/// How long connections have once nobody accepts any more.
#[derive(Debug)]
pub struct Drain {
    /// At most.
    pub longest: Duration,
    /// Cancelled when they have no more time.
    pub cut_short: CancellationToken,
}

async fn accept(
    socket: Arc<TcpListener>,
    site: Arc<Site>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
) {
    loop {
        // Both arms are cancellation-safe: a place that was not used is given back, and a
        // connection is either in the backlog or ours.
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            accepted = accept_one(&socket, &site.served.places) => accepted,
        };
        match accepted {
            Ok((tcp, peer, place)) => welcome(tcp, peer, place, &site, &tasks, &shutdown),
            Err(error) => {
                // The client's own failures pass at once; a lack of descriptors or memory would
                // spin here otherwise.
                tracing::warn!(%error, "cannot accept a connection");
                metrics::counter!("botguard_accept_errors_total").increment(1);
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Waits for a free place first: past the limit, clients wait in the kernel's backlog.
async fn accept_one(
    socket: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (tcp, peer) = socket.accept().await?;
    Ok((tcp, peer, place))
}

fn welcome(
    tcp: TcpStream,
    peer: SocketAddr,
    place: OwnedSemaphorePermit,
    site: &Arc<Site>,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) {
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let limit = per_source(site, peer.ip());
    let Some(registration) = site.edge.connections.enter(peer.ip(), limit) else {
        metrics::counter!("botguard_connections_refused_total", "reason" => "per_source")
            .increment(1);
        return;
    };
    metrics::counter!("botguard_connections_total").increment(1);
    let (site, shutdown) = (Arc::clone(site), shutdown.clone());
    tasks.spawn(async move {
        // Made in here: a future that is moved in has its place twice, as long as it lives.
        connection::serve(tcp, peer, site, registration, shutdown).await;
        drop(place);
    });
}

/// A trusted proxy carries everybody's connections.
pub(super) fn per_source(site: &Site, ip: IpAddr) -> usize {
    if site.edge.trust.load().is_proxy(ip) {
        usize::MAX
    } else {
        site.service().limits.max_connections_per_source
    }
}

/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
