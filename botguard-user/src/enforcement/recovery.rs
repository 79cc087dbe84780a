//! From the kernel's entries back to blocks and allows, for when the store that they were compiled
//! from is lost. Pure; the inverse of `enforcement::plan`, as far as entries tell.
//!
//! What the kernel drops it goes on dropping, for as long. Lost are reasons, times of making, and
//! blocks that a wider and longer one had made to no purpose.

use botguard_common::entry::{Entry, Term};
use ipnet::IpNet;

use super::kernel_clock::KernelClock;
use super::plan::Entries;
use crate::words::block::{Allow, Block, Effect, Origin, Scope};

/// The blocks and allows that come to these entries. Of a network and origin, the strongest block
/// is the last, as [`super::list::BlockList::insert`] keeps it.
#[must_use]
pub fn recover(entries: &Entries, clock: &KernelClock) -> (Vec<Block>, Vec<Allow>) {
    let blocks = entries.blocks.iter().flat_map(|(network, entry)| {
        let covering = covering(entries, *network);
        KINDS.iter().filter_map(move |&(effect, scope, term)| {
            let own = term(entry);
            let is_inherited = covering.is_some_and(|covering| lasts_as_long(term(covering), own));
            (own.is_live(clock.now()) && !is_inherited).then(|| Block {
                network: *network,
                origin: origin(own),
                scope,
                effect,
                created: clock.wall,
                expires: clock.wall_at(own.end),
                reason: REASON.to_owned(),
            })
        })
    });
    let allows = entries.allows.iter().map(|network| Allow {
        network: *network,
        created: clock.wall,
        reason: REASON.to_owned(),
    });
    (blocks.collect(), allows.collect())
}

const REASON: &str = "taken over from the kernel, as the store was lost";

type TermOf = fn(&Entry) -> &Term;

/// Weak before strong.
const KINDS: [(Effect, Scope, TermOf); 4] = [
    (Effect::Count, Scope::Listeners, |entry| {
        &entry.count_listeners
    }),
    (Effect::Count, Scope::Host, |entry| &entry.count_host),
    (Effect::Drop, Scope::Listeners, |entry| {
        &entry.drop_listeners
    }),
    (Effect::Drop, Scope::Host, |entry| &entry.drop_host),
];

/// The entry of the next wider network that has one: it holds what all wider ones come to.
fn covering(entries: &Entries, network: IpNet) -> Option<&Entry> {
    let mut wider = network.supernet();
    while let Some(network) = wider {
        if let Some(entry) = entries.blocks.get(&network) {
            return Some(entry);
        }
        wider = network.supernet();
    }
    None
}

/// Whether `covering` is where `own` comes from; clocks round to a tick.
fn lasts_as_long(covering: &Term, own: &Term) -> bool {
    let ends_with_it = match (covering.end, own.end) {
        (0, _) => true,
        (_, 0) => false,
        (covering, own) => covering.saturating_add(1) >= own,
    };
    covering.state == own.state && ends_with_it
}

/// A number that no version of this layout writes is an automatic ban's: those always end.
fn origin(term: &Term) -> Origin {
    if term.origin == Origin::Operator as u8 {
        Origin::Operator
    } else {
        Origin::Automatic
    }
}
