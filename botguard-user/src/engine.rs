//! Floor 2, pure: facts and `now` in, decision with its evidence out. No IO, no clock, no logging,
//! no randomness; cannot fail.
//!
//! The order of calls for one request, and of the modules for a reader:
//!
//! ```text
//! decide(now, RequestFacts) ─► policy (route, tier) ─► principals (who is charged) ─► features
//!                               ─► signals ─► score ─► verdict ─► Decision, Pending
//! observe(now, Pending, ResponseFacts)     once the response has ended
//! interaction(now, InteractionFacts)       whenever a token was spent
//! ```
//!
//! The same facts at the same times give the same decisions, on any machine.

pub mod decision;
pub mod facts;
pub mod policy;
pub mod weights;

mod features;
mod principals;
mod score;
mod signals;
mod sources;
mod table;
mod throttle;
mod verdict;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use self::decision::{Breakdown, Decision};
use self::facts::{InteractionFacts, RequestFacts, ResponseFacts};
use self::features::paging::{Collection, position_parameter};
use self::features::principal::{Charge, Receipt};
use self::policy::tier::Tier;
use self::policy::{Policy, RoutePolicy};
use self::principals::{Identity, PrincipalId, Principals, Realm, Subject, is_acceptance};
use self::signals::{Page, View};
use self::sources::Sources;
use self::throttle::Allowance;
use self::verdict::{Course, Denied, Wish};
use crate::words::clock::{Monotonic, Now, WallOffset};
use crate::words::identity::{ClientClass, KeyHash};
use crate::words::key::{KeyMemo, KeyTransition};
use crate::words::memo::Memo;
use crate::words::units::Span;

/// Scores requests and decides on them. Owns everything remembered between requests, within
/// [`PrincipalCapacity`].
pub struct Engine {
    policy: Arc<Policy>,
    principals: Principals,
    sources: Sources,
}

/// How many principals, and how many source addresses, are remembered at most. At the cap, those
/// not seen lately give way.
///
/// Cost: up to 1 KiB each (about 500 B a principal and 300 B a source), taken as they come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PrincipalCapacity(pub u32);

/// About 100 MB when full.
impl Default for PrincipalCapacity {
    fn default() -> Self {
        Self(100_000)
    }
}

/// What [`Engine::observe`] needs of a decided request.
#[derive(Clone, Debug)]
pub struct Pending {
    charged: PrincipalId,
    receipt: Receipt,
    /// What the key's tier allows once the key is accepted.
    entitled: Allowance,
    key: Option<KeyHash>,
    address: IpAddr,
    conduct: Conduct,
}

/// What a request says of its principal, as far as its score goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Conduct {
    /// Below every threshold, and from a principal that may count as a good one: it has a key, or
    /// somebody touched its page.
    Good,
    /// Below every threshold, from somebody unknown.
    Unremarkable,
    /// A threshold was reached.
    Suspect,
}

impl Engine {
    /// An engine that remembers nobody yet.
    #[must_use]
    pub fn new(policy: Arc<Policy>, capacity: PrincipalCapacity) -> Self {
        let PrincipalCapacity(capacity) = capacity;
        Self {
            policy,
            principals: Principals::new(capacity),
            sources: Sources::new(capacity),
        }
    }

    /// Goes on under another policy; everything remembered stays.
    pub fn replace_policy(&mut self, policy: Arc<Policy>) {
        self.policy = policy;
    }

    /// Principals remembered.
    #[must_use]
    pub fn principals(&self) -> usize {
        self.principals.len()
    }

