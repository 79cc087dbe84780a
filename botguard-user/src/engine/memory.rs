//! What the engine remembers beyond a restart, on its way out and back in.

use ipnet::IpNet;

use super::Engine;
use crate::words::clock::Now;
use crate::words::identity::KeyHash;
use crate::words::key::{KeyMemo, KeyTransition};
use crate::words::memo::{Memo, PairMemo};

impl Engine {
    /// Looks again at keys that are not well: time alone mends them. [`Self::drain_memos`] does so
    /// too; this is for when nothing can be remembered.
    pub fn look_again(&mut self, now: Now) {
        (self.keys).tick(now.monotonic, self.policy.reputation());
    }

    /// What there is to remember since the last call, of what a restart must not lose.
    ///
    /// To be called every second or so, and at the end.
    #[must_use]
    pub fn drain_memos(&mut self, now: Now) -> Vec<Memo> {
        self.keys.tick(now.monotonic, self.policy.reputation());
        let offset = now.offset();
        let keys = self.keys.drain(now.monotonic, offset).into_iter();
        let sources = self.sources.drain(offset).into_iter();
        let pairs = self.pairs.drain(offset).into_iter();
        (keys.map(|key| Memo::Key(Box::new(key))))
            .chain(sources.map(Memo::Source))
            .chain(pairs.map(Memo::Pair))
            .collect()
    }

    /// Remembers what an earlier engine handed out. To be called once, before the first request.
    pub fn recall(&mut self, now: Now, memos: &[Memo]) {
        for memo in memos {
            match memo {
                Memo::Key(key) => self.keys.recall(now, key),
                Memo::Source(source) => self.sources.recall(now, source, self.policy.ban()),
                Memo::Pair(pair) => self.pairs.recall(now, pair, self.policy.ban()),
            }
        }
    }

    /// Ends the bans of all pairs at addresses of `network`, as `block del` does; returns how many.
    pub fn release_pairs(&mut self, now: Now, network: &IpNet) -> usize {
        self.pairs.release(network, now.monotonic)
    }

    /// The pairs that are refused now.
    #[must_use]
    pub fn held_pairs(&self, now: Now) -> Vec<PairMemo> {
        self.pairs.held(now.monotonic, now.offset())
    }

    /// How much waits for [`Self::drain_memos`]: keys, sources, pairs.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> [usize; 3] {
        [
            self.keys.waiting(),
            self.sources.waiting(),
            self.pairs.waiting(),
        ]
    }

    /// Every key whose reputation is remembered.
    #[must_use]
    pub fn keys(&self, now: Now) -> Vec<KeyMemo> {
        self.keys.all(now.monotonic, now.offset())
    }

    /// Forgets what a key earned: it is well until it earns something else. For when an operator
    /// resumes it.
    pub fn forgive(&mut self, now: Now, key: KeyHash, reason: &str) {
        self.keys.forgive(now.monotonic, key, reason);
    }

    /// Changes of keys' states since the last call.
    #[must_use]
    pub fn drain_transitions(&mut self, now: Now) -> Vec<(KeyHash, KeyTransition)> {
        self.keys.drain_transitions(now.offset())
    }
}
