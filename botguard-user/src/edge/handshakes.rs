//! How many handshakes go on at one listener. Each has its own count, so that a flood of them at one
//! shuts nobody out of another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The handshakes of a listener that are going on, over its reloads.
#[derive(Debug, Default)]
pub(super) struct Handshakes(AtomicUsize);

impl Handshakes {
    /// A place for one more while it is kept, unless `limit` are going on already.
    pub(super) fn begin(self: &Arc<Self>, limit: usize) -> Option<HandshakePlace> {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        let place = HandshakePlace(Arc::clone(self));
        (before < limit).then_some(place)
    }
}

/// A handshake that is going on. Given back when dropped.
#[derive(Debug)]
pub(super) struct HandshakePlace(Arc<Handshakes>);

impl Drop for HandshakePlace {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_are_bounded() {
        let handshakes = Arc::new(Handshakes::default());
        let first = handshakes.begin(1).unwrap();
        assert!(handshakes.begin(1).is_none());
        drop(first);
        assert!(handshakes.begin(1).is_some());
    }
}
