//! A sliding count in fixed memory: a ring of buckets, of which the oldest counts in part.
//!
//! Exact at a steady pace and whenever nothing falls into the oldest bucket; otherwise off by at
//! most what that one bucket holds.

use std::time::Duration;

use crate::engine::weights;
use crate::words::clock::Monotonic;

/// Events of one kind over the last `BUCKETS - 1` bucket widths.
///
/// The width is an argument of every call and must be the same in all of them. Buckets saturate
/// at 65,535 events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window<const BUCKETS: usize> {
    /// Number, counted from boot, of the newest bucket; the ring holds it and the
    /// `BUCKETS - 1` before it.
    newest: u32,
    counts: [u16; BUCKETS],
}

impl<const BUCKETS: usize> Default for Window<BUCKETS> {
    fn default() -> Self {
        Self {
            newest: 0,
            counts: [0; BUCKETS],
        }
    }
}

impl<const BUCKETS: usize> Window<BUCKETS> {
    /// Counts one event at `at`; one that is older than the window is not counted.
    pub(crate) fn add(&mut self, at: Monotonic, width: Duration) {
        let bucket = bucket(at, width);
        self.advance(bucket);
        if let Some(count) = self.count_mut(bucket) {
            *count = count.saturating_add(1);
        }
    }

    /// Takes back one event that was counted at `at`.
    pub(crate) fn remove(&mut self, at: Monotonic, width: Duration) {
        if let Some(count) = self.count_mut(bucket(at, width)) {
            *count = count.saturating_sub(1);
        }
    }

    /// Events in the window that ends with, and includes, `now`.
    pub(crate) fn count(&self, now: Monotonic, width: Duration) -> u32 {
        self.count_last(BUCKETS - 1, now, width)
    }

    /// The same over the last `n_whole` bucket widths, at most `BUCKETS - 1`.
    fn count_last(&self, n_whole: usize, now: Monotonic, width: Duration) -> u32 {
        let current = bucket(now, width);
        let whole: u32 = (0..n_whole)
            .map(|age| self.in_bucket(current, age))
            .map(u32::from)
            .sum();
        whole + self.still_inside(self.in_bucket(current, n_whole), now, width)
    }

    /// How many of the oldest bucket's `count` events are inside the window.
    ///
    /// At a steady pace the request that is asking stands as far into the current bucket as the
    /// one that just left the window stood in the oldest: that one is outside, hence the final
    /// `- 1`. The nanosecond taken off absorbs clocks that truncate.
    fn still_inside(&self, count: u16, now: Monotonic, width: Duration) -> u32 {
        let width = nanoseconds(width);
        let left = width - now.as_nanoseconds() % width;
        let inside = (u128::from(count) * u128::from(left - 1)).div_ceil(u128::from(width));
        // At most `count`, so it fits.
        u32::try_from(inside).unwrap_or(u32::MAX).saturating_sub(1)
    }

    fn in_bucket(&self, current: u32, age: usize) -> u16 {
        u32::try_from(age)
            .ok()
            .and_then(|age| current.checked_sub(age))
            .filter(|bucket| self.holds(*bucket))
            .map_or(0, |bucket| self.counts[slot::<BUCKETS>(bucket)])
    }

    fn count_mut(&mut self, bucket: u32) -> Option<&mut u16> {
        self.holds(bucket)
            .then(|| &mut self.counts[slot::<BUCKETS>(bucket)])
    }

    fn holds(&self, bucket: u32) -> bool {
        self.newest
            .checked_sub(bucket)
            .is_some_and(|age| (age as usize) < BUCKETS)
    }

    fn advance(&mut self, bucket: u32) {
        let Some(steps) = bucket.checked_sub(self.newest) else {
            return;
        };
        for step in 0..(steps as usize).min(BUCKETS) {
            self.counts[(slot::<BUCKETS>(bucket) + BUCKETS - step) % BUCKETS] = 0;
        }
        self.newest = bucket;
    }
}

/// Events of one kind in the last [`weights::WINDOW`] and [`weights::HASTE_WINDOW`], by seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastMinute(Window<61>);

impl LastMinute {
    pub(crate) fn add(&mut self, at: Monotonic) {
        self.0.add(at, SECOND);
    }

