//! Responses of HTTP/2 that their clients take nothing of: a window that is never opened keeps a
//! body waiting inside h2, where no socket tells of it. So each body says since when, and how much,
//! its client owes, and the connection's task looks after them.
//!
//! A response that is let go is finished: recorded, weighed, its ban proposed, its place at the
//! upstream given back. The stream is reset when the client comes to read after all; the connection
//! and its other streams stay.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;

use super::body::Open;
use crate::words::clock::Monotonic;

/// The responses under way on one connection.
#[derive(Debug, Default)]
pub(super) struct Responses(Mutex<Vec<Weak<Mutex<Open>>>>);

/// What a client has been handed and not yet taken, as far as is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owed {
    pub(super) since: Monotonic,
    pub(super) bytes: usize,
}

impl Owed {
    /// Whether a client that takes it at the least rate would be done, and `patience` over.
    fn is_overdue(self, now: Monotonic, patience: Duration) -> bool {
        let at_least_rate = Duration::from_secs(self.bytes as u64 / LEAST_BYTES_A_SECOND);
        now.since(self.since) > patience.saturating_add(at_least_rate)
    }
}

impl Responses {
    /// One more.
    pub(super) fn enter(&self, response: &Arc<Mutex<Open>>) {
        let mut responses = self.0.lock();
        if responses.len() >= SWEPT_AT {
            responses.retain(|response| response.strong_count() > 0);
        }
        responses.push(Arc::downgrade(response));
    }

    /// Lets those go that nothing is taken of, for ever; to be dropped with the connection.
    pub(super) async fn look_after(&self, patience: Duration) {
        loop {
            sleep(patience).await;
            self.let_go(Monotonic::read(), patience);
        }
    }

    fn let_go(&self, now: Monotonic, patience: Duration) {
        let mut gone = Vec::new();
        self.0.lock().retain(|response| {
            let Some(response) = response.upgrade() else {
                return false;
            };
            let mut open = response.lock();
            match open.owed {
                Some(owed) if owed.is_overdue(now, patience) => gone.push(open.let_go()),
                _ => return true,
            }
            false
        });
        for response in gone {
            metrics::counter!("botguard_http_errors_total", "kind" => "unread").increment(1);
            // Outside of the locks: it is finished here.
            drop(response);
        }
    }
}

/// Slower than any link that a page could be used over; the default `min_body_rate` of requests.
const LEAST_BYTES_A_SECOND: u64 = 500;

/// Twice the streams that a connection may have.
const SWEPT_AT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_clients_have_their_time() {
        let check = |bytes, seconds, expected| {
            let since = Monotonic::from_boot(Duration::from_secs(100));
            let now = since.after(Duration::from_secs(seconds));
            let overdue = Owed { since, bytes }.is_overdue(now, Duration::from_secs(60));
            assert_eq!(overdue, expected, "{bytes} bytes, {seconds} s");
        };
        check(0, 60, false);
        check(0, 61, true);
        check(50_000, 61, false);
        check(50_000, 160, false);
        check(50_000, 161, true);
    }
}
