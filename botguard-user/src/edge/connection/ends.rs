//! How a connection learns that its listener is shut, and that the drain after it is over.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::edge::connections::{Connections, Live};

/// What ends a connection from outside, but for its abort.
pub(super) struct Ends {
    shutdown: CancellationToken,
    over: CancellationToken,
}

impl Ends {
    /// Of a connection whose listener is shut with `shutdown`.
    pub(super) fn new(shutdown: CancellationToken, connections: &Connections) -> Self {
        Self {
            shutdown,
            over: connections.over().clone(),
        }
    }

    /// Cancelled when the drain is over: what is left is to be closed in order.
    pub(super) const fn over(&self) -> &CancellationToken {
        &self.over
    }

    /// Ends when the connection is to take no further request. A client that has just connected is
    /// answered once: it would take an end before the first answer for a failure, and could not know
    /// that it may try again.
    pub(super) async fn drain_begins(&self, live: &Live) {
        self.shutdown.cancelled().await;
        // Looked at whenever the connection was polled, which is when requests begin.
        let begun = poll_fn(|_context| match live.has_begun() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        });
        tokio::select! {
            () = self.over.cancelled() => {}
            _begun_or_silent = timeout(LAST_WORD, begun) => {}
        }
    }

    /// Ends a while after the listener was shut: who came before it is still served.
    pub(super) async fn last_word(&self) {
        self.shutdown.cancelled().await;
        tokio::select! {
            () = self.over.cancelled() => {}
            () = sleep(LAST_WORD) => {}
        }
    }
}

/// How long a client that has connected may take to shake hands, and to ask for something, once the
/// listener is shut.
const LAST_WORD: Duration = Duration::from_secs(1);
