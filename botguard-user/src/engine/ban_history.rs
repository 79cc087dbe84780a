//! How long the next ban of somebody is: longer with each repetition, and shorter again with time.

use std::time::Duration;

use super::policy::ban::BanPolicy;
use crate::words::clock::{Monotonic, Now, Wall, WallOffset};
use crate::words::memo::BanMemo;

/// The last ban of a source or pair.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct LastBan {
    proposed: Monotonic,
    ends: Monotonic,
    /// Repetitions before it.
    level: u32,
}

impl LastBan {
    /// The ban that follows on `last`: `ttl_factor` times longer for each repetition that is not
    /// forgotten yet, at most `ttl_max`. One is forgotten for every `ttl_max` since the last.
    pub(crate) fn after(last: Option<Self>, now: Monotonic, policy: &BanPolicy) -> Self {
        let level = last.map_or(0, |last| {
            let quiet = now.since(last.proposed).as_nanos() / policy.ttl_max.as_nanos().max(1);
            let forgotten = u32::try_from(quiet).unwrap_or(u32::MAX);
            last.level.saturating_add(1).saturating_sub(forgotten)
        });
        let factor = policy.ttl_factor.saturating_pow(level);
        let ttl = policy.ttl.saturating_mul(factor).min(policy.ttl_max);
        Self {
            proposed: now,
            ends: now.after(ttl),
            level,
        }
    }

    /// Its length.
    pub(crate) const fn ttl(&self) -> Duration {
        self.ends.since(self.proposed)
    }

    pub(crate) fn is_live(&self, now: Monotonic) -> bool {
        now < self.ends
    }

    /// Ends it before its time; it counts as a repetition all the same.
    pub(crate) fn end(&mut self, now: Monotonic) {
        self.ends = self.ends.min(now);
    }

    pub(crate) fn memo(&self, offset: WallOffset) -> BanMemo {
        BanMemo {
            proposed: offset.wall_at(self.proposed),
            ends: offset.wall_at(self.ends),
            level: self.level,
        }
    }

    /// What an earlier engine remembered. What was before this boot counts as at its beginning:
    /// repetitions are then forgotten a little later than they would have been. What was proposed
    /// later than now, by a clock that has learnt better since, was proposed now.
    pub(crate) fn recalled(memo: &BanMemo, now: Now, policy: &BanPolicy) -> Self {
        let proposed = instant(now, memo.proposed).min(now.monotonic);
        let ttl = memo.proposed.until(memo.ends).min(policy.ttl_max);
        Self {
            proposed,
            ends: instant(now, memo.ends).min(proposed.after(ttl)),
            level: memo.level,
        }
    }
}

/// A wall-clock time on the engine's clock; before this boot is its beginning.
pub(crate) fn instant(now: Now, at: Wall) -> Monotonic {
    let ahead = now.wall.until(at);
    if ahead.is_zero() {
        let since_boot = now.monotonic.since(Monotonic::default());
        Monotonic::from_boot(since_boot.saturating_sub(at.until(now.wall)))
    } else {
        now.monotonic.after(ahead)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_boot(Duration::from_secs(seconds))
    }

    /// Lengths in seconds of bans that somebody earns at the given seconds.
    fn lengths(policy: &BanPolicy, seconds: &[u64]) -> Vec<u64> {
        let mut last = None;
        seconds
            .iter()
            .map(|second| {
                let ban = LastBan::after(last, at(*second), policy);
                last = Some(ban);
                ban.ttl().as_secs()
            })
            .collect()
    }

    #[test]
    fn bans_grow_with_repetition_and_shrink_with_time() {
        let policy = BanPolicy::default();
        let check = |seconds: &[u64], expected: &[u64]| {
            assert_eq!(lengths(&policy, seconds), expected, "{seconds:?}");
        };
        check(&[0, 700, 4_000], &[600, 2_400, 9_600]);
        check(
            &[0, 700, 4_000, 20_000, 80_000],
            &[600, 2_400, 9_600, 38_400, 86_400],
        );
        check(&[0, 86_399], &[600, 2_400]);
        check(&[0, 86_400], &[600, 600]);
        check(&[0, 700, 700 + 86_400], &[600, 2_400, 2_400]);
        check(&[0, 700, 700 + 3 * 86_400], &[600, 2_400, 600]);
    }

    #[test]
    fn a_restart_remembers_the_repetitions() {
        let policy = BanPolicy::default();
        let check = |away: u64, expected: u64| {
            let first = LastBan::after(None, at(100_000), &policy);
            let second = LastBan::after(Some(first), at(101_000), &policy);
            let offset = WallOffset::from_ms(1_700_000_000_000);
            let now = Now {
                monotonic: at(101_000 + away),
                wall: offset.wall_at(at(101_000 + away)),
            };
            let recalled = LastBan::recalled(&second.memo(offset), now, &policy);
            assert_eq!(recalled.is_live(now.monotonic), away < 2_400);
            let third = LastBan::after(Some(recalled), now.monotonic, &policy);
            assert_eq!(third.ttl().as_secs(), expected, "{away}");
        };
        check(10, 9_600);
        check(3_000, 9_600);
        check(90_000, 2_400);
    }

    proptest! {
        #[test]
        fn no_ban_is_longer_than_the_longest(
            gaps in proptest::collection::vec(0u64..200_000, 1..50),
            factor in 1u32..1_000, ttl in 1u64..100_000, more in 0u64..1_000_000,
        ) {
            let policy = BanPolicy {
                ttl: Duration::from_secs(ttl),
                ttl_factor: factor,
                ttl_max: Duration::from_secs(ttl + more),
                ..BanPolicy::default()
            };
            let mut now = 0;
            let times: Vec<u64> = gaps.iter().map(|gap| { now += gap; now }).collect();
            for length in lengths(&policy, &times) {
                prop_assert!((ttl..=ttl + more).contains(&length));
            }
        }
    }
}
