//! The kernel's tables, written: hosts, networks and policies into the words that
//! `botguard_common::lookup` reads. One writer; the kernel reads at any time, from any CPU.
//!
//! **Invariant:** every store of a word leaves tables that say, of each address, what they said
//! before or what they are to say: hosts are one word each, a page is filled before its number is
//! stored, a policy before it is referred to, and a filter's bit is set before a new entry would be
//! missed and cleared after the last one is gone.
//! **Invariant:** policies, pages and the slots of `hosts_v6` are never used for something else in
//! the life of a generation, so no reader follows a number to what it does not stand for. What
//! they hold is given back by making the next generation.
//!
//! Not here: what to block (`enforcement::compile`), and how tables reach the kernel
//! (`enforcement::kernel`).

mod hosts_v4;
mod hosts_v6;
pub mod memory;
mod nets_v4;
mod nets_v6;
mod policies;
mod read;
pub mod sizes;

use std::sync::atomic::Ordering::Relaxed;

use botguard_common::maps::Header;
use hashbrown::{HashMap, HashSet};
use ipnet::{IpNet, Ipv6Net};

pub use hosts_v6::HostV6;
pub use memory::{Memory, Tries};
pub use nets_v4::{Painter, Segment};
pub use policies::Policy;
pub use read::{Contents, contents};
pub use sizes::{Needs, Sizes};

use policies::Policies;

/// The writer of a generation of tables.
#[derive(Debug)]
pub struct Tables<M: Memory, T: Tries> {
    memory: M,
    tries: T,
    header: Header,
    policies: Policies,
    n_pages: u32,
    n_hosts: usize,
    /// What the tries hold, so that only changes become system calls.
    allows: HashSet<IpNet>,
    nets_v6: HashMap<Ipv6Net, u32>,
}

/// A table is full: the next generation must be larger. Internal; the caller makes one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the table {0} is full")]
pub struct Full(pub &'static str);

/// A table is full, or the kernel refuses to write to one of the tries.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E: std::error::Error + 'static> {
    /// Too small a generation.
    #[error(transparent)]
    Full(#[from] Full),
    /// The trie's own.
    #[error(transparent)]
    Trie(E),
}

impl<M: Memory, T: Tries> Tables<M, T> {
    /// Empty tables in memory that is all zero. `seed` is secret, and another one for each
    /// generation.
    #[must_use]
    pub fn new(memory: M, tries: T, seed: u64) -> Self {
        let mask = |n_words: usize, words: usize| {
            let n_buckets = u32::try_from(n_words / words).unwrap_or(u32::MAX);
            n_buckets.saturating_sub(1)
        };
        let header = Header {
            seed,
            mask_v4: mask(memory.hosts_v4().len(), botguard_common::lookup::SLOTS_V4),
            mask_v6: mask(memory.hosts_v6().len(), botguard_common::lookup::WORDS_V6),
            ..Header::default()
        };
        let tables = Self {
            memory,
            tries,
            header,
            policies: Policies::default(),
            n_pages: botguard_common::maps::ROOT_PAGES,
            n_hosts: 0,
            allows: HashSet::new(),
            nets_v6: HashMap::new(),
        };
        tables.store_header(0);
        tables
    }

    /// Runs a change of several words under the mark that says so: whoever finds the mark later
    /// knows that its writer was killed in the middle.
    ///
    /// Errors: those of `change`; the mark stays then, since the change may be half done.
    pub fn marked<R, E>(&mut self, change: impl FnOnce(&mut Self) -> Result<R, E>) -> Result<R, E> {
        self.store_header(botguard_common::maps::DIRTY);
        let result = change(self)?;
        self.store_header(0);
        Ok(result)
    }

    /// The prefixes that the kernel keeps in tries.
    #[must_use]
    pub const fn tries(&self) -> &T {
        &self.tries
    }

    /// Allows a network.
    ///
    /// Errors: the trie's.
    pub fn allow(&mut self, network: IpNet) -> Result<(), T::Error> {
        if self.allows.contains(&network) {
            return Ok(());
        }
        self.tries.allow(network)?;
        self.allows.insert(network);
        self.store_n_allows();
        Ok(())
    }

    /// Whether exactly this network is allowed.
    #[must_use]
    pub fn is_allowed(&self, network: &IpNet) -> bool {
        self.allows.contains(network)
    }

    /// No longer allows a network.
    ///
    /// Errors: the trie's.
    pub fn unallow(&mut self, network: &IpNet) -> Result<(), T::Error> {
        if self.allows.remove(network) {
            self.tries.unallow(*network)?;
            self.store_n_allows();
        }
        Ok(())
    }

    /// The memory that is written.
    #[must_use]
    pub const fn memory(&self) -> &M {
        &self.memory
    }

    /// How many entries stand in the tables: hosts, joined networks and allows. Cost: a walk over
    /// the pages.
    #[must_use]
    pub fn n_entries(&self) -> u64 {
        let n_nets = read::ranges(&self.memory).len() + self.nets_v6.len();
        (self.n_hosts + n_nets + self.allows.len()) as u64
    }

    /// Seed and sizes.
    #[must_use]
    pub const fn header(&self) -> Header {
        self.header
    }

    fn store_n_allows(&self) {
        let n_allows = u32::try_from(self.allows.len()).unwrap_or(u32::MAX);
        self.memory.header()[3].store(pair(n_allows, 0), Relaxed);
    }

    fn store_header(&self, state: u32) {
        let Header {
            seed,
            mask_v4,
            mask_v6,
            state: _,
            n_policies: _,
            n_allows: _,
            padding: _,
        } = self.header;
        let n_allows = u32::try_from(self.allows.len()).unwrap_or(u32::MAX);
        let words = [
            seed,
            pair(mask_v4, mask_v6),
            pair(state, self.policies.len()),
            pair(n_allows, 0),
        ];
        for (place, word) in self.memory.header().iter().zip(words) {
            place.store(word, Relaxed);
        }
    }
}

/// Two integers as they lie in memory.
fn pair(first: u32, second: u32) -> u64 {
    let [a, b, c, d] = first.to_ne_bytes();
    let [e, f, g, h] = second.to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests;
