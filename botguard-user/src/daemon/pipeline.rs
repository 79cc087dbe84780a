//! The way of a request through botguard: the edge asks ([`Gate`]), facts are gathered, the engine
//! decides, the audit log keeps it, the enforcer carries out what it earned.
//!
//! Nothing here waits: no disk, no network. The engine's lock is held for one decision, and never
//! together with another.

mod facts;
mod in_flight;
mod memory;
mod request_id;
mod ticket;
mod waiting;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderName, HeaderValue};
use parking_lot::Mutex;

use self::in_flight::{Recorded, Requests};
use self::request_id::RequestIds;
use self::ticket::InFlight;
use super::enforcer::{BanOutcome, Enforcer};
use crate::audit::record::{BanRecord, Event};
use crate::audit::writer::AuditLog;
use crate::edge::gate::{
    Admission, Asks, BrokenBy, Closing, Gate, RefusedRequest, RequestHead, Ticket,
};
use crate::edge::identity::{IdentitySettings, KeyHasher};
use crate::engine::decision::{BanProposal, Decision, Reason};
use crate::engine::facts::{InteractionFacts, ResponseFacts};
use crate::engine::policy::Policy;
use crate::engine::{Engine, PrincipalCapacity};
use crate::intel::Intel;
use crate::telemetry::metrics;
use crate::words::address::{PeerAddress, host_network};
use crate::words::block::Origin;
use crate::words::clock::{Monotonic, Now, Wall};
use crate::words::identity::KeyIdentity;
use crate::words::mode::Mode;

/// Answers the edge's questions.
#[derive(Debug)]
pub struct Pipeline {
    engine: Mutex<Engine>,
    view: ArcSwap<View>,
    enforcer: Arc<Enforcer>,
    audit: Arc<AuditLog>,
    hasher: KeyHasher,
    ids: RequestIds,
    requests: Requests,
    /// Bans between the deciding request and their settlement; one per source at most.
    settling: Mutex<HashMap<PeerAddress, Settling>>,
}

/// What a reload replaces, all at once.
#[derive(Clone, Debug)]
pub struct View {
    /// Under the mode that holds now.
    pub policy: Policy,
    /// Names the policy in records.
    pub policy_hash: Arc<str>,
    /// What addresses belong to.
    pub intel: Arc<Intel>,
    /// Where keys are looked for.
    pub identity: IdentitySettings,
}

/// What the edge holds of a request until its end.
struct Held {
    /// Among those in flight.
    number: u64,
    in_flight: Arc<InFlight>,
    broken_off: Option<BrokenBy>,
}

#[derive(Debug)]
struct Settling {
    request_id: Arc<str>,
    decided: Monotonic,
}

impl Pipeline {
    /// A pipeline that remembers nobody yet.
    #[must_use]
    pub fn new(
        view: View,
        enforcer: Arc<Enforcer>,
        audit: Arc<AuditLog>,
        hasher: KeyHasher,
        now: Wall,
    ) -> Self {
        let engine = Engine::new(Arc::new(view.policy.clone()), PrincipalCapacity::default());
        Self {
            engine: Mutex::new(engine),
            view: ArcSwap::from_pointee(view),
            enforcer,
            audit,
            ids: RequestIds::starting(now, hasher.hash(&now.to_string()).0),
            hasher,
            requests: Requests::default(),
            settling: Mutex::default(),
        }
    }

    /// Goes on under another view; what the engine remembers stays.
    pub fn replace(&self, view: View) {
        let view = Arc::new(view);
        self.view.store(Arc::clone(&view));
        self.engine
            .lock()
            .replace_policy(Arc::new(view.policy.clone()));
    }

    /// Goes on under another global mode.
    pub fn set_mode(&self, mode: Mode) {
        self.change(|view| View {
            policy: view.policy.with_mode(mode),
            ..view.clone()
        });
    }

    /// Goes on with other data of networks.
    pub fn set_intel(&self, intel: &Arc<Intel>) {
        self.change(|view| View {
            intel: Arc::clone(intel),
            ..view.clone()
        });
    }

