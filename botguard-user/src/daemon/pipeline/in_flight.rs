//! The requests that have not ended, oldest first, so that one which lasts gets its record while
//! somebody still wants to read it. Bounded by the edge's limits on connections and streams.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::ticket::InFlight;
use crate::words::clock::Monotonic;

/// A request that lasts longer is recorded before its end.
const LASTING: Duration = Duration::from_secs(60);

/// All requests between admission and end.
#[derive(Debug, Default)]
pub(super) struct Requests(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// By the order of admission.
    requests: BTreeMap<u64, Arc<InFlight>>,
    next: u64,
    /// Those below have been handed out by [`Requests::lasting`].
    handed_out: u64,
}

/// Whether a request's record was written before its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Recorded {
    /// Not yet.
    No,
    /// As a partial one.
    Partially,
}

impl Requests {
    /// Enters a request; its number is for [`Self::end`].
    pub(super) fn begin(&self, request: Arc<InFlight>) -> u64 {
        let mut inner = self.0.lock();
        let number = inner.next;
        inner.next += 1;
        inner.requests.insert(number, request);
        number
    }

    /// Takes a request out, and says whether [`Self::lasting`] has handed it out.
    pub(super) fn end(&self, number: u64) -> Recorded {
        let mut inner = self.0.lock();
        inner.requests.remove(&number);
        if number < inner.handed_out {
            Recorded::Partially
        } else {
            Recorded::No
        }
    }

    /// Requests that have lasted for 60 s by `now`; each is handed out once.
    pub(super) fn lasting(&self, now: Monotonic) -> Vec<Arc<InFlight>> {
        let mut inner = self.0.lock();
        let from = inner.handed_out;
        let lasting: Vec<_> = (inner.requests.range(from..))
            .take_while(|(_, request)| now.since(request.decided()) >= LASTING)
            .map(|(number, request)| (*number, Arc::clone(request)))
            .collect();
        if let Some((last, _)) = lasting.last() {
            inner.handed_out = last + 1;
        }
        lasting.into_iter().map(|(_, request)| request).collect()
    }
}
