//! The bucket of a principal's requests: GCRA, one instant of memory.
//!
//! Every request takes from it, whatever its score, so that whoever comes into the throttle band
//! far beyond its rate finds it empty. Only in the band does the answer count.
//!
//! Source: ITU-T I.371, generic cell rate algorithm in its virtual-scheduling form.

use std::time::Duration;

use crate::words::clock::Monotonic;
use crate::words::units::Rate;

/// What a principal may send: so many a unit of time, and so many at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Allowance {
    pub(crate) rate: Rate,
    /// Requests at once; zero counts as one.
    pub(crate) burst: u32,
}

impl Allowance {
    /// The most that a client which keeps to it sends within `window`.
    pub(crate) fn within(self, window: Duration) -> u64 {
        let at_rate = window.as_nanos() / self.rate.interval().as_nanos().max(1);
        u64::try_from(at_rate)
            .unwrap_or(u64::MAX)
            .saturating_add(u64::from(self.burst.max(1)))
    }

    fn tolerance(self) -> Duration {
        self.rate.interval().saturating_mul(self.burst.max(1) - 1)
    }
}

/// One principal's state: when the next request would arrive at the steady rate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    next: Monotonic,
}

/// The bucket's answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Passage {
    /// Within the rate; a token was taken.
    Pass,
    /// Beyond it; nothing was taken.
    Wait {
        /// Time until a request passes.
        retry_after: Duration,
    },
}

impl Bucket {
    /// Takes a token, or says when there is one.
    pub(crate) fn take(&mut self, now: Monotonic, allowance: Allowance) -> Passage {
        match self.wait(now, allowance.tolerance()) {
            Some(retry_after) => Passage::Wait { retry_after },
            None => {
                self.charge(now, allowance.rate.interval());
                Passage::Pass
            }
        }
    }

    /// How far ahead of its steady rate it is.
    pub(crate) fn ahead(&self, now: Monotonic) -> Duration {
        self.next.max(now).since(now)
    }

    /// Time until it is no further ahead than `tolerance`; `None` if it is not now.
    pub(crate) fn wait(&self, now: Monotonic, tolerance: Duration) -> Option<Duration> {
        let wait = self.ahead(now).checked_sub(tolerance)?;
        (!wait.is_zero()).then_some(wait)
    }

    /// Takes what takes `time` to come in, whether it is there or not.
    pub(crate) fn charge(&mut self, now: Monotonic, time: Duration) {
        self.next = self.next.max(now).after(time);
    }

    /// Puts back a token that was taken under `allowance`.
    pub(crate) fn put_back(&mut self, allowance: Allowance) {
        let since_boot = self.next.since(Monotonic::default());
        self.next = Monotonic::from_boot(since_boot.saturating_sub(allowance.rate.interval()));
    }

    /// Empties it as far as `other` is.
    pub(crate) fn drain_to(&mut self, other: Self) {
        self.next = self.next.max(other.next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWANCE: Allowance = Allowance {
        rate: Rate::per_minute(120),
        burst: 3,
    };

    fn at_ms(ms: u64) -> Monotonic {
        Monotonic::from_boot(Duration::from_millis(ms))
    }

    #[test]
    fn burst_then_rate_then_the_exact_wait() {
        let mut bucket = Bucket::default();
        let mut check = |ms, wait_ms: Option<u64>| {
            let expected = wait_ms.map_or(Passage::Pass, |ms| Passage::Wait {
                retry_after: Duration::from_millis(ms),
            });
            assert_eq!(bucket.take(at_ms(ms), ALLOWANCE), expected, "at {ms} ms");
        };
        for _ in 0..3 {
            check(10_000, None);
        }
        check(10_000, Some(500));
        check(10_200, Some(300));
        check(10_499, Some(1));
        check(10_500, None);
        check(10_500, Some(500));
        check(60_000, None);
    }

    #[test]
    fn whoever_keeps_to_the_rate_always_passes() {
        let mut bucket = Bucket::default();
        for k in 0..1_000 {
            assert_eq!(bucket.take(at_ms(k * 500), ALLOWANCE), Passage::Pass, "{k}");
        }
    }

    #[test]
    fn what_is_put_back_can_be_taken_again() {
        let mut bucket = Bucket::default();
        let now = at_ms(10_000);
        for _ in 0..3 {
            assert_eq!(bucket.take(now, ALLOWANCE), Passage::Pass);
        }
        bucket.put_back(ALLOWANCE);
        assert_eq!(bucket.take(now, ALLOWANCE), Passage::Pass);
        assert_ne!(bucket.take(now, ALLOWANCE), Passage::Pass);
        // Never more than the burst, however much is put back.
        for _ in 0..50 {
            bucket.put_back(ALLOWANCE);
        }
        for _ in 0..3 {
            assert_eq!(bucket.take(now, ALLOWANCE), Passage::Pass);
        }
        assert_ne!(bucket.take(now, ALLOWANCE), Passage::Pass);
    }

    #[test]
    fn the_most_within_a_window() {
        assert_eq!(ALLOWANCE.within(Duration::from_secs(60)), 123);
        assert_eq!(ALLOWANCE.within(Duration::from_secs(10)), 23);
    }
}
