//! How far a count of lately goes beyond what is allowed: over the minute, or in haste. What is
//! surer counts, and of equals the minute.

use std::time::Duration;

use crate::engine::features::principal::Counts;
use crate::engine::throttle::Allowance;
use crate::engine::weights::{self, Ramp};
use crate::words::points::Points;

/// A count and how sure it makes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Excess {
    pub(super) confidence: Points,
    pub(super) count: u32,
    /// Within which it was counted.
    pub(super) window: Duration,
    /// What the tier allows within it.
    pub(super) allowed: u64,
}

/// What nobody is suspected for, whatever the tier allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floors {
    pub(super) window: u64,
    pub(super) haste: u64,
}

/// The surer excess of the two.
pub(super) fn excess(counts: Counts, allowance: Allowance, floors: Floors) -> Excess {
    let over = |count: u32, window, full_at: u64, floor: u64| {
        let allowed = allowance.within(window);
        let from = allowed.max(floor);
        let ramp = Ramp {
            from,
            to: from.saturating_mul(full_at),
        };
        Excess {
            confidence: ramp.confidence(u64::from(count)),
            count,
            window,
            allowed,
        }
    };
    let minute = over(
        counts.window,
        weights::WINDOW,
        weights::FULL_AT_ALLOWANCES,
        floors.window,
    );
    let haste = over(
        counts.haste,
        weights::HASTE_WINDOW,
        weights::HASTE_FULL_AT_ALLOWANCES,
        floors.haste,
    );
    if haste.confidence > minute.confidence {
        haste
    } else {
        minute
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::units::Rate;

    #[test]
    fn the_surer_window_counts() {
        let check = |per_minute, burst, window, haste, expected: (u64, u32)| {
            let allowance = Allowance {
                rate: Rate::per_minute(per_minute),
                burst,
            };
            let floors = Floors {
                window: 0,
                haste: weights::PAGE_LOAD,
            };
            let found = excess(Counts { window, haste }, allowance, floors);
            let found = (found.window.as_secs(), found.confidence.as_basis());
            assert_eq!(found, expected, "{per_minute} {burst} {window} {haste}");
        };
        // 80 are allowed within ten seconds, 180 within a minute.
        check(120, 60, 80, 80, (60, 0));
        check(120, 60, 81, 81, (10, 62));
        check(120, 60, 160, 160, (10, 5_000));
        check(120, 60, 240, 240, (10, 10_000));
        check(120, 60, 360, 360, (60, 10_000));
        check(120, 60, 360, 80, (60, 10_000));
        // A small burst makes no page load haste.
        check(30, 1, 31, 31, (60, 0));
        check(600, 1, 110, 60, (60, 0));
    }
}
