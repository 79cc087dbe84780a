//! Sums that fall by half in a given time, in whole numbers: the same on every machine.

use std::time::Duration;

use crate::words::clock::Monotonic;
use crate::words::key::SuspicionMemo;
use crate::words::points::Points;

/// Requests and their suspicion, both decayed, in 1/10,000 of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Suspicion {
    requests: u64,
    suspicion: u64,
    at: Monotonic,
}

/// Requests of no suspicion that every key is credited with, so that a handful does not make a
/// reputation.
const PRIOR: u64 = 50;

/// A sum falls in this many steps to its half.
const STEPS: u32 = 16;

/// 2^(-step / STEPS) in 1/65,536.
const FACTORS: [u64; STEPS as usize] = [
    65_536, 62_757, 60_097, 57_549, 55_109, 52_772, 50_535, 48_393, 46_341, 44_376, 42_495, 40_693,
    38_968, 37_316, 35_734, 34_219,
];

const SCALE: u64 = Points::ONE.as_basis() as u64;

impl Suspicion {
    /// Counts one request.
    pub(super) fn add(&mut self, now: Monotonic, half_life: Duration, suspicion: Points) {
        *self = self.decayed(now, half_life);
        self.requests = self.requests.saturating_add(SCALE);
        self.suspicion = self
            .suspicion
            .saturating_add(u64::from(suspicion.as_basis()));
    }

    /// The mean suspicion of a request, 0 to 1.
    pub(super) fn share(&self, now: Monotonic, half_life: Duration) -> Points {
        let Self {
            requests,
            suspicion,
            ..
        } = self.decayed(now, half_life);
        let share = u128::from(suspicion) * u128::from(SCALE)
            / u128::from(requests.saturating_add(PRIOR * SCALE));
        // No request has more than 1.
        Points::from_basis(u32::try_from(share).unwrap_or(u32::MAX)).min(Points::ONE)
    }

    pub(super) fn memo(&self, now: Monotonic, half_life: Duration) -> SuspicionMemo {
        let decayed = self.decayed(now, half_life);
        SuspicionMemo {
            requests: decayed.requests,
            suspicion: decayed.suspicion,
        }
    }

    /// What was true `age` before `now`.
    pub(super) fn recalled(
        memo: SuspicionMemo,
        age: Duration,
        now: Monotonic,
        half_life: Duration,
    ) -> Self {
        let then = Self {
            requests: memo.requests,
            suspicion: memo.suspicion.min(memo.requests),
            at: Monotonic::default(),
        };
        let decayed = then.decayed(Monotonic::from_boot(age), half_life);
        Self { at: now, ..decayed }
    }

    /// By whole steps; the rest of a step is kept for later, so that many short times come to the
    /// same as one long one.
    fn decayed(self, now: Monotonic, half_life: Duration) -> Self {
        let step = half_life / STEPS;
        let steps = now.since(self.at).as_nanos() / step.as_nanos().max(1);
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        let (halves, part) = (steps / STEPS, (steps % STEPS) as usize);
        let fall = |sum: u64| {
            let part = u128::from(sum) * u128::from(FACTORS[part]) / 65_536;
            let part = u64::try_from(part).unwrap_or(u64::MAX);
            part.checked_shr(halves).unwrap_or(0)
        };
        if steps == 0 {
            return self;
        }
        Self {
            requests: fall(self.requests),
            suspicion: fall(self.suspicion),
            at: self.at.after(step.saturating_mul(steps)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_boot(Duration::from_secs(seconds))
    }

    #[test]
    fn half_is_gone_after_the_half_life() {
        let check = |seconds, expected: u64| {
            let mut suspicion = Suspicion::default();
            for _ in 0..1_000 {
                suspicion.add(at(7_200), HOUR, Points::ONE);
            }
            let left = suspicion.memo(at(7_200 + seconds), HOUR);
            assert_eq!(left.requests / SCALE, expected, "{seconds} s");
            assert_eq!(left.requests, left.suspicion);
        };
        check(0, 1_000);
        check(1_800, 707);
        check(3_600, 500);
        check(2 * 3_600, 250);
        check(100 * 3_600, 0);
        check(u64::from(u32::MAX), 0);
    }

    #[test]
    fn the_factors_are_what_they_say() {
        for (step, factor) in FACTORS.iter().enumerate() {
            let expected = 65_536.0 * 2f64.powf(-(step as f64) / f64::from(STEPS));
            assert!((expected - *factor as f64).abs() <= 1.0, "{step}");
        }
    }

    proptest! {
        #[test]
        fn shares_are_shares(scores in proptest::collection::vec((0u64..100_000, 0u32..=10_000), 0..200)) {
            let mut suspicion = Suspicion::default();
            let mut now = 0;
            for (gap, score) in scores {
                now += gap;
                suspicion.add(at(now), HOUR, Points::from_basis(score));
                prop_assert!(suspicion.share(at(now), HOUR) <= Points::ONE);
            }
        }

        #[test]
        fn many_short_times_are_one_long_one(gaps in proptest::collection::vec(0u64..5_000, 1..50)) {
            let mut stepwise = Suspicion::default();
            stepwise.add(at(0), HOUR, Points::ONE);
            let whole = stepwise;
            let mut now = 0;
            for gap in gaps {
                now += gap;
                stepwise = stepwise.decayed(at(now), HOUR);
            }
            let whole = whole.decayed(at(now), HOUR);
            prop_assert!(stepwise.at == whole.at && stepwise.requests.abs_diff(whole.requests) <= 50);
        }
    }
}
