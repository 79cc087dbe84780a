//! Keeps what the engine remembers: each second into the store, as one group; at the end a last
//! time. Changes of a key's state are recorded once they are in the store, so that what the audit
//! log says of a suspension outlives a `kill -9`.

use std::collections::HashMap;
use std::time::Duration;

use super::enforcer::Enforcer;
use super::pipeline::Pipeline;
use crate::audit::record::{Event, KeyRecord};
use crate::audit::writer::AuditLog;
use crate::telemetry::metrics;
use crate::words::clock::{Monotonic, Now};
use crate::words::identity::KeyHash;
use crate::words::key::{KeyState, KeyTransition};
use crate::words::memo::Memo;

/// What is known of the engine's memory between two looks.
#[derive(Debug)]
pub(super) struct Memory {
    /// Keys that are not well, as last heard of.
    states: HashMap<KeyHash, KeyState>,
    pruned: Monotonic,
    n_since_pruned: usize,
}

/// What a look needs.
#[derive(Clone, Copy)]
pub(super) struct Keeping<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) enforcer: &'a Enforcer,
    pub(super) audit: &'a AuditLog,
}

/// Whether memos are taken from the engine while the store cannot be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Patience {
    /// They stay with the engine until it can.
    Wait,
    /// There is no later.
    Last,
}

const PRUNE_INTERVAL: Duration = Duration::from_secs(86_400);
/// And sooner where the store grows: half of what it keeps of each kind.
const PRUNE_AFTER_MEMOS: usize = 50_000;
/// Beyond it a key is not counted; the store keeps no more either.
const MAX_COUNTED: usize = 100_000;

impl Memory {
    /// With what the store remembered.
    pub(super) fn of(memos: &[Memo], now: Monotonic) -> Self {
        let mut memory = Self {
            states: HashMap::new(),
            pruned: now,
            n_since_pruned: 0,
        };
        memory.count(memos);
        memory
    }

    /// Puts into the store what there is to remember, and records which keys changed.
    ///
    /// Errors: a change of a key's state, or what `keep` is called for, is in force but not in the
    /// store.
    pub(super) fn keep(
        &mut self,
        keeping: Keeping<'_>,
        patience: Patience,
        now: Now,
    ) -> Result<(), String> {
        let Keeping {
            pipeline, enforcer, ..
        } = keeping;
        let (memos, transitions, receipt) = enforcer.timed(|_now| {
            if patience == Patience::Wait && !enforcer.can_remember() {
                return (
                    Vec::new(),
                    pipeline.drain_transitions(enforcer.present()),
                    None,
                );
            }
            let (memos, transitions) = pipeline.drain(enforcer.present());
            let receipt = (!memos.is_empty()).then(|| enforcer.remember(memos.clone()));
            (memos, transitions, receipt)
        });
        self.count(&memos);
        self.n_since_pruned += memos.len();
        self.prune_in_time(enforcer, now);
        let is_waited_for = !transitions.is_empty() || patience == Patience::Last;
        let kept = match receipt {
            Some(Err(error)) => Err(error.to_string()),
            Some(Ok(receipt)) if is_waited_for => receipt.wait().map_err(|error| error.to_string()),
            Some(Ok(_)) => Ok(()),
            None if is_waited_for && !enforcer.can_remember() => {
                Err("the store cannot be written at this time".to_owned())
            }
            None => Ok(()),
        };
        if let Err(error) = &kept {
            tracing::error!(%error, "what keys earned is in force, but not kept across a restart");
        }
        // What an operator did is recorded by the command, with its actor.
        let earned = (transitions.iter()).filter(|(_, change)| change.reputation.is_some());
        for (key, change) in earned {
            let record = record(*key, change, &memos);
            keeping.audit.record(now.wall, Event::Key(record));
        }
        kept
    }

    /// The state of a key by itself, as last heard of.
    pub(super) fn state(&self, key: KeyHash) -> KeyState {
        self.states.get(&key).copied().unwrap_or_default()
    }

