//! `[upstream.NAME]`: the application, behind one or more endpoints.
//!
//! ```text
//! send ─► balance: which target? ─► target: a place, a connection ─► connect (if none is kept)
//!              ▲                                   │
//!       health ┴─ tasks: checks, names, idle       └─► transfer: the bodies, and what they hold
//! ```
//!
//! A request is sent once. Only where nothing of it was sent, since no connection could be made or
//! a kept one turned out to be closed, is another connection or target tried, whatever its method.
//! One without a body is sent a second time where that is safe (`replay`). Bodies are never kept to
//! be sent again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use http::header::UPGRADE;
use http::request::Parts;
use http::{Request, Response};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::body::UpstreamBody;
use super::seldom::Seldom;
use super::signing_keys::SigningKeys;
use crate::words::clock::Wall;

mod balance;
mod changeover;
mod connect;
mod core;
mod endpoint;
mod failure;
mod head;
mod health;
mod http2;
mod names;
mod places;
mod pool;
mod queue;
mod replay;
mod sending;
mod settings;
mod signature;
mod target;
mod tasks;
mod tls;
mod transfer;

pub use super::headers::Forwarding;

pub use self::core::{EndpointState, EndpointStatus};
pub(super) use changeover::Changeover;
pub use endpoint::{Endpoint, EndpointError, Place as EndpointPlace, Protocol};
pub(super) use failure::{ResponseBroken, UpstreamFailure};
pub use settings::{
    EjectSettings, HealthSettings, KeepAliveSettings, UpstreamError, UpstreamSettings,
    UpstreamTlsSettings,
};
pub(super) use transfer::ResponseBody;

use self::core::Core;
use balance::Candidate as _;
use connect::Need;
use failure::ConnectError;
use health::Thresholds;
use queue::{Among, Queue, Terms};
use replay::{Content, Replay};
use sending::{Outcome, Sending, Times};
use settings::UpstreamProblem;
use target::{Common, Place, Target};
use transfer::{Flow, RequestBody};

/// All upstreams by name. Those of a former configuration end what they do of their own accord
/// when the last who holds them lets go.
#[derive(Clone, Debug)]
pub struct Upstreams(BTreeMap<String, Arc<Upstream>>);

impl Upstreams {
    /// Checks the settings and reads their files; makes no connection and looks no name up.
    ///
    /// Errors: [`UpstreamError`] for the first that cannot be used.
    pub fn new(settings: &BTreeMap<String, UpstreamSettings>) -> Result<Self, UpstreamError> {
        let upstreams = settings.iter().map(|(name, settings)| {
            Upstream::new(name, settings)
                .map(|upstream| (name.clone(), Arc::new(upstream)))
                .map_err(|problem| UpstreamError {
                    name: name.clone(),
                    problem,
                })
        });
        upstreams.collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn named(&self, name: &str) -> Option<Arc<Upstream>> {
        self.0.get(name).map(Arc::clone)
    }
}

/// One application behind one or more endpoints.
pub(super) struct Upstream {
    core: Arc<Core>,
    spread: balance::Spread,
    times: Times,
    settings: UpstreamSettings,
    keys: Option<SigningKeys>,
    observe: Observe,
    failures: Seldom,
    /// Ends the tasks when the upstream is dropped.
    tasks: OnceLock<DropGuard>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Upstream({})", self.core.common.upstream)
    }
}

/// Whether signed observations are believed.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Observe {
    Believed,
    Ignored,
}

impl Upstream {
    fn new(name: &str, settings: &UpstreamSettings) -> Result<Self, UpstreamProblem> {
        settings.check()?;
        let keys = (settings.secret_file.as_deref())
            .map(SigningKeys::load)
            .transpose()?;
        if settings.observe && keys.is_none() {
            return Err(UpstreamProblem::NoKeys);
        }
        let health = settings.health.as_ref();
        let common = Common {
            upstream: name.to_owned(),
            connect_timeout: settings.connect_timeout.0,
            max_connections: settings.max_connections,
            keep_idle: settings.keep_alive.idle.0,
            keep_connections: settings.keep_alive.connections as usize,
            thresholds: Thresholds {
                healthy_after: health.map_or(1, |health| health.healthy_after),
                unhealthy_after: health.map_or(1, |health| health.unhealthy_after),
                eject_after: settings.eject.failures,
                eject_time: settings.eject.time.0,
                eject_max: settings.eject.max.0,
            },
            changed: Notify::new(),
            queue: Queue::default(),
        };
        Ok(Self {
            core: Arc::new(Core::new(common, settings)?),
            spread: balance::Spread::default(),
            times: Times {
                first_byte: settings.first_byte_timeout.0,
                idle: settings.idle_timeout.0,
                queue: settings.queue_timeout.0,
            },
            settings: settings.clone(),
            keys,
            observe: if settings.observe {
                Observe::Believed
            } else {
                Observe::Ignored
            },
            failures: Seldom::default(),
            tasks: OnceLock::new(),
        })
    }

