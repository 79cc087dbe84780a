//! Whether the credentials from one address come back, as those of people and programs do, or each
//! comes once, as those that somebody makes up.
//!
//! People who arrive together look alike for some seconds: each is new. So those count who have had
//! time to come back; and a crowd of people has many kinds of browsers, which one program has not.

use std::time::Duration;

use super::window::Window;
use crate::engine::weights;
use crate::words::clock::Monotonic;

/// Accepted requests with credentials from one address in the last minute or so.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Churn {
    newcomers: Window<7>,
    /// Credentials that were accepted a second time.
    second_timers: Window<7>,
    /// What the newcomers of this minute looked like, in part.
    fingerprints: [u32; MOST_ALIKE],
    n_fingerprints: u8,
    minute: u32,
}

/// Whether a credential was accepted from the address before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Arrival {
    New,
    Second,
    Known,
}

/// How credentials come and go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Turnover {
    /// They are few, they come back, or they are of many kinds.
    Settled,
    /// Ever new ones of few kinds, and hardly any comes back.
    Churning,
}

const WIDTH: Duration = Duration::from_secs(10);

/// Newcomers have this long to come back.
const TIME_TO_RETURN: Duration = Duration::from_secs(20);

/// More kinds of clients than this are a crowd.
const MOST_ALIKE: usize = 4;

impl Churn {
    /// Notes an accepted request with a credential.
    pub(crate) fn note(&mut self, now: Monotonic, arrival: Arrival, fingerprint: u64) -> Turnover {
        match arrival {
            Arrival::New => {
                self.newcomers.add(now, WIDTH);
                self.note_kind(now, fingerprint);
            }
            Arrival::Second => self.second_timers.add(now, WIDTH),
            Arrival::Known => {}
        }
        match self.churning(now) {
            Some(_) => Turnover::Churning,
            None => Turnover::Settled,
        }
    }

    /// New credentials in the last minute, if they churn.
    pub(crate) fn churning(&self, now: Monotonic) -> Option<u32> {
        let since_boot = now.since(Monotonic::default());
        let earlier = Monotonic::from_boot(since_boot.saturating_sub(TIME_TO_RETURN));
        let could_have_returned = u64::from(self.newcomers.count(earlier, WIDTH));
        let returned = u64::from(self.second_timers.count(now, WIDTH));
        let is_churning = could_have_returned > weights::NEWCOMERS.from
            && 2 * returned < could_have_returned
            && usize::from(self.n_fingerprints) <= MOST_ALIKE;
        is_churning.then(|| self.newcomers.count(now, WIDTH))
    }

    /// Counts kinds, up to one more than [`MOST_ALIKE`].
    fn note_kind(&mut self, now: Monotonic, fingerprint: u64) {
        let minute = u32::try_from(now.as_ms() / 60_000).unwrap_or(u32::MAX);
        if minute != self.minute {
            self.minute = minute;
            self.n_fingerprints = 0;
        }
        // Half of a hash tells kinds apart as well.
        let kind = u32::try_from(fingerprint >> 32).unwrap_or(u32::MAX);
        let known = &self.fingerprints[..usize::from(self.n_fingerprints).min(MOST_ALIKE)];
        if known.contains(&kind) {
            return;
        }
        if let Some(place) = self.fingerprints.get_mut(usize::from(self.n_fingerprints)) {
            *place = kind;
        }
        self.n_fingerprints = self.n_fingerprints.saturating_add(1);
    }
}
