//! Distinct entries, numbered: what hosts and networks refer to.

use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::atomic::fence;

use botguard_common::entry::Entry;
use hashbrown::HashMap;

use super::memory::{Memory, Tries};
use super::{Full, Tables};

/// The number of a policy; 0 is that of what is not blocked.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Policy(pub u32);

impl Policy {
    /// Not blocked.
    pub const NONE: Self = Self(0);
}

/// The numbers given so far.
#[derive(Debug)]
pub(super) struct Policies {
    entries: Vec<Entry>,
    numbers: HashMap<Entry, u32>,
}

impl Default for Policies {
    fn default() -> Self {
        let nothing = Entry::default();
        Self {
            entries: vec![nothing],
            numbers: HashMap::from_iter([(nothing, 0)]),
        }
    }
}

impl Policies {
    pub(super) fn len(&self) -> u32 {
        // `intern` gives no number beyond a u32.
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }
}

impl<M: Memory, T: Tries> Tables<M, T> {
    /// The number of an entry, given anew where it has none yet.
    ///
    /// Errors: the table is full.
    pub fn intern(&mut self, entry: Entry) -> Result<Policy, Full> {
        if let Some(number) = self.policies.numbers.get(&entry) {
            return Ok(Policy(*number));
        }
        let number = self.policies.len();
        let words = self.memory.policies().as_chunks::<4>().0;
        let place = words.get(number as usize).ok_or(FULL)?;
        for (word, value) in place.iter().zip(entry.words()) {
            word.store(value, Relaxed);
        }
        // Before anything refers to it.
        fence(Release);
        self.policies.entries.push(entry);
        self.policies.numbers.insert(entry, number);
        Ok(Policy(number))
    }

    /// What a policy says; that of a number never given is nothing.
    #[must_use]
    pub fn entry(&self, policy: Policy) -> &Entry {
        const NOTHING: &Entry = &NO_ENTRY;
        let entry = self.policies.entries.get(policy.0 as usize);
        entry.unwrap_or(NOTHING)
    }
}

const FULL: Full = Full("policies");

static NO_ENTRY: Entry = {
    use botguard_common::entry::Term;
    const TERM: Term = Term {
        end: 0,
        rule: 0,
        state: 0,
        padding: 0,
    };
    Entry {
        drop_host: TERM,
        drop_listeners: TERM,
        count_host: TERM,
        count_listeners: TERM,
    }
};