    /// As in `[upstream.NAME]`.
    pub(super) fn name(&self) -> &str {
        &self.core.common.upstream
    }

    /// How often the log was told of its failures.
    pub(super) const fn failures(&self) -> &Seldom {
        &self.failures
    }

    /// How each of its endpoints stands.
    pub(super) fn status(&self) -> Vec<EndpointStatus> {
        self.core.status()
    }

    /// Begins checks and look-ups, once. Needs a tokio runtime.
    pub(super) fn start(&self) {
        self.tasks.get_or_init(|| {
            let token = CancellationToken::new();
            tasks::spawn(&self.core, &token);
            token.drop_guard()
        });
    }

    /// Which fields tell the application of the way of a request.
    pub(super) const fn forwarding(&self) -> Forwarding {
        self.settings.forwarding
    }

    /// The keys of which one signs what is believed of this application, if anything is.
    pub(super) fn observers(&self) -> Option<&SigningKeys> {
        self.keys
            .as_ref()
            .filter(|_| self.observe == Observe::Believed)
    }

    /// Signs a request with its final header fields, where there is a key to sign with.
    pub(super) fn sign(&self, head: &mut Parts, client: IpAddr) {
        if let Some(keys) = &self.keys {
            signature::sign(head, client, keys, Wall::read());
        }
    }

    /// Sends a request with its final header fields and waits for the head of the response. One
    /// that has an `Upgrade` field goes over HTTP/1.1, with that field and `Connection` as they
    /// are. Whoever has it, or had it last, is set in `asked`.
    pub(super) async fn send(
        &self,
        head: Parts,
        body: UpstreamBody,
        asked: &mut Option<Arc<Endpoint>>,
    ) -> Result<Response<ResponseBody>, UpstreamFailure> {
        self.start();
        let targets = self.targets().await;
        let need = if head.headers.contains_key(UPGRADE) {
            Need::Upgrade
        } else {
            Need::Any
        };
        let flow = Flow::of(&body);
        let content = if flow.has_ended() {
            Content::None
        } else {
            Content::Some
        };
        let replay = Replay::of(&head.method, content);
        let body = RequestBody::Client(body, flow.clone());
        let mut request = Request::from_parts(head, body);
        let mut sending = Sending {
            need,
            times: self.times,
            flow,
            replay,
        };
        let mut tried: Vec<Arc<Target>> = Vec::new();
        let mut failure = UpstreamFailure::Unreachable(ConnectError::NoAddress);
        while tried.len() < MAX_TARGETS {
            let random = self.spread.next();
            let is_tried = |at| {
                let target: Option<&Arc<Target>> = targets.get(at);
                target.is_some_and(|target| contains(&tried, target))
            };
            let chosen = balance::choose(&targets, random, is_tried);
            let Some(chosen) = chosen.and_then(|at| targets.get(at)) else {
                break;
            };
            let place = self.place(&targets, chosen, &tried, need).await;
            let place = place.ok_or(UpstreamFailure::Busy)?;
            *asked = Some(Arc::clone(&place.target().endpoint));
            match sending.send(place, request).await {
                Outcome::Answered(response) => return Ok(response),
                Outcome::Failed(failure) => return Err(failure),
                Outcome::NotSent(unsent) => {
                    request = unsent.request;
                    failure = unsent.why;
                    tried.push(unsent.target);
                }
            }
        }
        Err(failure)
    }

    /// A place at the chosen target, or at another that is up where that one is full, or, after a
    /// wait, at whichever has one first. Who waits has its turn before who comes.
    async fn place(
        &self,
        targets: &[Arc<Target>],
        chosen: &Arc<Target>,
        tried: &[Arc<Target>],
        need: Need,
    ) -> Option<Place> {
        let queue = &self.core.common.queue;
        if queue.is_empty() {
            if let Some(place) = chosen.try_enter(need) {
                return Some(place);
            }
            let mut others =
                (targets.iter()).filter(|other| !contains(tried, other) && other.is_up());
            if let Some(place) = others.find_map(|other| other.try_enter(need)) {
                return Some(place);
            }
        }
        let terms = Terms {
            need,
            tried: tried.to_vec(),
            // What is up is chosen where anything is.
            among: if chosen.is_up() {
                Among::Up
            } else {
                Among::All
            },
        };
        queue.wait(terms, targets, self.times.queue).await
    }

    /// All that are known; where none is yet, those that the first look-up finds.
    async fn targets(&self) -> Arc<Vec<Arc<Target>>> {
        let targets = self.core.targets();
        if targets.is_empty() {
            // What it comes to is seen below.
            let _in_time = timeout(self.core.common.connect_timeout, self.core.resolved()).await;
            return self.core.targets();
        }
        targets
    }
}

fn contains(targets: &[Arc<Target>], target: &Arc<Target>) -> bool {
    targets.iter().any(|other| Arc::ptr_eq(other, target))
}

/// Targets that one request is offered to, so that it is answered in a bounded time.
const MAX_TARGETS: usize = 3;

#[cfg(test)]
mod tests;
