//! Wall time into the kernel's ticks. Pure; `enforcement::kernel` takes the reading.
//!
//! The kernel compares ticks of 256 jiffies since an anchor, since that is the clock it can read
//! for almost nothing. Jiffies neither step with the wall clock nor run while the host sleeps, so
//! a reading is taken afresh for every compilation and never kept.

use std::time::Duration;

use botguard_common::entry::{TICK_SHIFT, ticks};

use crate::words::clock::Wall;

/// Both clocks at one instant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KernelClock {
    /// Jiffies since the anchor.
    pub jiffies: u64,
    /// Jiffies a second.
    pub jiffies_per_second: u32,
    /// Wall time at the same instant.
    pub wall: Wall,
}

impl KernelClock {
    /// The tick at this instant.
    #[must_use]
    pub fn now(&self) -> u32 {
        ticks(self.jiffies, 0)
    }

    /// The first tick at which a block until `expires` no longer holds: at that instant or up to a
    /// tick later. 0, which is never, exactly for `None`.
    #[must_use]
    pub fn end(&self, expires: Option<Wall>) -> u32 {
        let Some(expires) = expires else {
            return 0;
        };
        let ahead = self.jiffies_of(self.wall.until(expires).as_millis());
        let behind = self.jiffies_of(expires.until(self.wall).as_millis());
        let end = self.jiffies.saturating_add(ahead).saturating_sub(behind);
        let round_up = (1 << TICK_SHIFT) - 1;
        ticks(end.saturating_add(round_up), 0).max(1)
    }

    /// The wall time at which tick `end` begins; `None`, which is never, exactly for 0.
    #[must_use]
    pub fn wall_at(&self, end: u32) -> Option<Wall> {
        let left = (u64::from(end) << TICK_SHIFT).saturating_sub(self.jiffies);
        let left_ms = u128::from(left) * 1_000 / u128::from(self.jiffies_per_second.max(1));
        let left_ms = u64::try_from(left_ms).unwrap_or(u64::MAX);
        (end != 0).then(|| self.wall.after(Duration::from_millis(left_ms)))
    }

    fn jiffies_of(&self, ms: u128) -> u64 {
        let jiffies = (ms * u128::from(self.jiffies_per_second)).div_ceil(1_000);
        u64::try_from(jiffies).unwrap_or(u64::MAX)
    }
}

/// The rate of jiffies from how many of them passed in a measured time: the nearest of the rates
/// that Linux can be built with on the architectures of today (`kernel/Kconfig.hz`).
///
/// `None` where the measurement is further than a tenth from each of them.
#[must_use]
pub fn jiffies_per_second(jiffies: u64, elapsed_ns: u64) -> Option<u32> {
    const RATES: [u32; 4] = [100, 250, 300, 1_000];
    let measured = u128::from(jiffies) * 1_000_000_000 / u128::from(elapsed_ns.max(1));
    let off = |rate: u32| measured.abs_diff(u128::from(rate));
    let nearest = RATES.into_iter().min_by_key(|rate| off(*rate))?;
    (off(nearest) * 10 <= u128::from(nearest)).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_rounded_up_to_ticks() {
        let clock = KernelClock {
            jiffies: 10 * 256,
            jiffies_per_second: 256,
            wall: Wall::from_unix_ms(100_000),
        };
        let check = |expires: Option<u64>, expected| {
            assert_eq!(
                clock.end(expires.map(Wall::from_unix_ms)),
                expected,
                "{expires:?}"
            );
        };
        check(None, 0);
        check(Some(101_000), 11);
        check(Some(101_001), 12);
        check(Some(100_000), 10);
        check(Some(98_000), 8);
        // Long past is the first tick, never "never".
        check(Some(0), 1);
        check(Some(u64::MAX), u32::MAX);
        assert_eq!(clock.now(), 10);
    }

    #[test]
    fn an_end_is_found_again() {
        let clock = KernelClock {
            jiffies: 10 * 256 + 100,
            jiffies_per_second: 256,
            wall: Wall::from_unix_ms(100_000),
        };
        let check = |end, expected: Option<u64>| {
            assert_eq!(clock.wall_at(end), expected.map(Wall::from_unix_ms));
        };
        check(0, None);
        check(9, Some(100_000));
        check(20, Some(109_609));
        assert_eq!(clock.end(clock.wall_at(20)), 20);
    }

    #[test]
    fn rates_are_recognised() {
        let check = |jiffies, ms: u64, expected| {
            assert_eq!(jiffies_per_second(jiffies, ms * 1_000_000), expected);
        };
        check(25, 250, Some(100));
        check(62, 250, Some(250));
        check(75, 250, Some(300));
        check(251, 250, Some(1_000));
        check(150, 250, None);
        check(0, 250, None);
        check(1, 0, None);
    }
}
