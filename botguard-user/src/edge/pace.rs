//! How long a client may keep others waiting for the body of its request: the third form of
//! slowloris. Only the time that is waited for the client counts, not the upstream's; and only
//! until the response begins, since streams in both directions may be silent after that.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::listener::BodyLimits;
use crate::words::clock::Monotonic;

/// The waiting for one body.
pub(super) struct Pace {
    allowance: Allowance,
    /// Since when, and for how long at most.
    waiting: Option<(Monotonic, Pin<Box<Sleep>>)>,
}

impl Pace {
    pub(super) const fn new(limits: BodyLimits) -> Self {
        Self {
            allowance: Allowance {
                limits,
                waited: Duration::ZERO,
                bytes: 0,
            },
            waiting: None,
        }
    }

    /// So many more bytes came.
    pub(super) fn arrived(&mut self, bytes: usize) {
        self.allowance.bytes += bytes as u64;
        if let Some((since, _)) = self.waiting.take() {
            self.allowance.waited += Monotonic::read().since(since);
        }
    }

    /// Ready when they have been waited for too long.
    pub(super) fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (_, wait) = self.waiting.get_or_insert_with(|| {
            let longest = self.allowance.longest_wait();
            (Monotonic::read(), Box::pin(sleep(longest)))
        });
        wait.as_mut().poll(cx)
    }
}

/// The rule, without a clock.
struct Allowance {
    limits: BodyLimits,
    waited: Duration,
    bytes: u64,
}

impl Allowance {
    /// `timeout`, and together no more than `timeout` beyond what the bytes would have taken at the
    /// least rate.
    fn longest_wait(&self) -> Duration {
        let BodyLimits { timeout, min_rate } = self.limits;
        let earned = self.bytes.saturating_mul(1_000) / min_rate.max(1);
        timeout
            .saturating_add(Duration::from_millis(earned))
            .saturating_sub(self.waited)
            .min(timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_earned_by_bytes() {
        let check = |bytes: u64, waited: u64, expected: u64| {
            let allowance = Allowance {
                limits: BodyLimits {
                    timeout: Duration::from_secs(10),
                    min_rate: 500,
                },
                waited: Duration::from_secs(waited),
                bytes,
            };
            let expected = Duration::from_secs(expected);
            assert_eq!(allowance.longest_wait(), expected, "{bytes} {waited}");
        };
        check(0, 0, 10);
        check(0, 4, 6);
        check(0, 11, 0);
        check(500, 10, 1);
        check(5_000, 10, 10);
        check(u64::MAX, 1_000_000, 10);
        // One byte every nine seconds.
        check(2, 18, 0);
    }
}
