//! What all connections of one listener share, and what a reload replaces of it without touching
//! socket or connections. Made by [`super::listener`] from the settings; read by every connection.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::Edge;
use super::handshakes::Handshakes;
use super::hosts::Hosts;
use super::listener::{Limits, Prepared};
use super::upstream::Upstream;

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
    /// As the settings have it.
    pub(super) bind: SocketAddr,
    current: ArcSwap<Prepared>,
    pub(super) service: ArcSwap<Service>,
    /// One for each connection at once.
    pub(super) places: Arc<Semaphore>,
    pub(super) handshakes: Arc<Handshakes>,
}

impl Served {
    pub(super) fn new(prepared: Prepared) -> Self {
        Self {
            bind: prepared.bind,
            service: ArcSwap::from_pointee(prepared.service()),
            places: Arc::new(Semaphore::new(prepared.limits.max_connections)),
            handshakes: Arc::default(),
            current: ArcSwap::from_pointee(prepared),
        }
    }

    /// Serves as `prepared` says from now on.
    pub(super) fn replace(&self, prepared: Prepared) {
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
