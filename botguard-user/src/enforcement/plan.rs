//! From the list to the kernel's entries: desired − actual = operations. Pure.
//!
//! **Overlap.** The kernel's lookup finds the most specific entry only, so an entry carries what
//! all blocks that cover its network come to: one term for each effect and scope, with the latest
//! end among them (never wins over any end). Drop beats count and host beats listeners at every
//! instant, because the terms are judged separately and none hides another that lasts longer.
//! Compiled so, entries stay right however much time passes without anyone collecting.
//!
//! **One change, few operations.** A block changes what its own entry and those within it come to,
//! and no other: [`refresh`] gives just these, [`compile`] and [`diff`] start anew.

use std::collections::{BTreeMap, BTreeSet};

use botguard_common::entry::{Entry, Term};
use ipnet::IpNet;

use super::kernel_clock::KernelClock;
use super::list::BlockList;
use super::network_map::canonical_network;
use crate::words::block::{Block, Effect, Scope};

/// One change of the kernel's tables. Each is idempotent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Operation {
    /// Sets a network's entry.
    Put {
        /// Canonical; of full length it goes to the host table.
        network: IpNet,
        /// What the blocks that cover it come to.
        entry: Entry,
    },
    /// Takes a network's entry out, if there is one.
    Delete {
        /// Canonical.
        network: IpNet,
    },
    /// Allows a network.
    Allow {
        /// Canonical.
        network: IpNet,
    },
    /// No longer allows a network.
    Unallow {
        /// Canonical.
        network: IpNet,
    },
}

/// What the kernel's tables hold, or should.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Entries {
    /// Blocked networks.
    pub blocks: BTreeMap<IpNet, Entry>,
    /// Allowed networks.
    pub allows: BTreeSet<IpNet>,
}

/// The entries that the list comes to.
#[must_use]
pub fn compile(list: &BlockList, clock: &KernelClock) -> Entries {
    Entries {
        blocks: list
            .blocked_networks()
            .filter_map(|network| Some((network, entry(list, network, clock)?)))
            .collect(),
        allows: list.allows().map(|allow| allow.network).collect(),
    }
}

/// What turns `actual` into `desired`.
///
/// The order never blocks what neither has blocked: allows come first and go last. Ends that
/// differ by no more than a tick are equal, since every reading of the clocks rounds anew.
#[must_use]
pub fn diff(desired: &Entries, actual: &Entries) -> Vec<Operation> {
    let mut operations = vec![];
    for network in desired.allows.difference(&actual.allows) {
        operations.push(Operation::Allow { network: *network });
    }
    for (network, entry) in &desired.blocks {
        let stands = actual.blocks.get(network);
        if !stands.is_some_and(|actual| about_equal(entry, actual)) {
            operations.push(Operation::Put {
                network: *network,
                entry: *entry,
            });
        }
    }
    for network in actual.blocks.keys() {
        if !desired.blocks.contains_key(network) {
            operations.push(Operation::Delete { network: *network });
        }
    }
    for network in actual.allows.difference(&desired.allows) {
        operations.push(Operation::Unallow { network: *network });
    }
    operations
}

/// What follows from one block or allow of `network` having been added, changed or removed.
///
/// Cost: one lookup for each listed network within `network`; one for a host.
#[must_use]
pub fn refresh(list: &BlockList, network: &IpNet, clock: &KernelClock) -> Vec<Operation> {
    let network = canonical_network(*network);
    let mut operations = vec![if list.has_allow(&network) {
        Operation::Allow { network }
    } else {
        Operation::Unallow { network }
    }];
    let listed: BTreeSet<_> = list.blocked_within(network).chain([network]).collect();
    operations.extend(listed.into_iter().map(|network| {
        let is_listed = list.has_block(&network);
        match entry(list, network, clock).filter(|_| is_listed) {
            Some(entry) => Operation::Put { network, entry },
            None => Operation::Delete { network },
        }
    }));
    operations
}

/// What the live blocks that cover `network` come to; `None` where there is none.
fn entry(list: &BlockList, network: IpNet, clock: &KernelClock) -> Option<Entry> {
    list.live(network, clock.wall)
        .map(|block| entry_of(block, clock))
        .reduce(Entry::joined)
}

fn entry_of(block: &Block, clock: &KernelClock) -> Entry {
    let term = Term::until(clock.end(block.expires), block.origin as u8);
    let mut entry = Entry::default();
    *match (block.effect, block.scope) {
        (Effect::Drop, Scope::Host) => &mut entry.drop_host,
        (Effect::Drop, Scope::Listeners) => &mut entry.drop_listeners,
        (Effect::Count, Scope::Host) => &mut entry.count_host,
        (Effect::Count, Scope::Listeners) => &mut entry.count_listeners,
    } = term;
    entry
}

fn about_equal(a: &Entry, b: &Entry) -> bool {
    let equal = |a: &Term, b: &Term| {
        let ends_equal = if a.end == 0 || b.end == 0 {
            a.end == b.end
        } else {
            a.end.abs_diff(b.end) <= 1
        };
        a.state == b.state && a.origin == b.origin && ends_equal
    };
    equal(&a.drop_host, &b.drop_host)
        && equal(&a.drop_listeners, &b.drop_listeners)
        && equal(&a.count_host, &b.count_host)
        && equal(&a.count_listeners, &b.count_listeners)
}

#[cfg(test)]
mod tests;
