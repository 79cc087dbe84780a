//! The way of a request through botguard: the edge asks (`gate`), facts are gathered, the engine
//! decides, the audit log keeps it, the enforcer carries out what it earned.
//!
//! Nothing here waits: no disk, no network. The engine's lock is held for one decision, and never
//! together with another.

mod facts;
mod gate;
mod headers;
mod in_flight;
mod memory;
mod request_id;
mod ticket;
mod waiting;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use self::in_flight::Requests;
use self::request_id::RequestIds;
use self::ticket::InFlight;
use super::enforcer::{BanOutcome, Enforcer};
use crate::audit::record::{BanRecord, Event, UpstreamFailureRecord};
use crate::audit::writer::AuditLog;
use crate::challenge::Challenge;
use crate::edge::gate::{BrokenBy, RequestHead};
use crate::edge::identity::jwt::TokenVerifier;
use crate::edge::identity::{IdentitySettings, KeyHasher, RawKey};
use crate::engine::decision::BanProposal;
use crate::engine::facts::InteractionFacts;
use crate::engine::policy::Policy;
use crate::engine::{Engine, PrincipalCapacity};
use crate::intel::Intel;
use crate::intel::crawlers::Lookups;
use crate::telemetry::request_metrics::RequestMetrics;
use crate::words::address::PeerAddress;
use crate::words::block::Origin;
use crate::words::clock::{Monotonic, Now, Wall};
use crate::words::identity::{KeyIdentity, SessionIdentity};
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
    metrics: RequestMetrics,
    /// When the engine began, for records.
    began: Monotonic,
    /// When the engine was told of the tokens that requests in flight have spent, by their ids.
    interactions: Mutex<HashMap<Box<str>, Monotonic>>,
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
    /// Where keys, sessions and users are looked for.
    pub identity: IdentitySettings,
    /// What users' tokens are checked with.
    pub tokens: Arc<TokenVerifier>,
    /// What the names of crawlers' addresses were found to be.
    pub lookups: Arc<Lookups>,
    /// Who has solved a challenge.
    pub challenge: Arc<Challenge>,
}

/// What the edge holds of a request until its end.
struct Held {
    /// Among those in flight.
    number: u64,
    in_flight: Arc<InFlight>,
    broken_off: Option<BrokenBy>,
    upstream_failure: Option<UpstreamFailureRecord>,
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
            metrics: RequestMetrics::default(),
            began: Monotonic::read(),
            interactions: Mutex::default(),
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

    /// Goes on with other keys for tokens.
    pub fn set_tokens(&self, tokens: &Arc<TokenVerifier>) {
        self.change(|view| View {
            tokens: Arc::clone(tokens),
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

    /// Somebody touched the page, as the request of this id says.
    pub fn interaction(&self, request_id: &str, facts: &InteractionFacts) {
        let told = {
            let mut engine = self.engine.lock();
            let now = Monotonic::read();
            engine.interaction(now, facts);
            now
        };
        self.interactions.lock().insert(request_id.into(), told);
    }

    /// The key that a request carries.
    #[must_use]
    pub fn key(&self, head: &RequestHead<'_>) -> Option<KeyIdentity> {
        let view = self.view.load();
        let query = head.parts.uri.query().unwrap_or_default();
        let key = view.identity.api_key(&head.parts.headers, query)?;
        Some(self.identify(&key, &view))
    }

    fn identify(&self, key: &RawKey<'_>, view: &View) -> KeyIdentity {
        self.hasher.identify(key, |raw| view.policy.tier_of(raw))
    }

    /// The session that a request carries.
    #[must_use]
    pub fn session(&self, head: &RequestHead<'_>) -> Option<SessionIdentity> {
        let view = self.view.load();
        let query = head.parts.uri.query().unwrap_or_default();
        let session = view.identity.session(&head.parts.headers, query)?;
        Some(SessionIdentity {
            hash: self.hasher.session(&session),
        })
    }

    /// What a client looks like.
    #[must_use]
    pub fn fingerprint(&self, head: &RequestHead<'_>) -> u64 {
        let ja4 = head.prints.ja4_of(&head.client);
        self.hasher.fingerprint(&head.parts.headers, ja4)
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
            target: ban.network,
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

#[cfg(test)]
mod tests;
