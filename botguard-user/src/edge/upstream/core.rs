//! The targets of one upstream, which change as names do; shared by requests and tasks.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::sync::watch;

use super::balance::Candidate as _;
use super::connect::{Address, Connector};
use super::endpoint::{Endpoint, Place, Protocol};
use super::health::Availability;
use super::names::Names;
use super::settings::{HealthSettings, UpstreamProblem, UpstreamSettings};
use super::target::{Common, Target};
use super::tls::{ClientTls, FilesDigest};

pub(super) struct Core {
    pub(super) common: Arc<Common>,
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    pub(super) health: Option<HealthSettings>,
    pub(super) resolve: Duration,
    /// In the order of `endpoints`, for those that are `https`.
    tls: Vec<Option<(ClientTls, ServerName<'static>)>>,
    /// What the files of TLS held.
    pub(super) tls_files: Option<FilesDigest>,
    targets: ArcSwap<Vec<Arc<Target>>>,
    /// The addresses of those endpoints that are names, by their place.
    known: Mutex<BTreeMap<usize, Vec<SocketAddr>>>,
    /// Whether another is in force in its stead.
    is_retired: AtomicBool,
    /// Whether all names were looked up once.
    resolved: watch::Sender<bool>,
}

/// How one address of an endpoint stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EndpointStatus {
    /// As configured.
    pub endpoint: String,
    /// The address; a path for a Unix socket.
    pub address: String,
    /// Whether requests are offered to it.
    pub state: EndpointState,
    /// Requests that it has at the moment.
    pub requests: usize,
    /// HTTP/1.1 connections to it that are kept for further requests.
    pub idle: usize,
}

/// Whether requests are offered to an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EndpointState {
    /// They are.
    Up,
    /// Its checks fail.
    Down,
    /// No connection could be made; it is left alone for a while.
    Ejected,
}

impl Core {
    pub(super) fn new(
        common: Common,
        settings: &UpstreamSettings,
    ) -> Result<Self, UpstreamProblem> {
        let mut endpoints = Vec::new();
        for text in &settings.endpoints {
            let endpoint: Endpoint = text.parse()?;
            if endpoints
                .iter()
                .any(|other: &Arc<Endpoint>| **other == endpoint)
            {
                return Err(UpstreamProblem::Doubled(text.clone()));
            }
            endpoints.push(Arc::new(endpoint));
        }
        let is_tls = |endpoint: &Arc<Endpoint>| endpoint.protocol() == Protocol::Tls;
        let client = (endpoints.iter().any(is_tls))
            .then(|| ClientTls::load(&settings.tls).map_err(Box::new))
            .transpose()?;
        let tls = endpoints.iter().map(|endpoint| {
            let client = client.as_ref().filter(|_| is_tls(endpoint));
            let named = client.map(|client| {
                let name = client.server_name(&endpoint.host()).map_err(Box::new)?;
                Ok::<_, UpstreamProblem>((client.clone(), name))
            });
            named.transpose()
        });
        let core = Self {
            common: Arc::new(common),
            tls: tls.collect::<Result<_, _>>()?,
            tls_files: client.map(|client| client.files),
            endpoints,
            health: settings.health.clone(),
            resolve: settings.resolve.0,
            targets: ArcSwap::default(),
            known: Mutex::default(),
            is_retired: AtomicBool::new(false),
            resolved: watch::Sender::new(false),
        };
        core.set_addresses(&BTreeMap::new());
        Ok(core)
    }

    pub(super) fn targets(&self) -> Arc<Vec<Arc<Target>>> {
        self.targets.load_full()
    }

    pub(super) fn has_names(&self) -> bool {
        (self.endpoints.iter()).any(|endpoint| matches!(endpoint.place(), Place::Name { .. }))
    }

    pub(super) fn names(&self) -> Names {
        let known = self.known.lock();
        let mut endpoints = self.endpoints.iter().enumerate();
        let is_missing = endpoints.any(|(index, endpoint)| {
            matches!(endpoint.place(), Place::Name { .. }) && !known.contains_key(&index)
        });
        if is_missing {
            Names::Missing
        } else {
            Names::Known
        }
    }

    /// The name that is the endpoint at `index` has these addresses.
    pub(super) fn found(&self, index: usize, addresses: Vec<SocketAddr>) {
        let mut known = self.known.lock();
        known.insert(index, addresses);
        self.set_addresses(&known);
    }