    pub(crate) fn remove(&mut self, at: Monotonic) {
        self.0.remove(at, SECOND);
    }

    pub(crate) fn count(&self, now: Monotonic) -> u32 {
        self.0.count(now, SECOND)
    }

    pub(crate) fn count_lately(&self, now: Monotonic) -> u32 {
        self.0.count_last(LATELY, now, SECOND)
    }
}

const SECOND: Duration = Duration::from_secs(1);
const LATELY: usize = 10;
const _: () = assert!(weights::WINDOW.as_secs() == 60);
const _: () = assert!(weights::HASTE_WINDOW.as_secs() == LATELY as u64);

fn bucket(at: Monotonic, width: Duration) -> u32 {
    u32::try_from(at.as_nanoseconds() / nanoseconds(width)).unwrap_or(u32::MAX)
}

fn nanoseconds(width: Duration) -> u64 {
    u64::try_from(width.as_nanos()).unwrap_or(u64::MAX).max(1)
}

const fn slot<const BUCKETS: usize>(bucket: u32) -> usize {
    bucket as usize % BUCKETS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at_ns(ns: u64) -> Monotonic {
        Monotonic::from_boot(Duration::from_nanos(ns))
    }

    #[test]
    fn a_steady_pace_is_counted_exactly() {
        let check = |per_second: u64, phase_ns: u64| {
            let mut window = LastMinute::default();
            for k in 0..200 * per_second {
                let now = at_ns(phase_ns + k * 1_000_000_000 / per_second);
                window.add(now);
                let expected = (k + 1).min(60 * per_second);
                assert_eq!(
                    u64::from(window.count(now)),
                    expected,
                    "{k} at {per_second}/s"
                );
                let expected = (k + 1).min(10 * per_second);
                assert_eq!(
                    u64::from(window.count_lately(now)),
                    expected,
                    "{k} at {per_second}/s"
                );
            }
        };
        check(70, 0);
        check(70, 7_777_777);
        check(1, 999_999_999);
        check(3, 0);
        check(64, 15_000_000);
    }

    #[test]
    fn silence_empties_it() {
        let mut window = LastMinute::default();
        for _ in 0..100 {
            window.add(at_ns(5_000_000_000));
        }
        assert_eq!(window.count(at_ns(64_900_000_000)), 100);
        assert_eq!(window.count(at_ns(66_000_000_000)), 0);
        assert_eq!(window.count(at_ns(9_000_000_000_000)), 0);
    }

    #[test]
    fn an_event_moves_between_windows() {
        let (mut from, mut to) = (LastMinute::default(), LastMinute::default());
        from.add(at_ns(1_000_000_000));
        to.add(at_ns(3_000_000_000));
        from.remove(at_ns(1_000_000_000));
        to.add(at_ns(1_000_000_000));
        let now = at_ns(3_500_000_000);
        assert_eq!((from.count(now), to.count(now)), (0, 2));
        to.add(at_ns(100_000_000_000));
        to.add(at_ns(1_000_000_000));
        assert_eq!(to.count(at_ns(100_000_000_000)), 1);
    }

    #[test]
    fn a_bucket_saturates() {
        let mut window = LastMinute::default();
        for _ in 0..70_000 {
            window.add(at_ns(1));
        }
        assert_eq!(window.count(at_ns(1)), u32::from(u16::MAX));
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_model(gaps_ms in prop::collection::vec(0u64..5_000, 1..400)) {
            let mut window = LastMinute::default();
            let mut times: Vec<u64> = Vec::new();
            let mut now_ms = 0;
            for gap in gaps_ms {
                now_ms += gap;
                times.push(now_ms);
                window.add(at_ns(now_ms * 1_000_000));
                let since = |second: u64| {
                    let inside = times.iter().filter(|time| **time / 1_000 >= second);
                    u32::try_from(inside.count()).unwrap()
                };
                let second = now_ms / 1_000;
                let now = at_ns(now_ms * 1_000_000);
                for (seconds, count) in [(60, window.count(now)), (10, window.count_lately(now))] {
                    let sure = since((second + 1).saturating_sub(seconds));
                    let at_most = since(second.saturating_sub(seconds));
                    prop_assert!(sure <= count && count <= at_most, "{sure} {count} {at_most}");
                }
            }
        }
    }
}
