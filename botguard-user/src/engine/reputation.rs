//! What a key earned over hours, days and a week, and the state that follows from it.
//!
//! Reputation is the share of a key's accepted requests that reached a threshold, each weighed by
//! its score, in sums that fall by half in an hour, a day and a week; the worst of the three
//! counts, the week a little less. Only requests where decisions are carried out are counted, and
//! only those from addresses that the upstream accepted the key from: what others send with it
//! moves nothing.
//!
//! A state is left only well below the threshold that led to it, and not before some minutes. While
//! somebody good uses the key, it is watched at most: then the pairs are at fault and not the key.
//! A key is suspended only for what it kept up over several hours, and only where its tier lets
//! reputation do so.

use std::sync::Arc;
use std::time::Duration;

use super::fresh::Fresh;
use super::policy::reputation::{ReputationSettings, Suspension};
use super::table::ClockTable;
use crate::words::clock::{Monotonic, Now, WallOffset};
use crate::words::identity::{KeyHash, KeyIdentity};
use crate::words::key::{KeyMemo, KeyState, KeyTransition, SPANS};
use crate::words::points::Points;

mod decay;
mod key;

use key::{Change, GOOD_WINDOW, Key, Name, octets};

/// All keys that the upstream ever accepted, at most as many as the capacity.
pub(crate) struct Keys {
    table: ClockTable<[u8; 16], Key>,
    /// Keys whose state is not `ok`: looked at again though they send nothing.
    raised: Vec<[u8; 16]>,
    /// Keys to be remembered, since the last call of [`Keys::drain`].
    fresh: Fresh<[u8; 16]>,
    transitions: Vec<(KeyHash, Change)>,
}

/// One accepted request, as far as its key's reputation goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample<'a> {
    pub(crate) key: &'a KeyIdentity,
    /// The score if it reached a threshold, else zero.
    pub(crate) suspicion: Points,
    /// Whether reputation may suspend the key.
    pub(crate) suspension: Suspension,
}

/// A key that goes on is remembered once in this time, and at once when its state changes.
const KEEP_EVERY: Duration = Duration::from_secs(60);

impl Keys {
    pub(crate) fn new(capacity: u32) -> Self {
        Self {
            table: ClockTable::new(capacity),
            raised: Vec::new(),
            fresh: Fresh::new(capacity),
            transitions: Vec::new(),
        }
    }

    /// The key's state.
    pub(crate) fn state(&self, key: KeyHash) -> KeyState {
        self.table
            .find(&octets(key))
            .map_or(KeyState::Ok, |key| key.state)
    }

    /// Notes that a good client uses the key.
    pub(crate) fn note_good(
        &mut self,
        now: Monotonic,
        key: KeyHash,
        tag: u64,
        settings: &ReputationSettings,
    ) {
        let id = octets(key);
        if let Some(key) = self.table.find_mut(&id) {
            key.good.note(now, tag);
            if key.state > KeyState::Watch {
                self.settle(id, now, settings);
            }
        }
    }

    /// Notes that it is good no longer.
    pub(crate) fn note_suspect(&mut self, key: KeyHash, tag: u64) {
        if let Some(key) = self.table.find_mut(&octets(key)) {
            key.good.forget(tag);
        }
    }

    /// Counts one request.
    pub(crate) fn count(
        &mut self,
        now: Monotonic,
        sample: &Sample<'_>,
        settings: &ReputationSettings,
    ) {
        let id = octets(sample.key.hash);
        let key = self.table.entry(id);
        if key.name.is_none() {
            key.name = Some(Name {
                public_id: Arc::clone(&sample.key.public_id),
                shown: Arc::clone(&sample.key.shown),
                tier: sample.key.tier.clone(),
            });
            key.since = now;
        }
        key.suspension = Some(sample.suspension);
        for (span, half_life) in key.spans.iter_mut().zip(SPANS) {
            span.add(now, half_life, sample.suspicion);
        }
        self.settle(id, now, settings);
        let Some(key) = self.table.find_mut(&id) else {
            return;
        };
        let is_due = key.kept.is_none_or(|kept| now.since(kept) >= KEEP_EVERY);
        if is_due && !key.is_queued {
            key.is_queued = true;
            self.note_fresh(id);
        }
    }

