//! When an address has earned a ban.
//!
//! Counts the requests of one address that were actually denied for their score, and remembers the
//! good principals behind it. Proposes; whether the kernel follows is decided elsewhere.

use std::net::IpAddr;
use std::time::Duration;

use super::decision::BanProposal;
use super::features::window::Window;
use super::policy::ban::BanPolicy;
use super::principals::PrincipalId;
use super::table::{ClockTable, Slot};
use crate::words::address::{ClientAddress, host_network};
use crate::words::clock::Monotonic;

/// All sources, at most as many as the capacity.
pub(crate) struct Sources(ClockTable<IpAddr, Source>);

/// What one address did to deserve a ban, and who would suffer from it.
#[derive(Clone, Copy, Debug, Default)]
struct Source {
    denials: Window<{ DENIAL_BUCKETS as usize + 1 }>,
    /// Bucket width of `denials`; a reload may change it.
    denial_width: Duration,
    good: [Option<Good>; REMEMBERED_GOOD],
    /// The ban that was proposed last.
    last: Option<LastBan>,
}

#[derive(Clone, Copy, Debug)]
struct Good {
    tag: u64,
    seen: Monotonic,
}

#[derive(Clone, Copy, Debug)]
struct LastBan {
    proposed: Monotonic,
    ends: Monotonic,
    /// Repetitions before it.
    level: u32,
}

const DENIAL_BUCKETS: u32 = 10;
const REMEMBERED_GOOD: usize = BanPolicy::MOST_GOOD_PRINCIPALS as usize + 1;
const _: () = assert!(size_of::<Slot<IpAddr, Source>>() <= 512);

impl Sources {
    pub(crate) fn new(capacity: u32) -> Self {
        Self(ClockTable::new(capacity))
    }

    /// Notes that `id` behaves behind `address`.
    pub(crate) fn note_good(&mut self, now: Monotonic, address: IpAddr, id: PrincipalId) {
        self.0.entry(address).note_good(now, id.tag());
    }

    /// Notes that `id` no longer does.
    pub(crate) fn note_suspect(&mut self, address: IpAddr, id: PrincipalId) {
        if let Some(source) = self.0.find_mut(&address) {
            source.forget_good(id.tag());
        }
    }

    /// Counts one request of `client` that was denied for its score, and proposes a ban if that
    /// was one too many, the address is the client's own, and few enough would suffer.
    pub(crate) fn denied(
        &mut self,
        now: Monotonic,
        client: &ClientAddress,
        policy: &BanPolicy,
        why: impl Fn(u32) -> String,
    ) -> Option<BanProposal> {
        let target = client.own_peer()?;
        let source = self.0.entry(target.ip());
        let n_denials = source.count_denial(now, policy);
        let earned = n_denials >= policy.denied
            && source.good_behind(now, policy) <= policy.good_principals
            && source.last.is_none_or(|last| last.ends <= now);
        earned.then(|| BanProposal {
            target,
            network: host_network(target.ip()),
            ttl: source.ban(now, policy),
            reason: why(n_denials),
        })
    }
}

impl Source {
    fn count_denial(&mut self, now: Monotonic, policy: &BanPolicy) -> u32 {
        let width = policy.within / DENIAL_BUCKETS;
        if self.denial_width != width {
            self.denials = Window::default();
            self.denial_width = width;
        }
        self.denials.add(now, width);
        self.denials.count(now, width)
    }

    fn good_behind(&self, now: Monotonic, policy: &BanPolicy) -> u32 {
        let good = self.good.iter().flatten();
        let recent = good.filter(|good| now.since(good.seen) < policy.good_window);
        u32::try_from(recent.count()).unwrap_or(u32::MAX)
    }

    /// Starts a ban and returns its length: `ttl_factor` times longer for each repetition that is
    /// not forgotten yet, at most `ttl_max`.
    fn ban(&mut self, now: Monotonic, policy: &BanPolicy) -> Duration {
        let level = self.last.map_or(0, |last| {
            let quiet = now.since(last.proposed).as_nanos() / policy.ttl_max.as_nanos().max(1);
            let forgotten = u32::try_from(quiet).unwrap_or(u32::MAX);
            last.level.saturating_add(1).saturating_sub(forgotten)
        });
        let factor = policy.ttl_factor.saturating_pow(level);
        let ttl = policy.ttl.saturating_mul(factor).min(policy.ttl_max);
        self.last = Some(LastBan {
            proposed: now,
            ends: now.after(ttl),
            level,
        });
        self.denials = Window::default();
        ttl
    }

    /// When all places are taken by others, the one seen longest ago gives way; that many are
    /// more than any policy asks for.
    fn note_good(&mut self, now: Monotonic, tag: u64) {
        let good = Some(Good { tag, seen: now });
        let known = self
            .good
            .iter()
            .position(|it| it.is_some_and(|it| it.tag == tag));
        let place = known.or_else(|| self.good.iter().position(Option::is_none));
        match place {
            Some(place) => self.good[place] = good,
            None => {
                if let Some(oldest) = self
                    .good
                    .iter_mut()
                    .min_by_key(|it| it.map_or(now, |it| it.seen))
                {
                    *oldest = good;
                }
            }
        }
    }

    fn forget_good(&mut self, tag: u64) {
        for good in &mut self.good {
            if good.is_some_and(|it| it.tag == tag) {
                *good = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_boot(Duration::from_secs(seconds))
    }

    /// Lengths in seconds of bans that a source earns at the given seconds.
    fn lengths(policy: &BanPolicy, seconds: &[u64]) -> Vec<u64> {
        let mut source = Source::default();
        seconds
            .iter()
            .map(|second| source.ban(at(*second), policy).as_secs())
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
    fn a_full_memory_of_good_ones_still_counts_them() {
        let mut source = Source::default();
        for tag in 0..1_000 {
            source.note_good(at(tag), tag);
        }
        let policy = BanPolicy::default();
        assert_eq!(source.good_behind(at(1_000), &policy), 8);
        source.forget_good(999);
        assert_eq!(source.good_behind(at(1_000), &policy), 7);
        assert_eq!(source.good_behind(at(1_000 + 86_400), &policy), 0);
    }

    proptest! {
        #[test]
        fn no_ban_exceeds_the_maximum(
            ttl in 1u64..100_000, longer in 0u64..100_000, factor in 1u32..u32::MAX,
            gaps in prop::collection::vec(0u64..200_000, 1..50),
        ) {
            let policy = BanPolicy {
                ttl: Duration::from_secs(ttl),
                ttl_max: Duration::from_secs(ttl + longer),
                ttl_factor: factor,
                ..BanPolicy::default()
            };
            let mut source = Source::default();
            let mut now = 0;
            for gap in gaps {
                now += gap;
                let length = source.ban(at(now), &policy);
                prop_assert!(policy.ttl <= length && length <= policy.ttl_max);
            }
        }
    }
}
