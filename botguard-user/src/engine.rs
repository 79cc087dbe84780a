//! Floor 2, pure: facts and `now` in, decision with its evidence out. No IO, no clock, no logging,
//! no randomness; cannot fail.
//!
//! The order of calls for one request, and of the modules for a reader:
//!
//! ```text
//! decide(now, RequestFacts) ─► policy (route, tier) ─► principals (who is charged) ─► limits
//!                               ─► features ─► signals ─► score ─► verdict ─► Decision, Pending
//! observe(now, Pending, ResponseFacts)     once the response has ended
//! interaction(now, InteractionFacts)       whenever a token was spent
//! ```
//!
//! The same facts at the same times give the same decisions, on any machine.

pub mod decision;
pub mod facts;
pub mod policy;
pub mod prints;
pub mod weights;

mod assessment;
mod ban_history;
mod bill;
mod credentials;
mod features;
mod fresh;
mod freshness;
mod good_company;
mod limits;
mod memory;
mod pairs;
mod principals;
mod reputation;
mod score;
mod signals;
mod sources;
mod table;
mod throttle;
mod verdict;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use self::assessment::Assessment;
use self::credentials::Claims;
use self::decision::{Breakdown, Decision, PairBan};
use self::facts::{AnsweredBy, InteractionFacts, RequestFacts, ResponseFacts};
use self::features::churn::Turnover;
use self::features::principal::Receipt;
use self::freshness::Freshness;
use self::limits::{BucketId, Limits};
use self::pairs::Pairs;
use self::policy::limit::Pace;
use self::policy::reputation::Suspension;
use self::policy::{Policy, RoutePolicy};
use self::principals::{PrincipalId, Principals, Realm, is_acceptance};
use self::reputation::{Keys, Sample};
use self::sources::Sources;
use self::throttle::Allowance;
use self::verdict::{Course, Denied, Wish};
use crate::words::clock::Monotonic;
use crate::words::identity::KeyIdentity;
use crate::words::memo::Credential;
use crate::words::points::Points;
use crate::words::units::Span;

/// Scores requests and decides on them. Owns everything remembered between requests, within
/// [`PrincipalCapacity`].
pub struct Engine {
    policy: Arc<Policy>,
    principals: Principals,
    pairs: Pairs,
    sources: Sources,
    limits: Limits,
    keys: Keys,
    freshness: Freshness,
}

/// How many principals, and how many source addresses, networks, pairs, keys and buckets, are
/// remembered at most. At the cap, those not seen lately give way.
///
/// Cost: about 1.1 KiB for each principal, with what belongs to it, taken as they come; `cargo xtask
/// bench engine` measures it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PrincipalCapacity(pub u32);

/// About 110 MB when full.
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
    /// The credential that the upstream accepts if it accepts the request.
    claim: Option<Credential>,
    key: Option<KeyIdentity>,
    suspension: Suspension,
    address: IpAddr,
    conduct: Conduct,
    realm: Realm,
    /// What its key's reputation is told if the key is accepted.
    suspicion: Points,
    /// Who authenticated, should the application say so.
    person: Option<Credential>,
    fingerprint: u64,
    /// Buckets that pay once the key is accepted.
    owed: Vec<(BucketId, Duration)>,
    /// Buckets that pay for the response's bytes.
    metered: Vec<(BucketId, Pace)>,
}

