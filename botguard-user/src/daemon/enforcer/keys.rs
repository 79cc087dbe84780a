//! What the operator decided about keys: asked once a request, durable before a command says done.
//! What a ruling does to a request is the engine's business.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::Enforcer;
use super::operator::{OperatorError, durable};
use crate::store::Change;
use crate::words::clock::{Step, Wall};
use crate::words::identity::KeyHash;
use crate::words::key::{KeyOverride, KeyRuling};

/// The overrides in force, those that have ended and were not collected yet among them.
#[derive(Debug)]
pub(super) struct Overrides {
    live: ArcSwap<ByKey>,
    /// Held by whoever changes them until the store has been told, so that both see the same order.
    changing: Mutex<()>,
}

type ByKey = HashMap<KeyHash, KeyOverride>;

impl Overrides {
    pub(super) fn new(overrides: Vec<KeyOverride>) -> Self {
        let by_key = overrides.into_iter().map(|set| (set.hash, set));
        Self {
            live: ArcSwap::from_pointee(by_key.collect()),
            changing: Mutex::default(),
        }
    }

    /// Moves the ends with a clock that was stepped. Returns what the store is to be told.
    pub(super) fn shift_ends(&self, step: Step) -> Vec<Change> {
        let _changing = self.changing.lock();
        let mut by_key = ByKey::clone(&self.live.load());
        for set in by_key.values_mut() {
            set.until = set.until.map(|until| until.shifted(step));
        }
        self.live.store(Arc::new(by_key));
        self.with_ends()
    }

    /// Those that end by themselves.
    pub(super) fn with_ends(&self) -> Vec<Change> {
        let live = self.live.load();
        let ending = live.values().filter(|set| set.until.is_some());
        ending.cloned().map(Change::PutOverride).collect()
    }
}

/// Some 20 MiB.
const MAX_OVERRIDES: usize = 65_536;

impl Enforcer {
    /// What the operator decided about a key, as the engine is told with each of its requests.
    #[must_use]
    pub fn ruling(&self, key: KeyHash, now: Wall) -> KeyRuling {
        let overrides = self.overrides.live.load();
        let set = overrides.get(&key).filter(|set| set.is_live(now));
        set.map_or_else(KeyRuling::default, |set| set.ruling)
    }

    /// The override of a key, if one is in force.
    #[must_use]
    pub fn key_override(&self, key: KeyHash, now: Wall) -> Option<KeyOverride> {
        let overrides = self.overrides.live.load();
        overrides.get(&key).filter(|set| set.is_live(now)).cloned()
    }

    /// All overrides in force.
    #[must_use]
    pub fn key_overrides(&self, now: Wall) -> Vec<KeyOverride> {
        let overrides = self.overrides.live.load();
        let live = overrides.values().filter(|set| set.is_live(now));
        live.cloned().collect()
    }

    /// How many overrides there are.
    #[must_use]
    pub fn n_key_overrides(&self) -> usize {
        self.overrides.live.load().len()
    }

    /// Puts an override in force, in place of the key's earlier one.
    pub fn set_override(&self, set: KeyOverride) -> Result<(), OperatorError> {
        let changing = self.overrides.changing.lock();
        let mut by_key = ByKey::clone(&self.overrides.live.load());
        if by_key.len() >= MAX_OVERRIDES && !by_key.contains_key(&set.hash) {
            return Err(OperatorError::TooManyOverrides {
                limit: MAX_OVERRIDES,
            });
        }
        by_key.insert(set.hash, set.clone());
        self.overrides.live.store(Arc::new(by_key));
        let receipt = self.submit(vec![Change::PutOverride(set)]);
        drop(changing);
        durable(receipt)
    }

    /// Lifts the override of a key. Returns whether there was one.
    pub fn clear_override(&self, key: KeyHash) -> Result<bool, OperatorError> {
        let changing = self.overrides.changing.lock();
        let mut by_key = ByKey::clone(&self.overrides.live.load());
        if by_key.remove(&key).is_none() {
            return Ok(false);
        }
        self.overrides.live.store(Arc::new(by_key));
        let receipt = self.submit(vec![Change::DeleteOverride(key)]);
        drop(changing);
        durable(receipt).map(|()| true)
    }

    /// Takes out the overrides that have ended, everywhere, and returns them.
    pub fn expire_overrides(&self, now: Wall) -> Vec<KeyOverride> {
        if self
            .overrides
            .live
            .load()
            .values()
            .all(|it| it.is_live(now))
        {
            return Vec::new();
        }
        let _changing = self.overrides.changing.lock();
        let all = ByKey::clone(&self.overrides.live.load());
        let (live, ended): (ByKey, ByKey) = all.into_iter().partition(|(_, set)| set.is_live(now));
        self.overrides.live.store(Arc::new(live));
        for key in ended.keys() {
            if let Err(error) = self.queue(Change::DeleteOverride(*key)) {
                // It is deleted at the next start, where it has ended as well.
                tracing::debug!(%error, "ended key override stays in the store");
            }
        }
        ended.into_values().collect()
    }
}
