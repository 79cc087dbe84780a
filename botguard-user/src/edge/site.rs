//! What all connections of one listener share, and what a reload replaces of it without touching
//! socket or connections. Made by [`super::listener`] from the settings; read by every connection.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::Edge;
use super::hosts::Hosts;
use super::listener::{Limits, Prepared};
use super::upstream::{EndpointStatus, Succession, Upstream};

/// A listener at work.
pub(super) struct Site {
    pub(super) edge: Edge,
    pub(super) served: Arc<Served>,
}

impl Site {
    /// What holds now. A connection keeps the TLS and the limits that it began with; each of its
    /// requests goes to the upstream that holds when it arrives.
    pub(super) fn service(&self) -> Arc<Service> {
        self.served.service.load_full()
    }
}

/// How a listener serves.
pub(super) struct Service {
    pub(super) upstream: Arc<Upstream>,
    pub(super) tls: TlsAcceptor,
    pub(super) limits: Limits,
    pub(super) hosts: Arc<Hosts>,
}

/// The part of a listener that outlives a reload, and the part that does not.
pub(super) struct Served {
    bind: SocketAddr,
    current: ArcSwap<Prepared>,
    pub(super) service: ArcSwap<Service>,
    /// One for each connection at once.
    pub(super) places: Arc<Semaphore>,
}

impl Served {
    pub(super) fn new(prepared: Prepared) -> Self {
        Self {
            bind: prepared.bind,
            service: ArcSwap::from_pointee(prepared.service()),
            places: Arc::new(Semaphore::new(prepared.limits.max_connections)),
            current: ArcSwap::from_pointee(prepared),
        }
    }

    fn replace(&self, prepared: Prepared) {
        let old = self.current.load_full();
        let prepared = prepared.continuing(&old);
        self.resize(old.limits.max_connections, prepared.limits.max_connections);
        let service = prepared.service();
        service.upstream.start();
        self.service.store(Arc::new(service));
        self.current.store(Arc::new(prepared));
    }

    /// Connections above a lowered limit are not closed; there are no new ones until enough have
    /// ended, since the semaphore is fair.
    fn resize(&self, old: usize, new: usize) {
        if let Some(more) = new.checked_sub(old) {
            self.places.add_permits(more);
        } else if let Ok(fewer) = u32::try_from(old - new) {
            let places = Arc::clone(&self.places);
            tokio::spawn(async move {
                if let Ok(taken) = places.acquire_many_owned(fewer).await {
                    taken.forget();
                }
            });
        }
    }
}

/// The listeners of a daemon, for its reloads.
#[derive(Clone)]
pub struct Services(Vec<Arc<Served>>);

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Services({})", self.0.len())
    }
}

impl Services {
    pub(super) const fn new(served: Vec<Arc<Served>>) -> Self {
        Self(served)
    }

    /// The upstream that each listener has now, in the order of the settings at the start, with how
    /// its endpoints stand.
    #[must_use]
    pub fn upstreams(&self) -> Vec<(String, Vec<EndpointStatus>)> {
        let services = self.0.iter().map(|served| served.service.load());
        services
            .map(|service| {
                (
                    service.upstream.name().to_owned(),
                    service.upstream.status(),
                )
            })
            .collect()
    }

    /// Serves as `prepared` says from now on, listener by listener as their `bind` says. Nothing is
    /// bound or closed: a `bind` that is new, or gone, waits for a restart. Needs a tokio runtime.
    pub fn replace(&self, prepared: Vec<Prepared>) {
        let mut succession = Succession::of(self.in_force());
        // Several may ask for port 0 of one address; they are told apart by their order.
        let mut waiting: Vec<_> = self.0.iter().collect();
        for mut prepared in prepared {
            prepared.upstream = succession.settle(&prepared.upstream);
            if let Some(place) = (waiting.iter()).position(|served| served.bind == prepared.bind) {
                waiting.remove(place).replace(prepared);
            }
        }
        succession.end(&self.in_force());
    }

    /// The upstreams of all listeners.
    fn in_force(&self) -> Vec<Arc<Upstream>> {
        let services = self.0.iter().map(|served| served.service.load());
        services
            .map(|service| Arc::clone(&service.upstream))
            .collect()
    }
}