    fn note_fresh(&mut self, id: [u8; 16]) {
        let table = &self.table;
        self.fresh.push(id, |id| table.find(id).is_some());
    }

    /// Looks again at all keys that are not `ok`: time alone mends them.
    pub(crate) fn tick(&mut self, now: Monotonic, settings: &ReputationSettings) {
        let raised = std::mem::take(&mut self.raised);
        for id in &raised {
            // A flood of other keys frees none.
            self.table.hold(id);
            self.settle(*id, now, settings);
        }
        self.raised.extend(raised);
        self.raised.sort_unstable();
        self.raised.dedup();
        let table = &self.table;
        self.raised
            .retain(|id| table.find(id).is_some_and(|key| key.state != KeyState::Ok));
    }

    /// Forgets what it earned.
    pub(crate) fn forgive(&mut self, now: Monotonic, hash: KeyHash, reason: &str) {
        let id = octets(hash);
        let Some(key) = self.table.find_mut(&id) else {
            return;
        };
        key.spans = Default::default();
        key.bad_hours = 0;
        let change = Change {
            at: now,
            from: key.state,
            to: KeyState::Ok,
            reputation: None,
            reason: reason.to_owned(),
        };
        self.change(id, change);
    }

    /// Brings a key's state to what its reputation says.
    fn settle(&mut self, id: [u8; 16], now: Monotonic, settings: &ReputationSettings) {
        let Some(key) = self.table.find_mut(&id) else {
            return;
        };
        let reputation = key.reputation(now, settings);
        let Some(to) = key.next_state(now, reputation, settings) else {
            return;
        };
        let change = Change {
            at: now,
            from: key.state,
            to,
            reputation: Some(reputation),
            reason: format!(
                "reputation {reputation}, high in {} hours of the last 24, {} good clients of the last \
                 day",
                key.n_bad_hours(now),
                key.good.count(now, GOOD_WINDOW),
            ),
        };
        self.change(id, change);
    }

    fn change(&mut self, id: [u8; 16], change: Change) {
        let Some(key) = self.table.find_mut(&id) else {
            return;
        };
        key.state = change.to;
        key.since = change.at;
        if key.history.len() == KeyMemo::MAX_HISTORY {
            key.history.remove(0);
        }
        key.history.push(change.clone());
        let is_queued = std::mem::replace(&mut key.is_queued, true);
        if change.to != KeyState::Ok {
            self.raised.push(id);
        }
        if !is_queued {
            self.note_fresh(id);
        }
        if self.transitions.len() < MOST_TRANSITIONS {
            let hash = KeyHash(u128::from_be_bytes(id));
            self.transitions.push((hash, change));
        }
    }

    /// Changes of state since the last call.
    pub(crate) fn drain_transitions(
        &mut self,
        offset: WallOffset,
    ) -> Vec<(KeyHash, KeyTransition)> {
        std::mem::take(&mut self.transitions)
            .into_iter()
            .map(|(hash, change)| (hash, change.transition(offset)))
            .collect()
    }

    /// What changed since the last call.
    pub(crate) fn drain(&mut self, now: Monotonic, offset: WallOffset) -> Vec<KeyMemo> {
        let mut fresh = self.fresh.take();
        fresh.sort_unstable();
        fresh.dedup();
        fresh
            .into_iter()
            .filter_map(|id| {
                let key = self.table.find_mut(&id)?;
                key.is_queued = false;
                key.kept = Some(now);
                key.memo(id, now, offset)
            })
            .collect()
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.fresh.len()
    }

    /// Every key.
    pub(crate) fn all(&self, now: Monotonic, offset: WallOffset) -> Vec<KeyMemo> {
        (self.table.iter())
            .filter_map(|(id, key)| key.memo(*id, now, offset))
            .collect()
    }

    pub(crate) fn recall(&mut self, now: Now, memo: &KeyMemo) {
        let id = octets(memo.hash);
        let key = self.table.entry(id);
        *key = Key::recalled(memo, now);
        if key.state != KeyState::Ok {
            self.raised.push(id);
        }
    }
}

/// More between two calls are more than anybody reads; the memos have them all.
const MOST_TRANSITIONS: usize = 1_024;

#[cfg(test)]
mod tests;