    /// Scores a request, the evidence of this one included, and decides.
    ///
    /// Every request is scored, also one that is allowed or banned beforehand. `now` does not
    /// precede that of earlier calls.
    pub fn decide(&mut self, now: Monotonic, facts: &RequestFacts) -> (Decision, Pending) {
        let route = self.policy.route(&facts.method, &facts.path);
        let mode = route.mode.min(self.policy.mode());
        let realm = Realm::of(mode);
        let address = facts.client.ip();
        let subject = self.principals.subject(address, facts.key.as_ref(), realm);
        let tier = facts
            .key
            .as_ref()
            .and_then(|key| self.policy.tier(key.tier.as_deref()?));
        let entitled = entitled(tier);
        let allowance = allowance(subject, tier);

        let page = page(facts, route);
        let charge = Charge {
            at: now,
            page_of: page.map(|it| Collection::new(&facts.method, it.template, it.parameter)),
            allowance,
        };
        let (features, receipt) = self.principals.charge(subject.id, charge);
        let class = class(subject, tier, route);
        let score = score::breakdown(&View {
            facts,
            features,
            tier,
            class,
            allowance,
            page,
        });

        let thresholds = &route.thresholds;
        let wish = Wish::new(&facts.standing, score.score, thresholds, receipt.passage);
        let conduct = match thresholds.reached(score.score) {
            Some(_) => Conduct::Suspect,
            None if subject.identity == Identity::Anonymous && features.interactions == 0 => {
                Conduct::Unremarkable
            }
            None => Conduct::Good,
        };
        if conduct == Conduct::Suspect && realm == Realm::Enforced {
            self.sources.note_suspect(address, subject.id);
        }

        let course = wish.course(self.policy.mode(), mode);
        let would = wish.action();
        let (action, denial, reason, ban) = match course {
            Course::Forward(forward) => (forward.action.action(), None, forward.reason, None),
            Course::Deny(denied, reason) => {
                let ban = (denied == Denied::Blocked)
                    .then(|| {
                        self.principals.note_blocked(subject.id, now);
                        let ban = self.policy.ban();
                        let why = |n| ban_reason(n, ban.within, &score, route);
                        self.sources.denied(now, &facts.client, ban, why)
                    })
                    .flatten();
                (denied.action(), Some(denied.denial()), reason, ban)
            }
        };
        let decision = Decision {
            score,
            action,
            would,
            denial,
            mode,
            route: Arc::clone(&route.name),
            class,
            thresholds: route.thresholds.both(),
            threshold: wish.threshold,
            reason,
            limit: None,
            ban,
            pair_ban: None,
            key_state: None,
        };
        let pending = Pending {
            charged: subject.id,
            receipt,
            entitled,
            key: facts.key.as_ref().map(|key| key.hash),
            address,
            conduct,
        };
        (decision, pending)
    }

    /// Decides on a request that botguard answers itself. It is no evidence, so nothing is scored
    /// and nothing remembered: only what the address was listed or banned for before counts.
    #[must_use]
    pub fn decide_own(&self, facts: &RequestFacts) -> Decision {
        let route = self.policy.route(&facts.method, &facts.path);
        let mode = route.mode.min(self.policy.mode());
        let wish = Wish::of_standing(&facts.standing);
        let would = wish.action();
        let (action, denial, reason) = match wish.course(self.policy.mode(), mode) {
            Course::Forward(forward) => (forward.action.action(), None, forward.reason),
            Course::Deny(denied, reason) => (denied.action(), Some(denied.denial()), reason),
        };
        Decision {
            score: Breakdown::default(),
            action,
            would,
            denial,
            mode,
            route: Arc::clone(&route.name),
            class: route.expects,
            thresholds: route.thresholds.both(),
            threshold: None,
            reason,
            limit: None,
            ban: None,
            pair_ban: None,
            key_state: None,
        }
    }

    /// Learns from how a request ended. To be called once for each [`Pending`].
    pub fn observe(&mut self, now: Monotonic, pending: &Pending, response: &ResponseFacts) {
        if !is_acceptance(response) {
            return;
        }
        let owner = self.principals.accept(
            pending.charged,
            pending.key,
            pending.receipt,
            pending.entitled,
        );
        let good_window = self.policy.ban().good_window;
        let is_good = pending.conduct == Conduct::Good
            && self.principals.n_accepted(owner) >= weights::ACCEPTED_UNTIL_GOOD
            && !self.principals.blocked_within(owner, now, good_window);
        if is_good {
            self.sources.note_good(now, pending.address, owner);
        }
    }

