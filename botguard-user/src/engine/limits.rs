//! Declared limits: how much each client has used of them.
//!
//! A limit is a bucket that refills at a steady pace (GCRA, see [`super::throttle`]): memory is one
//! instant a bucket. All limits of a request are asked first and charged only if all of them have
//! room, so a refused request costs nothing.
//!
//! What a key used is charged to the key only where the upstream accepted it from that address:
//! until then the address pays, and at the acceptance the key does too. So nobody uses up a key's
//! limit who cannot use the key. A limit whose rate changes keeps its buckets: what was used stays
//! used for the time that it was used for, and the new rate holds from the next request on.
//!
//! What the evicted had used is forgotten; those that are in use are not evicted before the cap is
//! full of others that are.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::decision::{LimitState, LimitUnit};
use super::policy::limit::{Limit, LimitSubject, Pace};
use super::policy::rollout::mix;
use super::principals::Realm;
use super::table::ClockTable;
use super::throttle::Bucket;
use crate::words::clock::Monotonic;

/// All buckets, at most as many as the capacity.
pub(crate) struct Limits(ClockTable<BucketId, Bucket>);

/// Who has used what, as hashes of both.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct BucketId {
    limit: u64,
    subject: u128,
}

/// Who a request comes from, as far as limits tell clients apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Payers {
    /// IPv6 by its /64.
    pub(crate) address: IpAddr,
    /// Hash of the key, where the upstream accepted it from this address or nobody can have it by
    /// chance: none of a key that is only claimed.
    pub(crate) key: Option<u128>,
    pub(crate) session: Option<u128>,
    pub(crate) user: Option<u128>,
}

/// What a request takes from one bucket.
#[derive(Clone, Debug)]
pub(crate) struct Demand<'a> {
    pub(crate) limit: &'a Limit,
    /// In place of the limit's own.
    pub(crate) pace: Pace,
    pub(crate) bucket: BucketId,
    /// Units that it takes if it passes.
    pub(crate) cost: u64,
}

/// What the limits of a request say to it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct LimitVerdict {
    /// The limit that is closest to being used up, or is.
    pub(crate) tightest: Option<LimitState>,
    /// Time until the request passes, if it does not now.
    pub(crate) wait: Option<Duration>,
}

impl Limits {
    pub(crate) fn new(capacity: u32) -> Self {
        Self(ClockTable::new(capacity))
    }

    /// Asks all, and charges all if all have room.
    pub(crate) fn take(&mut self, now: Monotonic, demands: &[Demand<'_>]) -> LimitVerdict {
        let mut wait = None;
        // Each bucket is looked up once to be asked; it may be far away in memory.
        let mut asked: Vec<(Bucket, &Demand<'_>)> = Vec::with_capacity(demands.len());
        for demand in demands {
            let bucket = self.0.find(&demand.bucket).copied().unwrap_or_default();
            wait = wait.max(bucket.wait(now, demand.tolerance()));
            asked.push((bucket, demand));
        }
        if wait.is_none() {
            for (bucket, demand) in asked.iter_mut().filter(|(_, demand)| demand.cost > 0) {
                bucket.charge(now, demand.pace.time_for(demand.cost));
                *self.0.entry(demand.bucket) = *bucket;
            }
        }
        let tightest = (asked.iter())
            .min_by_key(|(bucket, demand)| demand.share_left(now, bucket))
            .map(|(bucket, demand)| demand.state(now, bucket));
        LimitVerdict { tightest, wait }
    }

    /// Charges what was used meanwhile, whether there was room or not.
    pub(crate) fn charge(&mut self, now: Monotonic, bucket: BucketId, time: Duration) {
        self.0.entry(bucket).charge(now, time);
    }
}

impl Demand<'_> {
    /// Of its depth, in 1/65,536.
    fn share_left(&self, now: Monotonic, bucket: &Bucket) -> u128 {
        let depth = self.pace.time_for(self.pace.burst).as_nanos().max(1);
        let left = depth.saturating_sub(bucket.ahead(now).as_nanos());
        left * 65_536 / depth
    }

    fn state(&self, now: Monotonic, bucket: &Bucket) -> LimitState {
        let Self { limit, pace, .. } = self;
        let window = pace.time_for(pace.burst);
        let ahead = bucket.ahead(now);
        let remaining = pace.units_in(window.saturating_sub(ahead)).min(pace.burst);
        let reset = if remaining < pace.burst {
            // The next unit is there when the one before it is wholly paid for.
            (ahead + pace.time_for(remaining + 1)).saturating_sub(window)
        } else {
            Duration::ZERO
        };
        LimitState {
            name: Arc::clone(&limit.name),
            unit: limit.unit,
            quota: pace.burst,
            window,
            remaining,
            reset,
        }
    }

    /// A request passes if its cost is there; one that costs more than the burst passes when the
    /// bucket is full. Bytes are paid for afterwards, so they pass while anything is left.
    fn tolerance(&self) -> Duration {
        let Pace { burst, .. } = self.pace;
        let needed = match self.limit.unit {
            LimitUnit::Requests => self.cost.clamp(1, burst),
            LimitUnit::Bytes => 1,
        };
        self.pace
            .time_for(burst)
            .saturating_sub(self.pace.time_for(needed))
    }
}

impl<'a> Demand<'a> {
    pub(crate) fn new(limit: &'a Limit, pace: Pace, payers: &Payers, cost: u64) -> Self {
        Self {
            limit,
            pace,
            bucket: BucketId::of(limit, payers),
            cost: match limit.unit {
                LimitUnit::Requests => cost,
                LimitUnit::Bytes => 0,
            },
        }
    }
}

impl BucketId {
    /// The same where only watched requests are counted, or where those are that count.
    pub(crate) fn counted_in(self, realm: Realm) -> Self {
        match realm {
            Realm::Enforced => self,
            Realm::Watched => Self {
                limit: mix(self.limit),
                ..self
            },
        }
    }