    fn count(&mut self, memos: &[Memo]) {
        for memo in memos {
            let Memo::Key(key) = memo else { continue };
            if key.state == KeyState::Ok {
                self.states.remove(&key.hash);
            } else if self.states.len() < MAX_COUNTED {
                self.states.insert(key.hash, key.state);
            }
        }
        for state in [KeyState::Watch, KeyState::Throttled, KeyState::Suspended] {
            let n_keys = self.states.values().filter(|it| **it == state).count();
            metrics::keys(state.name(), n_keys);
        }
    }

    fn prune_in_time(&mut self, enforcer: &Enforcer, now: Now) {
        let is_due = now.monotonic.since(self.pruned) >= PRUNE_INTERVAL
            || self.n_since_pruned >= PRUNE_AFTER_MEMOS;
        if is_due {
            enforcer.timed(|now| enforcer.prune_memos(now));
            self.pruned = now.monotonic;
            self.n_since_pruned = 0;
        }
    }
}

/// The change of a key by itself. Its memo names it, where it was handed out at the same time.
fn record(key: KeyHash, change: &KeyTransition, memos: &[Memo]) -> KeyRecord {
    let names = memos.iter().find_map(|memo| match memo {
        Memo::Key(memo) if memo.hash == key => Some((memo.shown.clone(), memo.public_id.clone())),
        _ => None,
    });
    let (shown, public_id) = names.unwrap_or_else(|| (format!("#{key}"), String::new()));
    KeyRecord {
        key: shown,
        key_id: public_id,
        from: change.from,
        to: change.to,
        by: "botguard".to_owned(),
        reason: change.reason.clone(),
        until: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::clock::Wall;
    use crate::words::key::{KeyMemo, SuspicionMemo};
    use crate::words::points::Points;

    fn key(hash: u128, state: KeyState) -> Memo {
        Memo::Key(Box::new(KeyMemo {
            hash: KeyHash(hash),
            public_id: format!("id{hash}"),
            shown: format!("sk_id{hash}…"),
            tier: None,
            state,
            since: Wall::default(),
            at: Wall::default(),
            spans: [SuspicionMemo::default(); 3],
            bad_hours: vec![],
            good: vec![],
            history: vec![],
        }))
    }

    #[test]
    fn states_are_those_last_heard_of() {
        let start = [key(1, KeyState::Watch), key(2, KeyState::Suspended)];
        let mut memory = Memory::of(&start, Monotonic::default());
        let check = |memory: &Memory, expected: [KeyState; 3]| {
            assert_eq!([1, 2, 3].map(|hash| memory.state(KeyHash(hash))), expected);
        };
        let (ok, watch, suspended) = (KeyState::Ok, KeyState::Watch, KeyState::Suspended);
        check(&memory, [watch, suspended, ok]);
        memory.count(&[key(1, suspended), key(2, ok), key(3, watch)]);
        check(&memory, [suspended, ok, watch]);
        memory.count(&[]);
        check(&memory, [suspended, ok, watch]);
    }

    #[test]
    fn a_record_calls_the_key_by_its_memo_or_by_its_hash() {
        let change = KeyTransition {
            at: Wall::default(),
            from: KeyState::Watch,
            to: KeyState::Throttled,
            reputation: Some(Points::from_basis(7_000)),
            reason: "0.70 over a day".to_owned(),
        };
        let check = |hash, expected: (&str, &str)| {
            let record = record(KeyHash(hash), &change, &[key(1, KeyState::Throttled)]);
            assert_eq!((&*record.key, &*record.key_id), expected);
            assert_eq!(
                (record.from, record.to),
                (KeyState::Watch, KeyState::Throttled)
            );
            assert_eq!(
                (&*record.by, &*record.reason),
                ("botguard", "0.70 over a day")
            );
        };
        check(1, ("sk_id1…", "id1"));
        check(2, ("#00000000000000000000000000000002", ""));
    }
}