    /// What there is to remember since the last call, of what a restart must not lose.
    ///
    /// To be called every second or so, and at the end. `offset` turns the engine's time into
    /// wall-clock time.
    #[must_use]
    pub fn drain_memos(&mut self, _offset: WallOffset) -> Vec<Memo> {
        Vec::new()
    }

    /// Remembers what an earlier engine handed out. To be called once, before the first request.
    pub fn recall(&mut self, _now: Now, _memos: Vec<Memo>) {}

    /// Every key whose reputation is remembered.
    #[must_use]
    pub fn keys(&self, _now: Now) -> Vec<KeyMemo> {
        Vec::new()
    }

    /// Forgets what a key earned: it is well until it earns something else. For when an operator
    /// resumes it.
    pub fn forgive(&mut self, _now: Now, _key: KeyHash, _reason: &str) {}

    /// Changes of keys' states since the last call.
    #[must_use]
    pub fn drain_transitions(&mut self) -> Vec<(KeyHash, KeyTransition)> {
        Vec::new()
    }

    /// Learns that somebody touched the page. Such events only excuse requests; they give no
    /// trust.
    pub fn interaction(&mut self, now: Monotonic, facts: &InteractionFacts) {
        self.principals
            .interact(now, facts.client.ip(), facts.key.as_ref());
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("principals", &self.principals())
            .finish_non_exhaustive()
    }
}

/// The client that is expected: the tier's word, else the route's.
///
/// A key that the upstream has not accepted may incriminate (a browser's is expected to be used by
/// a browser) but not excuse: anybody can write a machine tier's prefix.
fn class(subject: Subject, tier: Option<&Tier>, route: &RoutePolicy) -> ClientClass {
    match tier.map(|tier| tier.client) {
        None | Some(ClientClass::Any) => route.expects,
        Some(ClientClass::Browser) => ClientClass::Browser,
        Some(declared) if subject.identity == Identity::Accepted => declared,
        Some(_) => route.expects,
    }
}

/// What the principal may send: an accepted pair what its tier says, an address what anybody may.
///
/// A key that the upstream has not accepted changes nothing of that, in either direction: what is
/// counted then is what all behind the address sent, newcomers at their first page among them.
fn allowance(subject: Subject, tier: Option<&Tier>) -> Allowance {
    match subject.identity {
        Identity::Accepted => entitled(tier),
        Identity::Anonymous | Identity::Claimed => UNTIERED,
    }
}

/// What a key of this tier may send from one address.
fn entitled(tier: Option<&Tier>) -> Allowance {
    tier.map_or(UNTIERED, |tier| tier.allowance)
}

const UNTIERED: Allowance = Allowance {
    rate: weights::UNTIERED_RATE,
    burst: weights::UNTIERED_BURST,
};

fn page<'a>(facts: &'a RequestFacts, route: &'a RoutePolicy) -> Option<Page<'a>> {
    let template = if route.has_parameters {
        &route.name
    } else {
        &facts.path
    };
    position_parameter(&facts.query).map(|parameter| Page {
        template,
        parameter,
    })
}

/// The arithmetic of the last score in short: `… score 0.97 on /users (tier 0.10, paging 0.32, …)`.
fn ban_reason(n_denials: u32, within: Duration, score: &Breakdown, route: &RoutePolicy) -> String {
    let signals: Vec<_> = (score.signals.iter())
        .map(|signal| format!("{} {}", signal.id, signal.contribution()))
        .collect();
    format!(
        "{n_denials} requests blocked within {}, score {} on {} ({})",
        Span(within),
        score.score,
        route.name,
        signals.join(", "),
    )
}

#[cfg(test)]
mod tests;
