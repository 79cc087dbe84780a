//! What the engine remembers, on its way to the store and back. What it means is the engine's
//! business; this side knows only that its times are kept by the clock of the lists' ends.

use ipnet::IpNet;
use parking_lot::Mutex;

use super::Enforcer;
use super::operator::{OperatorError, durable};
use crate::store::journal::Receipt;
use crate::store::memos::{MemoSubject, forgotten, shifted};
use crate::store::{Change, StoreError};
use crate::words::clock::{Monotonic, Now, Step, Wall};
use crate::words::identity::KeyHash;
use crate::words::key::{KeyMemo, KeyState, KeyTransition};
use crate::words::memo::{Memo, PairMemo};

/// What the store remembered when it was opened.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Vec<Memo>>);

impl Memory {
    /// Takes up the memos of the store, by a clock that was stepped meanwhile. Returns what the
    /// store is to be told.
    pub(super) fn start(memos: Vec<Memo>, missed: Option<Step>, now: Wall) -> (Self, Vec<Change>) {
        let mut changes = Vec::new();
        let mut memos = memos;
        if let Some(step) = missed.filter(|_| !memos.is_empty()) {
            memos = memos.into_iter().map(|memo| shifted(memo, step)).collect();
            changes.push(Change::ShiftMemos(step));
        }
        let forgotten: std::collections::BTreeSet<_> = forgotten(&memos, now).into_iter().collect();
        if !forgotten.is_empty() {
            memos.retain(|memo| !forgotten.contains(&MemoSubject::of(memo)));
            changes.push(Change::PruneMemos(now));
        }
        (Self(Mutex::new(memos)), changes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

impl Enforcer {
    /// The present by both clocks, the wall's being the one that ends are kept by.
    #[must_use]
    pub fn present(&self) -> Now {
        let monotonic = Monotonic::read();
        Now {
            monotonic,
            wall: self.clock_offset().wall_at(monotonic),
        }
    }

    /// What the store remembered, once: for the engine.
    #[must_use]
    pub fn take_memos(&self) -> Vec<Memo> {
        std::mem::take(&mut *self.memory.0.lock())
    }

    /// The keys that the store remembered, where there is no engine that has taken them.
    #[must_use]
    pub fn remembered_keys(&self) -> Vec<KeyMemo> {
        let memos = self.memory.0.lock();
        let keys = memos.iter().filter_map(|memo| match memo {
            Memo::Key(key) => Some(KeyMemo::clone(key)),
            Memo::Source(_) | Memo::Pair(_) => None,
        });
        keys.collect()
    }

    /// The pairs that the store remembered as refused, where there is no engine.
    #[must_use]
    pub fn remembered_pairs(&self, now: Wall) -> Vec<PairMemo> {
        let memos = self.memory.0.lock();
        let pairs = memos.iter().filter_map(|memo| match memo {
            Memo::Pair(pair) if now < pair.ban.ends => Some(pair.clone()),
            _ => None,
        });
        pairs.collect()
    }

    /// Lets those at addresses of these networks through again, where no engine has taken the
    /// memos; durable. Returns how many.
    pub fn release_remembered(
        &self,
        networks: &[IpNet],
        now: Wall,
    ) -> Result<usize, OperatorError> {
        let mut memos = self.memory.0.lock();
        let mut changes = Vec::new();
        for memo in memos.iter_mut() {
            let Memo::Pair(pair) = memo else { continue };
            let is_meant = networks.iter().any(|network| pair.is_at(network));
            if is_meant && now < pair.ban.ends {
                pair.ban.ends = now;
                changes.push(Change::PutMemo(Memo::Pair(pair.clone())));
            }
        }
        let n_released = changes.len();
        if n_released == 0 {
            return Ok(0);
        }
        let receipt = self.submit(changes);
        drop(memos);
        durable(receipt).map(|()| n_released)
    }

    /// Forgets what a key earned, where no engine has taken the memos; durable.
    pub fn forgive_remembered(
        &self,
        key: KeyHash,
        reason: &str,
        now: Wall,
    ) -> Result<(), OperatorError> {
        let mut memos = self.memory.0.lock();
        let found = memos.iter_mut().find_map(|memo| match memo {
            Memo::Key(memo) if memo.hash == key => Some(memo),
            _ => None,
        });
        let Some(memo) = found else { return Ok(()) };
        forgive(memo, reason, now);
        let change = Change::PutMemo(Memo::Key(memo.clone()));
        let receipt = self.submit(vec![change]);
        drop(memos);
        durable(receipt)
    }

    /// Whether the store takes what it is given. While it does not, the engine goes on remembering
    /// in its own bounded room, so that memos do not take the journal's from bans.
    #[must_use]
    pub fn can_remember(&self) -> bool {
        !self.journal.is_behind()
    }

    /// Queues memos for the store, together. To be called within [`Self::timed`] from before their
    /// times were made, so that no step of the clock comes between.
    pub fn remember(&self, memos: Vec<Memo>) -> Result<Receipt, StoreError> {
        self.submit(memos.into_iter().map(Change::PutMemo).collect())
    }

    /// Has the store forget what is not to be remembered any longer.
    pub fn prune_memos(&self, now: Wall) {
        if let Err(error) = self.queue(Change::PruneMemos(now)) {
            tracing::debug!(%error, "old memos stay in the store");
        }
    }
}

fn forgive(memo: &mut KeyMemo, reason: &str, now: Wall) {
    let change = KeyTransition {
        at: now,
        from: memo.state,
        to: KeyState::Ok,
        reputation: None,
        reason: reason.to_owned(),
    };
    memo.state = KeyState::Ok;
    memo.since = now;
    memo.at = now;
    memo.spans = Default::default();
    memo.bad_hours.clear();
    if memo.history.len() >= KeyMemo::MAX_HISTORY {
        memo.history.remove(0);
    }
    memo.history.push(change);
}
