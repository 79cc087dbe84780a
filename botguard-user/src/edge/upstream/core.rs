//! The targets of one upstream, which change as names do; shared by requests and tasks.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::ServerName;
use tokio::sync::watch;

use super::balance::Candidate as _;
use super::connect::{Address, Connector};
use super::endpoint::{Endpoint, Place, Protocol};
use super::health::Availability;
use super::settings::{HealthSettings, UpstreamProblem, UpstreamSettings};
use super::target::{Common, Target};
use super::tls::ClientTls;

pub(super) struct Core {
    pub(super) common: Arc<Common>,
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    pub(super) health: Option<HealthSettings>,
    pub(super) resolve: Duration,
    /// In the order of `endpoints`, for those that are `https`.
    tls: Vec<Option<(ClientTls, ServerName<'static>)>>,
    targets: ArcSwap<Vec<Arc<Target>>>,
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
            .then(|| ClientTls::load(&settings.tls))
            .transpose()?;
        let tls = endpoints.iter().map(|endpoint| {
            let client = client.as_ref().filter(|_| is_tls(endpoint));
            let named = client.map(|client| {
                let name = client.server_name(&endpoint.host())?;
                Ok::<_, UpstreamProblem>((client.clone(), name))
            });
            named.transpose()
        });
        let core = Self {
            common: Arc::new(common),
            tls: tls.collect::<Result<_, _>>()?,
            endpoints,
            health: settings.health.clone(),
            resolve: settings.resolve.0,
            targets: ArcSwap::default(),
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
        self.targets.store(Arc::new(targets));
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
        let targets = self.targets();
        for endpoint in &self.endpoints {
            let is_up = (targets.iter())
                .any(|target| Arc::ptr_eq(&target.endpoint, endpoint) && target.is_up());
            metrics::gauge!(
                "botguard_upstream_endpoint_up",
                "upstream" => self.common.upstream.clone(),
                "endpoint" => endpoint.to_string()
            )
            .set(if is_up { 1.0 } else { 0.0 });
        }
    }
}
