//! What the engine remembers over a restart, for those who keep it and show it.

use ipnet::IpNet;

use super::Pipeline;
use crate::words::clock::Now;
use crate::words::identity::KeyHash;
use crate::words::key::{KeyMemo, KeyTransition};
use crate::words::memo::{Memo, PairMemo};

impl Pipeline {
    /// Gives the engine back what an earlier one remembered. To be called once, before the first
    /// request.
    pub fn recall(&self, now: Now, memos: &[Memo]) {
        self.engine.lock().recall(now, memos);
    }

    /// What there is to remember since the last call, and the keys whose state changed. Every
    /// change is in these memos or in earlier ones.
    #[must_use]
    pub fn drain(&self, now: Now) -> (Vec<Memo>, Vec<(KeyHash, KeyTransition)>) {
        let mut engine = self.engine.lock();
        (engine.drain_memos(now), engine.drain_transitions(now))
    }

    /// The keys whose state changed since the last call, while nothing can be remembered.
    #[must_use]
    pub fn drain_transitions(&self, now: Now) -> Vec<(KeyHash, KeyTransition)> {
        let mut engine = self.engine.lock();
        engine.look_again(now);
        engine.drain_transitions(now)
    }

    /// Every key whose reputation is remembered.
    #[must_use]
    pub fn keys(&self, now: Now) -> Vec<KeyMemo> {
        self.engine.lock().keys(now)
    }

    /// The credentials that are refused from an address now.
    #[must_use]
    pub fn held_pairs(&self, now: Now) -> Vec<PairMemo> {
        self.engine.lock().held_pairs(now)
    }

    /// Lets those at addresses of these networks through again; returns how many.
    pub fn release_pairs(&self, now: Now, networks: &[IpNet]) -> usize {
        let mut engine = self.engine.lock();
        (networks.iter())
            .map(|network| engine.release_pairs(now, network))
            .sum()
    }

    /// Forgets what a key earned.
    pub fn forgive(&self, now: Now, key: KeyHash, reason: &str) {
        self.engine.lock().forgive(now, key, reason);
    }
}
