//! Whether the credentials from one address come back, as those of people and programs do, or each
//! comes once, as those that somebody makes up.

use std::time::Duration;

use super::window::Window;
use crate::engine::weights;
use crate::words::clock::Monotonic;

/// Accepted requests with credentials from one address in the last minute.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Churn {
    requests: Window<7>,
    newcomers: Window<7>,
}

/// Whether a credential was accepted from the address before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Arrival {
    New,
    Known,
}

/// How credentials come and go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Turnover {
    /// They are few, or they come back.
    Settled,
    /// Ever new ones, hardly any twice.
    Churning,
}

const WIDTH: Duration = Duration::from_secs(10);

impl Churn {
    /// Notes an accepted request with a credential.
    pub(crate) fn note(&mut self, now: Monotonic, arrival: Arrival) -> Turnover {
        self.requests.add(now, WIDTH);
        if arrival == Arrival::New {
            self.newcomers.add(now, WIDTH);
        }
        match self.churning(now) {
            Some(_) => Turnover::Churning,
            None => Turnover::Settled,
        }
    }

    /// New credentials in the last minute, if they churn.
    pub(crate) fn churning(&self, now: Monotonic) -> Option<u32> {
        let newcomers = self.newcomers.count(now, WIDTH);
        let requests = self.requests.count(now, WIDTH);
        let hardly_any_twice = 2 * u64::from(requests) < 3 * u64::from(newcomers);
        (u64::from(newcomers) > weights::NEWCOMERS.from && hardly_any_twice).then_some(newcomers)
    }
}