    pub(crate) fn of(limit: &Limit, payers: &Payers) -> Self {
        let address = || match payers.address {
            IpAddr::V4(ip) => tagged(0, u128::from(ip.to_bits())),
            IpAddr::V6(ip) => tagged(1, ip.to_bits()),
        };
        let session = || (payers.session).map_or_else(address, |hash| tagged(2, hash));
        let subject = match limit.per {
            LimitSubject::Route => 0,
            LimitSubject::Address => address(),
            LimitSubject::Session => session(),
            LimitSubject::User => (payers.user).map_or_else(session, |hash| tagged(3, hash)),
            LimitSubject::Key => (payers.key).map_or_else(session, |hash| tagged(4, hash)),
        };
        Self {
            limit: limit.family,
            subject,
        }
    }

    /// The bucket of one key at one address.
    pub(crate) fn of_pair(limit: &Limit, key: u128, address: IpAddr) -> Self {
        let at = match address {
            IpAddr::V4(ip) => u128::from(ip.to_bits()),
            IpAddr::V6(ip) => ip.to_bits(),
        };
        Self {
            limit: limit.family,
            subject: tagged(5, key ^ at.rotate_left(64)),
        }
    }
}

/// Keeps hashes of different kinds apart.
fn tagged(kind: u64, hash: u128) -> u128 {
    hash ^ (u128::from(mix(kind)) << 64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limit(per: LimitSubject, unit: LimitUnit) -> Limit {
        Limit {
            name: Arc::from("test"),
            family: 1,
            per,
            unit,
            pace: Pace {
                count: 60,
                per: Duration::from_secs(60),
                burst: 5,
            },
        }
    }

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_boot(Duration::from_millis(1_000_000 + ms))
    }

    fn payers(host: u8) -> Payers {
        Payers {
            address: IpAddr::from([192, 0, 2, host]),
            key: None,
            session: None,
            user: None,
        }
    }

    #[test]
    fn a_burst_passes_and_then_one_a_second() {
        let limit = limit(LimitSubject::Address, LimitUnit::Requests);
        let mut limits = Limits::new(10);
        let mut take = |ms, cost| {
            let demand = Demand::new(&limit, limit.pace, &payers(1), cost);
            let verdict = limits.take(at(ms), &[demand]);
            let state = verdict.tightest.unwrap();
            (
                state.remaining,
                state.reset.as_millis(),
                verdict.wait.map(|it| it.as_millis()),
            )
        };
        assert_eq!(take(0, 1), (4, 1_000, None));
        assert_eq!(take(0, 3), (1, 1_000, None));
        assert_eq!(take(0, 1), (0, 1_000, None));
        assert_eq!(take(400, 1), (0, 600, Some(600)));
        // What is refused costs nothing.
        assert_eq!(take(1_000, 1), (0, 1_000, None));
        assert_eq!(take(3_000, 3), (2, 1_000, Some(1_000)));
        assert_eq!(take(4_000, 3), (0, 1_000, None));
        // More than the burst passes when all is there, and is paid off afterwards.
        assert_eq!(take(8_900, 50), (4, 100, Some(100)));
        assert_eq!(take(9_000, 50), (0, 46_000, None));
    }

    #[test]
    fn all_or_none_are_charged() {
        let own = limit(LimitSubject::Address, LimitUnit::Requests);
        let shared = Limit {
            family: 2,
            per: LimitSubject::Route,
            ..own.clone()
        };
        let mut limits = Limits::new(10);
        let mut take = |host| {
            let payers = payers(host);
            let demands = [
                Demand::new(&own, own.pace, &payers, 1),
                Demand::new(&shared, shared.pace, &payers, 1),
            ];
            limits.take(at(0), &demands).wait.is_none()
        };
        let granted: Vec<_> = (0..10).filter(|host| take(*host)).collect();
        assert_eq!(granted, [0, 1, 2, 3, 4]);
        // Those refused for the shared one have all of their own left.
        let state = |limits: &mut Limits, host| {
            let demand = Demand::new(&own, own.pace, &payers(host), 0);
            limits.take(at(0), &[demand]).tightest.unwrap().remaining
        };
        assert_eq!((state(&mut limits, 4), state(&mut limits, 5)), (4, 5));
    }

    #[test]
    fn bytes_are_paid_for_afterwards() {
        let limit = limit(LimitSubject::Address, LimitUnit::Bytes);
        let mut limits = Limits::new(10);
        let ask = |limits: &mut Limits, ms| {
            let demand = Demand::new(&limit, limit.pace, &payers(1), 1);
            limits.take(at(ms), &[demand]).wait
        };
        assert_eq!(ask(&mut limits, 0), None);
        let bucket = BucketId::of(&limit, &payers(1));
        limits.charge(at(0), bucket, limit.pace.time_for(8));
        assert_eq!(ask(&mut limits, 0), Some(Duration::from_secs(4)));
        assert_eq!(ask(&mut limits, 4_000), None);
    }

    #[test]
    fn who_pays() {
        let check = |per, payers: Payers, other: Payers, same| {
            let limit = limit(per, LimitUnit::Requests);
            let (a, b) = (BucketId::of(&limit, &payers), BucketId::of(&limit, &other));
            assert_eq!(a == b, same, "{per:?} {payers:?} {other:?}");
        };
        let key = |host, key| Payers {
            key: Some(key),
            ..payers(host)
        };
        let session = |host, session| Payers {
            session: Some(session),
            ..payers(host)
        };
        check(LimitSubject::Key, key(1, 7), key(2, 7), true);
        check(LimitSubject::Key, key(1, 7), key(1, 8), false);
        check(LimitSubject::Key, payers(1), payers(1), true);
        check(LimitSubject::Key, payers(1), payers(2), false);
        check(LimitSubject::Session, session(1, 7), session(2, 7), true);
        check(LimitSubject::Session, session(1, 7), key(1, 7), false);
        check(LimitSubject::User, session(1, 7), session(2, 7), true);
        check(LimitSubject::Address, key(1, 7), key(1, 8), true);
        check(LimitSubject::Address, key(1, 7), key(2, 7), false);
        check(LimitSubject::Route, key(1, 7), payers(9), true);
    }

    proptest! {
        /// In any window no more is granted than the burst and what came in.
        #[test]
        fn never_too_much(
            asks in proptest::collection::vec((0u64..3_000, 1u64..4), 1..300),
            count in 1u64..1_000, burst in 4u64..50,
        ) {
            let limit = Limit {
                pace: Pace { count, per: Duration::from_secs(60), burst },
                ..limit(LimitSubject::Address, LimitUnit::Requests)
            };
            let mut limits = Limits::new(10);
            let mut granted: Vec<(u64, u64)> = Vec::new();
            let mut now = 0;
            for (gap, cost) in asks {
                now += gap;
                let demand = Demand::new(&limit, limit.pace, &payers(1), cost);
                let verdict = limits.take(at(now), &[demand]);
                match verdict.wait {
                    None => granted.push((now, cost)),
                    // The promise holds: then it passes.
                    Some(wait) => {
                        let demand = Demand::new(&limit, limit.pace, &payers(1), 0);
                        let later = at(now).after(wait);
                        let left = limits.take(later, &[demand]).tightest.unwrap().remaining;
                        prop_assert!(left >= cost, "{left} of {cost} after {wait:?}");
                    }
                }
            }
            for (first, (start, _)) in granted.iter().enumerate() {
                let mut sum = 0;
                for (end, cost) in &granted[first..] {
                    sum += cost;
                    prop_assert!(sum <= burst + (end - start) * count / 60_000 + 1);
                }
            }
        }
    }
}
