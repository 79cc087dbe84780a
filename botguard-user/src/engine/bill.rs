//! What a request pays to the declared limits: now, once its key is accepted, and for its response's
//! bytes.

use std::time::Duration;

use super::Engine;
use super::assessment::{Terms, UNTIERED};
use super::decision::LimitUnit;
use super::facts::RequestFacts;
use super::limits::{BucketId, Demand, LimitVerdict, Payers};
use super::policy::Policy;
use super::policy::limit::{LimitSubject, Pace};
use super::principals::{Identity, subscriber};
use crate::words::clock::Monotonic;
use crate::words::identity::UserProof;
use crate::words::key::{KeyStanding, KeyState};
use crate::words::memo::Credential;

/// What is to be paid for a request, now and later.
#[derive(Default)]
pub(super) struct Bill {
    pub(super) verdict: LimitVerdict,
    pub(super) owed: Vec<(BucketId, Duration)>,
    pub(super) metered: Vec<(BucketId, Pace)>,
}

impl Engine {
    /// Asks and charges the limits. Those of watched routes have buckets of their own, so that what
    /// is only watched uses up nothing.
    pub(super) fn bill(
        &mut self,
        now: Monotonic,
        facts: &RequestFacts,
        policy: &Policy,
        terms: &Terms<'_>,
    ) -> Bill {
        let mut demands = Vec::new();
        let mut bill = Bill::default();
        let cost = terms.route.cost;
        let address = subscriber(facts.client.ip());
        if let Some(key) = &facts.key {
            let limit = terms.tier.and_then(|tier| tier.limit.as_ref());
            let pace = match (facts.ruling.limit, limit, terms.key_state) {
                (Some(own), _, _) => Some(Pace::from(own)),
                (None, _, _) if facts.ruling.standing == KeyStanding::Pinned => None,
                (None, limit, KeyState::Throttled) => {
                    let whole = limit.map_or_else(|| Pace::from(UNTIERED), |limit| limit.pace);
                    Some(whole.part(u64::from(policy.reputation().throttled_to)))
                }
                (None, limit, _) => limit.map(|limit| limit.pace),
            };
            if let Some(pace) = pace {
                let limit = limit.unwrap_or_else(|| policy.key_limit());
                let bucket = BucketId::of_pair(limit, key.hash.0, address);
                demands.push(Demand {
                    limit,
                    pace,
                    bucket,
                    cost,
                });
            }
        }
        if facts.ruling.standing != KeyStanding::Pinned {
            let total = terms.tier.and_then(|tier| tier.total.as_ref());
            let limits = policy
                .limits()
                .iter()
                .chain(&terms.route.limits)
                .chain(total);
            let mut payers = None;
            for limit in limits {
                let payers = payers.get_or_insert_with(|| self.payers(facts, terms));
                let payers = &match (limit.per, terms.key) {
                    // The address, not a session of one's own that comes along with the key: of
                    // those there are as many as anybody likes.
                    (LimitSubject::Key, Identity::Claimed) => Payers {
                        session: None,
                        ..*payers
                    },
                    _ => *payers,
                };
                let demand = Demand::new(limit, limit.pace, payers, cost);
                let bucket = demand.bucket.counted_in(terms.realm);
                match (limit.unit, limit.per, terms.key, &facts.key) {
                    (LimitUnit::Bytes, ..) => bill.metered.push((bucket, limit.pace)),
                    (_, LimitSubject::Key, Identity::Claimed, Some(key)) => {
                        let key = Payers {
                            key: Some(key.hash.0),
                            ..*payers
                        };
                        let bucket = BucketId::of(limit, &key).counted_in(terms.realm);
                        bill.owed.push((bucket, limit.pace.time_for(cost)));
                    }
                    _ => {}
                }
                demands.push(demand);
            }
        }
        for demand in &mut demands {
            demand.bucket = demand.bucket.counted_in(terms.realm);
        }
        if !demands.is_empty() {
            bill.verdict = self.limits.take(now, &demands);
        }
        bill
    }

    /// Only what the upstream accepted from this address has buckets of its own.
    fn payers(&self, facts: &RequestFacts, terms: &Terms<'_>) -> Payers {
        let address = facts.client.ip();
        let key = facts
            .key
            .as_ref()
            .filter(|_| terms.key == Identity::Accepted);
        let session = (facts.session)
            .filter(|it| (self.principals).knows(address, Credential::Session(it.hash)));
        let user = facts.user.filter(|user| user.proof == UserProof::Verified);
        Payers {
            address: subscriber(address),
            key: key.map(|key| key.hash.0),
            session: session.map(|session| session.hash.0),
            user: user.map(|user| user.hash.0),
        }
    }
}