/// What a request says of its principal, as far as its score goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Conduct {
    /// Below every threshold, and from a principal that may count as a good one: it has a
    /// credential, or somebody touched its page.
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
            pairs: Pairs::new(capacity),
            sources: Sources::new(capacity),
            limits: Limits::new(capacity.saturating_mul(4)),
            keys: Keys::new(capacity),
            freshness: Freshness::new(capacity),
        }
    }

    /// Goes on under another policy; everything remembered stays. A limit whose rate changed keeps
    /// what was used of it, in time: who has to wait a minute waits a minute.
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
        let policy = Arc::clone(&self.policy);
        let assessment = self.assess(now, facts, &policy);
        let Assessment {
            route,
            mode,
            realm,
            subject,
            score,
            wish,
            conduct,
            ..
        } = &assessment;
        let address = facts.client.ip();
        if *conduct == Conduct::Suspect && *realm == Realm::Enforced {
            (self.sources).note_suspect(address, subject.id, policy.ban());
            if let (Some(key), Some(voice)) = (&facts.key, subject.id.voice()) {
                self.keys.note_suspect(key.hash, voice);
            }
        }
        let would = wish.action();
        let (mut ban, mut pair_ban) = (None, None);
        let (action, denial, reason) = match wish.course(policy.mode(), *mode) {
            Course::Forward(forward) => (forward.action.action(), None, forward.reason),
            Course::Deny(denied, reason) => {
                if matches!(denied, Denied::Blocked | Denied::PairBanned) {
                    self.principals.note_blocked(subject.id, now);
                    let within = policy.ban().within;
                    let why = |n| ban_reason(n, within, score, route);
                    ban = (self.sources).denied(now, &facts.client, policy.ban(), why);
                }
                if ban.is_some() {
                    // One measure at a time, so that lifting it lifts it.
                    self.pairs.excuse(subject.id.enforced());
                } else if denied == Denied::Blocked && subject.id.credential().is_some() {
                    let within = policy.ban().within;
                    let n_good = (self.sources).good_behind(now, address, policy.ban());
                    let why = |n| {
                        let why = ban_reason(n, within, score, route);
                        format!("{why}; {n_good} good principals behind its address")
                    };
                    pair_ban = (self.pairs)
                        .denied(now, subject.id.enforced(), policy.ban(), why)
                        .map(|(ban, reason)| PairBan {
                            ttl: ban.ttl(),
                            reason: reason.to_string(),
                        });
                }
                (
                    denied.action(),
                    Some(denied.denial(policy.step_up())),
                    reason,
                )
            }
        };
        let threshold = wish.threshold;
        let (mode, class, thresholds) = (*mode, assessment.class, assessment.thresholds);
        let (limit, key_state) = (assessment.limits.tightest, assessment.key_state);
        let decision = Decision {
            score: assessment.score,
            action,
            would,
            denial,
            mode,
            route: Arc::clone(&assessment.route.name),
            class,
            thresholds,
            threshold,
            reason,
            limit,
            ban,
            pair_ban,
            key_state,
        };
        (decision, assessment.pending)
    }

    /// Decides on a request that botguard answers itself. It is no evidence, so nothing is scored
    /// and nothing remembered: only what the address was listed or banned for before counts.
    #[must_use]
    pub fn decide_own(&self, facts: &RequestFacts) -> Decision {
        let route = (self.policy).route(&facts.host, &facts.method, &facts.path);
        let mode = route.mode.min(self.policy.mode());
        let wish = Wish::of_standing(&facts.standing);
        let would = wish.action();
        let (action, denial, reason) = match wish.course(self.policy.mode(), mode) {
            Course::Forward(forward) => (forward.action.action(), None, forward.reason),
            Course::Deny(denied, reason) => {
                let denial = denied.denial(self.policy.step_up());
                (denied.action(), Some(denial), reason)
            }
        };
        Decision {
            score: Breakdown::default(),
            action,
            would,
            denial,
            mode,
            route: Arc::clone(&route.name),
            class: route.expects,
            thresholds: route.thresholds,
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
        if response.answered_by == AnsweredBy::Upstream {
            for (bucket, pace) in &pending.metered {
                let time = pace.time_for(response.bytes_out);
                self.limits.charge(now, *bucket, time);
            }
        }
        if let (Some(observation), Some(person)) = (&response.observation, pending.person)
            && observation.fresh_auth
        {
            self.freshness.note(now, person, pending.fingerprint);
        }
        if !is_acceptance(response) {
            // What is refused is evidence about a key that is known to be the client's.
            if let Some(Credential::Key(_)) = pending.charged.credential()
                && response.answered_by == AnsweredBy::Botguard
            {
                self.count_for_key(now, pending);
            }
            return;
        }
        let policy = Arc::clone(&self.policy);
        let arrival = self.principals.arrival(pending.charged, pending.claim);
        let turnover = arrival.map_or(Turnover::Settled, |arrival| {
            let at = (pending.address, pending.realm);
            (self.sources).note_arrival(now, at, arrival, pending.fingerprint)
        });
        let owner = self.principals.accept(
            pending.charged,
            pending.claim,
            pending.receipt,
            pending.entitled,
            turnover,
        );
        if let Some(Credential::Key(_)) = owner.credential() {
            for (bucket, time) in &pending.owed {
                self.limits.charge(now, *bucket, *time);
            }
            self.count_for_key(now, pending);
        }
        let good_window = policy.ban().good_window;
        let is_good = pending.conduct == Conduct::Good
            && self.principals.n_accepted(owner) >= weights::ACCEPTED_UNTIL_GOOD
            && !self.principals.blocked_within(owner, now, good_window);
        let is_new = self.principals.n_accepted(owner) < weights::ACCEPTED_UNTIL_GOOD;
        if pending.conduct == Conduct::Good && is_new && turnover == Turnover::Settled {
            self.sources.note_newcomer(now, pending.address, owner);
        }
        if is_good {
            (self.sources).note_good(now, pending.address, owner, policy.ban());
            // The session of a page speaks for the key that its script sends: it was there first,
            // so the key is charged for nothing that it does.
            if let (Some(key), Some(voice)) = (&pending.key, owner.voice()) {
                (self.keys).note_good(now, key.hash, voice, policy.reputation());
            }
        }
    }

    fn count_for_key(&mut self, now: Monotonic, pending: &Pending) {
        let Some(key) = &pending.key else { return };
        if pending.realm == Realm::Enforced {
            let sample = Sample {
                key,
                suspicion: pending.suspicion,
                suspension: pending.suspension,
            };
            self.keys.count(now, &sample, self.policy.reputation());
        }
    }

    /// Learns that somebody touched the page. Such events only excuse requests; they give no
    /// trust.
    pub fn interaction(&mut self, now: Monotonic, facts: &InteractionFacts) {
        let claims = Claims::of_interaction(facts);
        self.principals.interact(now, facts.client.ip(), &claims);
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("principals", &self.principals())
            .finish_non_exhaustive()
    }
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