    /// Two changes at once do not undo each other.
    fn change(&self, change: impl Fn(&View) -> View) {
        self.view.rcu(|view| change(view));
        let policy = self.view.load().policy.clone();
        self.engine.lock().replace_policy(Arc::new(policy));
    }

    /// What decides now.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Principals that the engine remembers.
    #[must_use]
    pub fn n_principals(&self) -> usize {
        self.engine.lock().principals()
    }

    /// Records the requests that have lasted for 60 s and have no record yet.
    pub fn record_lasting(&self, now: Now) {
        for request in self.requests.lasting(now.monotonic) {
            let record = request.partial_record(now.monotonic);
            self.audit
                .record(now.wall, Event::Request(Box::new(record)));
        }
    }

    /// Somebody touched the page.
    pub fn interaction(&self, facts: &InteractionFacts) {
        self.engine.lock().interaction(Monotonic::read(), facts);
    }

    /// The key that a request carries.
    #[must_use]
    pub fn key(&self, head: &RequestHead<'_>) -> Option<KeyIdentity> {
        let view = self.view.load();
        let query = head.parts.uri.query().unwrap_or_default();
        let key = view.identity.api_key(&head.parts.headers, query)?;
        let tier = |raw: &str| view.policy.tier_of(raw);
        Some(self.hasher.identify(&key, tier))
    }

    /// What a client looks like.
    #[must_use]
    pub fn fingerprint(&self, head: &RequestHead<'_>) -> u64 {
        self.hasher.fingerprint(&head.parts.headers)
    }

    /// The ban that a request earned, unless its source is spared; then the log says why.
    fn earned(&self, in_flight: &InFlight) -> Option<BanProposal> {
        let ban = in_flight.decision.ban.as_ref()?;
        if let Some(reason) = self.enforcer.spared(ban.target) {
            let settling = in_flight.settling();
            self.record_ban(&settling, ban, &BanOutcome::Refused(reason), Now::read());
            return None;
        }
        Some(ban.clone())
    }

    fn record_ban(&self, settling: &Settling, ban: &BanProposal, outcome: &BanOutcome, now: Now) {
        let (in_kernel, refused) = match outcome {
            BanOutcome::InForce { in_kernel, queued } => {
                let lost = "the store does not keep up; it ends with a restart".to_owned();
                (*in_kernel, (!queued).then_some(lost))
            }
            BanOutcome::Refused(reason) => (false, Some(reason.clone())),
        };
        let elapsed = now.monotonic.since(settling.decided);
        let record = BanRecord {
            request_id: settling.request_id.to_string(),
            target: host_network(ban.target.ip()),
            ttl_s: ban.ttl.as_secs(),
            rule: Origin::Automatic,
            reason: ban.reason.clone(),
            in_kernel,
            decision_to_kernel_us: crate::audit::record::microseconds(elapsed),
            refused,
        };
        self.audit.record(now.wall, Event::Ban(record));
    }
}

impl Gate for Pipeline {
    fn admit(&self, head: &RequestHead<'_>) -> Admission {
        let view = self.view.load();
        let facts = self.facts(head, &view);
        let (decided, elapsed, (decision, pending)) = {
            let mut engine = self.engine.lock();
            // Read under the lock, so that the engine's time never runs backwards.
            let start = Monotonic::read();
            let decided = match head.asks {
                Asks::Application => {
                    let (decision, pending) = engine.decide(start, &facts);
                    (decision, Some(pending))
                }
                Asks::Botguard => (engine.decide_own(&facts), None),
            };
            let end = Monotonic::read();
            (end, end.since(start), decided)
        };
        let request_id = self.ids.next();
        count(&decision, elapsed);
        let denial = decision.denial.clone();
        let upstream_headers = upstream_headers(&request_id, &decision);
        let in_flight = Arc::new(InFlight::new(
            head,
            &view,
            &self.hasher,
            ticket::Decided {
                request_id: Arc::clone(&request_id),
                facts,
                decision,
                pending,
                decided,
                elapsed,
            },
        ));
        Admission {
            denial,
            upstream_headers,
            request_id,
            ticket: Ticket(Box::new(Held {
                number: self.requests.begin(Arc::clone(&in_flight)),
                in_flight,
                broken_off: None,
            })),
        }
    }

