//! How many requests a target may have at a time. Nobody waits here; `queue` is for that.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::http2::MAX_STREAMS;

/// The places of one target, where `max_connections` is set.
pub(super) struct Places {
    max_connections: usize,
    http1: Count,
    http2: Count,
}

/// What a place is on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// A connection of its own.
    Http1,
    /// A stream.
    Http2,
}

struct Count {
    taken: AtomicUsize,
    limit: AtomicUsize,
}

impl Places {
    pub(super) fn new(max_connections: u32) -> Self {
        let max_connections = max_connections as usize;
        let count = |limit| Count {
            taken: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
        };
        Self {
            max_connections,
            http1: count(max_connections),
            http2: count(max_connections.saturating_mul(MAX_STREAMS as usize)),
        }
    }

    /// One more is taken, if one is free.
    pub(super) fn take(&self, kind: Kind) -> bool {
        let Count { taken, limit } = self.count(kind);
        let limit = limit.load(Ordering::Relaxed);
        // In one order with the queue's length: whoever waits has either seen a place that is given
        // back, or is seen by whoever gives it.
        let taken = taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |taken| {
            (taken < limit).then_some(taken + 1)
        });
        taken.is_ok()
    }

    /// One fewer is taken.
    pub(super) fn give_back(&self, kind: Kind) {
        self.count(kind).taken.fetch_sub(1, Ordering::SeqCst);
    }

    /// An HTTP/2 connection carries so many requests.
    pub(super) fn set_streams(&self, n_streams: usize) {
        let limit = self.max_connections.saturating_mul(n_streams);
        self.http2.limit.store(limit, Ordering::Relaxed);
    }

    const fn count(&self, kind: Kind) -> &Count {
        match kind {
            Kind::Http1 => &self.http1,
            Kind::Http2 => &self.http2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_limit() {
        let places = Places::new(2);
        let check = |kind, expected: usize| {
            let taken = (0..1_000).take_while(|_| places.take(kind)).count();
            assert_eq!(taken, expected, "{kind:?}");
        };
        check(Kind::Http1, 2);
        check(Kind::Http2, 200);
        places.give_back(Kind::Http1);
        check(Kind::Http2, 0);
        check(Kind::Http1, 1);
        // The application takes fewer on each connection, then as many again.
        places.set_streams(10);
        places.give_back(Kind::Http2);
        check(Kind::Http2, 0);
        places.set_streams(100);
        check(Kind::Http2, 1);
    }
}
