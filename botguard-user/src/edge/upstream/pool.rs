//! Connections to one address that are kept for further requests: HTTP/1.1 ones while they have
//! none, HTTP/2 ones while they have room. Makes none; `connect` does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use parking_lot::Mutex;

use super::http2::{Sharing, Stream};
use super::transfer::RequestBody;
use crate::words::clock::Monotonic;

/// The connections that are kept.
pub(super) struct Pool {
    /// How long one may be without a request.
    keep_idle: Duration,
    /// How many HTTP/1.1 ones are kept.
    keep_connections: usize,
    /// The longest idle first.
    idle: Mutex<Vec<Idle>>,
    shared: Mutex<Vec<Shared>>,
    /// Whether none is kept any more; looked at under the locks.
    is_closed: AtomicBool,
}

struct Idle {
    sender: http1::SendRequest<RequestBody>,
    since: Monotonic,
}

struct Shared {
    sender: http2::SendRequest<RequestBody>,
    sharing: Arc<Sharing>,
}

impl Shared {
    fn is_of_use(&self, keep_idle: Duration, now: impl FnOnce() -> Monotonic) -> bool {
        !self.sender.is_closed()
            && !self.sharing.is_retired()
            && !self.sharing.is_idle_for(keep_idle, now)
    }
}

impl Pool {
    pub(super) fn new(keep_idle: Duration, keep_connections: usize) -> Self {
        Self {
            keep_idle,
            keep_connections,
            idle: Mutex::new(Vec::new()),
            shared: Mutex::new(Vec::new()),
            is_closed: AtomicBool::new(false),
        }
    }

    /// HTTP/1.1 connections that have no request.
    pub(super) fn n_idle(&self) -> usize {
        self.idle.lock().len()
    }

    /// Lets others join a new HTTP/2 connection.
    pub(super) fn share(&self, stream: &Stream) {
        let mut shared = self.shared.lock();
        if !self.is_closed.load(Ordering::Relaxed) {
            shared.push(Shared {
                sender: stream.sender.clone(),
                sharing: Arc::clone(stream.sharing()),
            });
        }
    }

    /// A part of an HTTP/2 connection that has room.
    pub(super) fn join(&self) -> Option<Stream> {
        let mut shared = self.shared.lock();
        shared.retain(|shared| shared.is_of_use(self.keep_idle, Monotonic::read));
        (shared.iter()).find_map(|shared| Stream::join(&shared.sender, &shared.sharing))
    }

    /// The HTTP/1.1 connection that was in use last, if it is still open.
    pub(super) fn take(&self, now: Monotonic) -> Option<http1::SendRequest<RequestBody>> {
        let mut idle = self.idle.lock();
        for place in (0..idle.len()).rev() {
            let connection = idle.get(place)?;
            if now.since(connection.since) > self.keep_idle {
                // Those before it have been idle for longer.
                idle.drain(..=place);
                return None;
            }
            if connection.sender.is_closed() {
                idle.remove(place);
            } else if connection.sender.is_ready() {
                return Some(idle.remove(place).sender);
            }
            // Else hyper has not noticed yet that its request is over.
        }
        None
    }

    /// Keeps an HTTP/1.1 connection whose response has ended.
    pub(super) fn keep(&self, sender: http1::SendRequest<RequestBody>) {
        if sender.is_closed() {
            return;
        }
        let since = Monotonic::read();
        let mut idle = self.idle.lock();
        let is_closed = self.is_closed.load(Ordering::Relaxed);
        if idle.len() < self.keep_connections && !is_closed {
            idle.push(Idle { sender, since });
        }
    }

    /// Closes all that have no request, and keeps none from now on: an HTTP/2 one ends with the last
    /// of its requests.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.idle.lock().clear();
        self.shared.lock().clear();
    }

    /// Closes connections that were idle for too long, and forgets those that are closed.
    pub(super) fn sweep(&self, now: Monotonic) {
        let mut idle = self.idle.lock();
        idle.retain(|connection| {
            !connection.sender.is_closed() && now.since(connection.since) <= self.keep_idle
        });
        drop(idle);
        let mut shared = self.shared.lock();
        // Under the lock, so that none joins meanwhile.
        shared.retain(|shared| shared.is_of_use(self.keep_idle, || now));
    }
}
