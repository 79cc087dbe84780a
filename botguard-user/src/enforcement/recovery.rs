//! From the kernel's tables back to blocks, lists and allows, for when the store that they were
//! compiled from is lost. Pure; the inverse of `enforcement::plan`, as far as policies tell.
//!
//! What the kernel drops it goes on dropping, for as long. Lost are reasons, times of making, and
//! blocks that a wider and longer one had made to no purpose; a system's networks are what the
//! table of systems says by then.

use std::collections::BTreeMap;
use std::sync::Arc;

use botguard_common::entry::{Entry, Term};
use ipnet::IpNet;

use super::kernel_clock::KernelClock;
use super::rules::RuleNumbers;
use super::tables::Contents;
use crate::words::block::{Allow, Block, Effect, Origin, Scope};
use crate::words::clock::Wall;
use crate::words::layer::{AsnBlock, Group, NamedList, Terms};
use crate::words::rule::{ListName, Rule};

/// What the tables come from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    /// Single blocks; of a network and origin, the strongest.
    pub blocks: Vec<Block>,
    /// Imported lists, and lists of what stands in no other.
    pub lists: Vec<NamedList>,
    /// Blocked systems.
    pub asns: Vec<AsnBlock>,
    /// Allows.
    pub allows: Vec<Allow>,
}

/// The blocks and allows that come to these tables.
#[must_use]
pub fn recover(contents: &Contents, rules: &RuleNumbers, clock: &KernelClock) -> Recovered {
    let mut recovered = Recovered::default();
    let mut lists = Lists::default();
    let mut asns: BTreeMap<u32, AsnBlock> = BTreeMap::new();
    for (network, entry) in &contents.blocks {
        let covering = covering(contents, *network);
        let mut taken = [false; 2];
        for kind in KINDS {
            let own = (kind.term)(entry);
            let is_inherited =
                covering.is_some_and(|covering| lasts_as_long((kind.term)(covering), own));
            if !own.is_live(clock.now()) || is_inherited {
                continue;
            }
            let expires = clock.wall_at(own.end);
            match rule(rules, own) {
                // A network has one block of an origin; others of it stand in a list.
                Rule::Single(origin) if !taken[origin as usize] => {
                    taken[origin as usize] = true;
                    recovered.blocks.push(Block {
                        network: *network,
                        origin,
                        scope: kind.scope,
                        effect: kind.effect,
                        created: clock.wall,
                        expires,
                        reason: REASON.to_owned(),
                    });
                }
                Rule::Single(_) => lists.add(None, kind, expires, *network, clock.wall),
                Rule::List(name) => lists.add(Some(name), kind, expires, *network, clock.wall),
                Rule::Asn(number) => {
                    asns.entry(number).or_insert_with(|| AsnBlock {
                        number,
                        terms: kind.terms(clock.wall),
                        expires,
                    });
                }
            }
        }
    }
    recovered.lists = lists.finish();
    recovered.asns = asns.into_values().collect();
    recovered.allows = (contents.allows.iter())
        .map(|network| Allow {
            network: *network,
            created: clock.wall,
            reason: REASON.to_owned(),
        })
        .collect();
    recovered
}

/// Lists while their members come in.
#[derive(Default)]
struct Lists(BTreeMap<ListName, (Terms, Members)>);

/// Members by their end.
type Members = BTreeMap<Option<Wall>, Vec<IpNet>>;

impl Lists {
    /// Adds a member; one that fits no list, or not the terms of its own, to a list of its kind.
    fn add(
        &mut self,
        name: Option<ListName>,
        kind: Kind,
        expires: Option<Wall>,
        network: IpNet,
        now: Wall,
    ) {
        let fits = |name: &ListName| {
            let list = self.0.get(name);
            list.is_none_or(|(terms, _)| (terms.scope, terms.effect) == (kind.scope, kind.effect))
        };
        let own = || kind.list.parse().ok();
        let Some(name) = name.filter(fits).or_else(own) else {
            return;
        };
        let list = self.0.entry(name);
        let (_, groups) = list.or_insert_with(|| (kind.terms(now), Members::new()));
        groups.entry(expires).or_default().push(network);
    }

    fn finish(self) -> Vec<NamedList> {
        let lists = self.0.into_iter().map(|(name, (terms, groups))| {
            let groups = groups.into_iter().map(|(expires, networks)| Group {
                expires,
                networks: Arc::new(networks.into_iter().collect()),
            });
            NamedList {
                name,
                terms,
                groups: groups.collect(),
            }
        });
        lists.collect()
    }
}

const REASON: &str = "taken over from the kernel, as the store was lost";

/// One of the four things that a block can mean.
#[derive(Clone, Copy)]
struct Kind {
    effect: Effect,
    scope: Scope,
    term: fn(&Entry) -> &Term,
    /// Name of the list of what stands in no other.
    list: &'static str,
}

impl Kind {
    fn terms(&self, now: Wall) -> Terms {
        Terms {
            scope: self.scope,
            effect: self.effect,
            created: now,
            reason: REASON.to_owned(),
        }
    }
}

/// Strong before weak.
const KINDS: [Kind; 4] = [
    Kind {
        effect: Effect::Drop,
        scope: Scope::Host,
        term: |entry| &entry.drop_host,
        list: "recovered-drop-host",
    },
    Kind {
        effect: Effect::Drop,
        scope: Scope::Listeners,
        term: |entry| &entry.drop_listeners,
        list: "recovered-drop-listeners",
    },
    Kind {
        effect: Effect::Count,
        scope: Scope::Host,
        term: |entry| &entry.count_host,
        list: "recovered-count-host",
    },
    Kind {
        effect: Effect::Count,
        scope: Scope::Listeners,
        term: |entry| &entry.count_listeners,
        list: "recovered-count-listeners",
    },
];

/// The entry of the next wider network that has one: it holds what all wider ones come to.
fn covering(contents: &Contents, network: IpNet) -> Option<&Entry> {
    let mut wider = network.supernet();
    while let Some(network) = wider {
        if let Some(entry) = contents.blocks.get(&network) {
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

/// A number that has no name is an automatic ban's: those always end.
fn rule(rules: &RuleNumbers, term: &Term) -> Rule {
    let rule = rules.rule(term.rule).cloned();
    rule.unwrap_or(Rule::Single(Origin::Automatic))
}