    fn broken_off(&self, ticket: &mut Ticket, by: BrokenBy) {
        if let Some(held) = ticket.0.downcast_mut::<Held>() {
            held.broken_off = Some(by);
        }
    }

    fn finish(&self, ticket: Ticket, response: &ResponseFacts) -> Closing {
        let Ok(held) = ticket.0.downcast::<Held>() else {
            // Every ticket is made by `admit`, above.
            return Closing::Keep;
        };
        let Held {
            number,
            in_flight,
            broken_off,
        } = *held;
        let recorded = self.requests.end(number);
        let n_principals = {
            let mut engine = self.engine.lock();
            if let Some(pending) = &in_flight.pending {
                engine.observe(Monotonic::read(), pending, response);
            }
            engine.principals()
        };
        metrics::principals(n_principals);
        if let Some(upstream) = response.upstream {
            metrics::upstream(upstream);
        }
        metrics::request(
            &in_flight.decision.route,
            ticket::method_label(&in_flight.facts.method),
            response.status,
        );
        let ban = self.earned(&in_flight);
        if let Some(ban) = &ban {
            let mut settling = self.settling.lock();
            settling.insert(ban.target, in_flight.settling());
        }
        let event = match recorded {
            Recorded::No => {
                let in_flight = Arc::unwrap_or_clone(in_flight);
                let record = in_flight.into_record(response, broken_off, ban.as_ref());
                Event::Request(Box::new(record))
            }
            Recorded::Partially => Event::Close(in_flight.close_record(response, broken_off)),
        };
        self.audit.record(Wall::read(), event);
        ban.map_or(Closing::Keep, Closing::Ban)
    }

    fn refused(&self, request: &RefusedRequest<'_>) -> Option<Arc<str>> {
        let view = self.view.load();
        let request_id = self.ids.next();
        let network = view.intel.network(request.client.ip());
        let record = ticket::refused_record(request, &view, &self.hasher, &request_id, network);
        metrics::request(
            "default",
            ticket::method_label(&request.parts.method),
            request.status,
        );
        self.audit
            .record(Wall::read(), Event::Request(Box::new(record)));
        Some(request_id)
    }

    fn settle(&self, ban: BanProposal) {
        let settling = self.settling.lock().remove(&ban.target);
        let outcome = waiting::ban(&self.enforcer, &ban);
        if let Some(settling) = settling {
            self.record_ban(&settling, &ban, &outcome, Now::read());
        }
    }
}

fn count(decision: &Decision, elapsed: Duration) {
    metrics::score(decision.score.score.as_decimal(), elapsed);
    metrics::decision(
        &decision.route,
        decision.action.name(),
        match decision.mode {
            Mode::Off => "off",
            Mode::Log => "log",
            Mode::Enforce => "enforce",
        },
    );
    for signal in &decision.score.signals {
        metrics::signal(signal.id);
    }
    if let Reason::LimitReached { limit } = &decision.reason {
        metrics::limit_exceeded(limit);
    }
    if decision.pair_ban.is_some() {
        metrics::pair_ban();
    }
}

/// What the application is told. Ids, numbers and names of signals: nothing that a client wrote.
fn upstream_headers(request_id: &str, decision: &Decision) -> Vec<(HeaderName, HeaderValue)> {
    let signals = (decision.score.signals.iter())
        .map(|signal| format!("{}={}", signal.id, signal.contribution()))
        .collect::<Vec<_>>()
        .join(", ");
    [
        ("botguard-request-id", request_id.to_owned()),
        ("botguard-score", decision.score.score.to_string()),
        ("botguard-action", decision.action.name().to_owned()),
        ("botguard-signals", signals),
    ]
    .into_iter()
    .filter_map(|(name, value)| {
        Some((
            HeaderName::from_static(name),
            HeaderValue::from_str(&value).ok()?,
        ))
    })
    .collect()
}

#[cfg(test)]
mod tests;