    /// Begins with what `old` knows of the same names.
    pub(super) fn take_over(&self, old: &Self) {
        let mut known = self.known.lock();
        let old_known = old.known.lock();
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let mut same = old.endpoints.iter();
            let same = same.position(|other| other.place() == endpoint.place());
            if let Some(found) = same.and_then(|same| old_known.get(&same)) {
                known.insert(index, found.clone());
            }
        }
        self.set_addresses(&known);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Relaxed)
    }

    /// Another is in force: what is under way ends by itself, and nothing is kept.
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Ordering::Relaxed);
        for target in self.targets().iter() {
            target.retire();
        }
    }

    /// Sets the addresses of those endpoints that are names, by their place. Targets whose address
    /// stays keep their connections and what is known of them.
    pub(super) fn set_addresses(&self, addresses: &BTreeMap<usize, Vec<SocketAddr>>) {
        let old = self.targets.load_full();
        let mut targets = Vec::new();
        for (index, (endpoint, tls)) in self.endpoints.iter().zip(&self.tls).enumerate() {
            let places = match endpoint.place() {
                Place::Address(address) => vec![Address::Tcp(*address)],
                Place::Unix(path) => vec![Address::Unix(path.clone())],
                Place::Name { .. } => {
                    let found = addresses.get(&index).map_or(&[][..], Vec::as_slice);
                    found.iter().copied().map(Address::Tcp).collect()
                }
            };
            for address in places {
                let kept = old.iter().find(|target| {
                    Arc::ptr_eq(&target.endpoint, endpoint) && *target.address() == address
                });
                targets.push(kept.map_or_else(
                    || {
                        let connector = Connector {
                            address,
                            protocol: endpoint.protocol(),
                            tls: tls.clone(),
                        };
                        let common = Arc::clone(&self.common);
                        Arc::new(Target::new(common, Arc::clone(endpoint), connector))
                    },
                    Arc::clone,
                ));
            }
        }
        for target in old.iter() {
            if !targets.iter().any(|kept| Arc::ptr_eq(kept, target)) {
                target.retire();
            }
        }
        self.targets.store(Arc::new(targets));
        self.common.changed.notify_one();
    }

    /// All names were looked up once, with whatever outcome.
    pub(super) fn set_resolved(&self) {
        self.resolved.send_replace(true);
    }

    /// Waits for [`Self::set_resolved`].
    pub(super) async fn resolved(&self) {
        let mut resolved = self.resolved.subscribe();
        // The sender is `self`'s, so it does not go away.
        let _seen = resolved.wait_for(|resolved| *resolved).await;
    }

    pub(super) fn status(&self) -> Vec<EndpointStatus> {
        let status = |target: &Arc<Target>| EndpointStatus {
            endpoint: target.endpoint.to_string(),
            address: target.address().to_string(),
            state: match target.availability() {
                Availability::Up => EndpointState::Up,
                Availability::Down => EndpointState::Down,
                Availability::Ejected(_) => EndpointState::Ejected,
            },
            requests: target.load(),
            idle: target.n_idle(),
        };
        self.targets().iter().map(status).collect()
    }

    /// Sets the gauge of each endpoint: 1 while one of its addresses is up.
    pub(super) fn publish(&self) {
        if self.is_retired() {
            return;
        }
        let targets = self.targets();
        for endpoint in &self.endpoints {
            let is_up = (targets.iter())
                .any(|target| Arc::ptr_eq(&target.endpoint, endpoint) && target.is_up());
            self.set_gauge(endpoint, if is_up { 1.0 } else { 0.0 });
        }
    }

    /// Sets the gauge of its endpoints to 0, but for those that `remain`. Not set any more, it goes away
    /// (`telemetry`).
    pub(super) fn unpublish(&self, remain: &[&Arc<Endpoint>]) {
        let gone = (self.endpoints.iter()).filter(|endpoint| !remain.contains(endpoint));
        gone.for_each(|endpoint| self.set_gauge(endpoint, 0.0));
    }

    fn set_gauge(&self, endpoint: &Endpoint, value: f64) {
        metrics::gauge!(
            "botguard_upstream_endpoint_up",
            "upstream" => self.common.upstream.clone(),
            "endpoint" => endpoint.to_string()
        )
        .set(value);
    }
}
