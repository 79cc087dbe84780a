//! The blocks and allows in force, by network. Pure: the truth in memory, of which the kernel
//! holds a compiled copy (`enforcement::plan`) and the store a durable one.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::layer_index::LayerIndex;
use super::layers::{Layers, Prepared};
use super::network_map::{NetworkMap, canonical_network};
use crate::engine::facts::Standing;
use crate::words::address::{canonical, host_network};
use crate::words::block::{Allow, Block, Effect, Origin, Scope};
use crate::words::clock::{Step, Wall};
use crate::words::network_set::{Address as _, Prefix};
use crate::words::rule::Rule;

/// All blocks and allows. A network has at most one block of each [`Origin`].
#[derive(Clone, Debug, Default)]
pub struct BlockList {
    /// Never an empty vector.
    blocks: NetworkMap<Vec<Block>>,
    /// How many blocks there are of each [`Origin`].
    n_blocks: [usize; 2],
    allows: NetworkMap<Allow>,
    /// When to look at a network for blocks that have ended. May name ends that were since
    /// extended or blocks that are gone, never misses one.
    ends: BTreeSet<(Wall, IpNet)>,
    layers: Layers,
    /// Of [`Self::layers`], always.
    index: LayerIndex,
}

/// A live block that covers an address, of whatever kind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Covering {
    /// The network that does.
    pub network: IpNet,
    /// On whose account.
    pub rule: Rule,
    /// Which packets.
    pub scope: Scope,
    /// Drop or count.
    pub effect: Effect,
    /// When it was made.
    pub created: Wall,
    /// When it ends; `None` is never.
    pub expires: Option<Wall>,
    /// Why.
    pub reason: String,
}

impl From<&Block> for Covering {
    fn from(block: &Block) -> Self {
        Self {
            network: block.network,
            rule: Rule::Single(block.origin),
            scope: block.scope,
            effect: block.effect,
            created: block.created,
            expires: block.expires,
            reason: block.reason.clone(),
        }
    }
}

impl BlockList {
    /// Adds a block, or repeats one of the same network and origin: reason, scope and effect are
    /// replaced, the time left is never shortened. Returns the block as it stands now.
    pub fn insert(&mut self, mut block: Block) -> &Block {
        block.network = canonical_network(block.network);
        let network = block.network;
        let blocks = self.blocks.entry_or_insert_with(network, Vec::new);
        let same = blocks.iter().position(|old| old.origin == block.origin);
        let index = match same {
            Some(index) => {
                let old = &blocks[index];
                // One that had ended before this one was made is no earlier part of it.
                if is_live(old, block.created) {
                    block.created = old.created;
                    block.expires = later(old.expires, block.expires);
                }
                blocks[index] = block;
                index
            }
            None => {
                self.n_blocks[block.origin as usize] += 1;
                blocks.push(block);
                blocks.len() - 1
            }
        };
        let block = &blocks[index];
        if let Some(end) = block.expires {
            self.ends.insert((end, network));
        }
        block
    }

    /// Takes out the blocks of exactly this network, of one origin or of all. Returns them.
    pub fn remove(&mut self, network: &IpNet, origin: Option<Origin>) -> Vec<Block> {
        self.remove_if(&canonical_network(*network), |block| {
            origin.is_none_or(|origin| block.origin == origin)
        })
    }

    /// Adds an allow, or replaces the one of the same network.
    pub fn allow(&mut self, mut allow: Allow) {
        allow.network = canonical_network(allow.network);
        self.allows.insert(allow.network, allow);
    }

    /// Takes out the allow of exactly this network.
    pub fn unallow(&mut self, network: &IpNet) -> Option<Allow> {
        self.allows.remove(&canonical_network(*network))
    }

    /// Takes out the blocks that have ended. Returns them, so that kernel and store can follow.
    pub fn expire(&mut self, now: Wall) -> Vec<Block> {
        let mut ended = vec![];
        while let Some((end, network)) = self.ends.first().copied() {
            if end > now {
                break;
            }
            self.ends.remove(&(end, network));
            ended.append(&mut self.remove_if(&network, |block| !is_live(block, now)));
        }
        ended
    }

    /// What the engine is told of an address. A block that only counts denies nothing here either.
    #[must_use]
    pub fn standing(&self, ip: IpAddr, now: Wall) -> Standing {
        if self.allows_covering(ip).next().is_some() {
            return Standing::Allowed;
        }
        self.live(host_network(ip), now)
            .find(|block| block.effect == Effect::Drop)
            .map(|block| rule(block.network, &Rule::Single(block.origin), &block.reason))
            .or_else(|| self.layer_rule(ip, now))
            .map_or(Standing::Unlisted, |rule| Standing::Blocked { rule })
    }

    fn layer_rule(&self, ip: IpAddr, now: Wall) -> Option<Arc<str>> {
        let covering = self.index.covering_address(canonical(ip));
        let mut covering = covering.into_iter();
        covering
            .find(|(_network, layer)| {
                layer.terms.effect == Effect::Drop && is_before(now, layer.expires)
            })
            .map(|(network, layer)| rule(network, &layer.rule, &layer.terms.reason))
    }

    /// Every live block that covers an address, single ones, lists and systems, most specific
    /// first.
    #[must_use]
    pub fn covering(&self, ip: IpAddr, now: Wall) -> Vec<Covering> {
        let single = self.live(host_network(ip), now).map(Covering::from);
        let layers = self.index.covering_address(canonical(ip)).into_iter();
        let layers = layers
            .filter(|(_network, layer)| is_before(now, layer.expires))
            .map(|(network, layer)| Covering {
                network,
                rule: layer.rule.clone(),
                scope: layer.terms.scope,
                effect: layer.terms.effect,
                created: layer.terms.created,
                expires: layer.expires,
                reason: layer.terms.reason.clone(),
            });
        let mut covering: Vec<_> = single.chain(layers).collect();
        covering.sort_by_key(|covering| std::cmp::Reverse(covering.network.prefix_len()));
        covering
    }

    /// Imported lists and blocked systems.
    #[must_use]
    pub const fn layers(&self) -> &Layers {
        &self.layers
    }

    /// Changes imported lists and blocked systems. Cost: indexing all of them anew.
    pub fn edit_layers<R>(&mut self, edit: impl FnOnce(&mut Layers) -> R) -> R {
        let result = edit(&mut self.layers);
        self.index = LayerIndex::new(self.layers.compile());
        result
    }

    /// Moves every end with the wall clock by which they are kept.
    pub fn shift_ends(&mut self, step: Step) {
        self.ends.clear();
        for block in self.blocks.values_mut().flatten() {
            block.expires = block.expires.map(|end| end.shifted(step));
            self.ends
                .extend(block.expires.map(|end| (end, block.network)));
        }
        if self.layers.have_ends() {
            self.edit_layers(|layers| layers.shift_ends(step));
        }
    }

    /// Puts layers in force in place of those that are. Returns the former, for going back.
    pub fn swap_layers(&mut self, prepared: Prepared) -> Prepared {
        let Prepared { layers, index } = prepared;
        Prepared {
            layers: std::mem::replace(&mut self.layers, layers),
            index: std::mem::replace(&mut self.index, index),
        }
    }

    /// Their networks.
    #[must_use]
    pub const fn layer_index(&self) -> &LayerIndex {
        &self.index
    }

    /// Every allow that covers an address, most specific first.
    pub fn allows_covering(&self, ip: IpAddr) -> impl Iterator<Item = &Allow> {
        let network = host_network(ip);
        self.allows.covering(network).map(|(_network, allow)| allow)
    }

    /// Every live block that covers the whole of `network`, most specific first.
    pub(super) fn live(&self, network: IpNet, now: Wall) -> impl Iterator<Item = &Block> {
        self.blocks
            .covering(network)
            .flat_map(|(_network, blocks)| blocks)
            .filter(move |block| is_live(block, now))
    }

    /// Single blocks, by network, of every network within `network`, itself included, in order.
    pub(super) fn blocks_within(&self, network: IpNet) -> impl Iterator<Item = (&IpNet, &[Block])> {
        let within = self.blocks.within(network);
        within.map(|(network, blocks)| (network, blocks.as_slice()))
    }

    /// Single blocks of every network that holds the whole of `network` and is wider.
    pub(super) fn blocks_around(&self, network: &IpNet) -> impl Iterator<Item = &Block> {
        let len = network.prefix_len();
        self.blocks
            .covering(*network)
            .filter(move |(wider, _)| wider.prefix_len() < len)
            .flat_map(|(_network, blocks)| blocks)
    }

    /// Single blocks of every network that holds the whole of `network`, itself included.
    pub(super) fn blocks_covering(&self, network: &IpNet) -> impl Iterator<Item = &Block> {
        let covering = self.blocks.covering(*network);
        covering.flat_map(|(_network, blocks)| blocks)
    }

    /// Whether exactly this network has a block.
    pub(super) fn has_block(&self, network: &IpNet) -> bool {
        self.blocks.get(network).is_some()
    }

    /// Every allowed network within `network`, itself included, in order.
    pub(super) fn allows_within(&self, network: IpNet) -> impl Iterator<Item = &IpNet> {
        self.allows.within(network).map(|(network, _)| network)
    }

    /// Whether an allowed network holds the whole of `network` and is wider.
    pub(super) fn is_allowed_around(&self, network: &IpNet) -> bool {
        let mut covering = self.allows.covering(*network);
        covering.any(|(wider, _)| wider.prefix_len() < network.prefix_len())
    }

    /// Whether any host of the address's /24 is listed.
    pub(super) fn has_host_in_24(&self, address: u32) -> bool {
        let net = Prefix {
            address: address.truncated(24),
            len: 24,
        };
        let mut single = self.blocks.within(net.network());
        let mut nodes = self.index.within(net).iter();
        single.any(|(network, _)| network.prefix_len() == 32)
            || nodes.any(|node| node.prefix().len == 32)
    }

    /// How many different ends single blocks have, in steps of `step_ms`. May count ends that
    /// were since extended.
    pub(super) fn n_ends(&self, step_ms: u64) -> usize {
        let steps = self.ends.iter().map(|(end, _)| end.as_unix_ms() / step_ms);
        let mut last = None;
        steps
            .filter(|step| last.replace(*step) != Some(*step))
            .count()
    }

    /// How many networks are blocked or allowed; one that stands in several lists counts in each.
    #[must_use]
    pub fn n_networks(&self) -> usize {
        self.blocks.len() + self.index.n_networks() + self.allows.len()
    }

    /// How many networks are allowed.
    #[must_use]
    pub fn n_allows(&self) -> usize {
        self.allows.len()
    }

    /// Every rule that has a list or system.
    pub fn layer_rules(&self) -> impl Iterator<Item = Rule> {
        let layers = self.index.layers().iter();
        layers.map(|layer| layer.rule.clone())
    }

    /// Whether exactly this network is allowed.
    pub(super) fn has_allow(&self, network: &IpNet) -> bool {
        self.allows.get(network).is_some()
    }

    /// Every block, ended ones included until [`Self::expire`] collects them, in address order.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.blocks.iter().flat_map(|(_network, blocks)| blocks)
    }

    /// How many blocks there are of an origin, ended ones included until [`Self::expire`].
    #[must_use]
    pub const fn count(&self, origin: Origin) -> usize {
        self.n_blocks[origin as usize]
    }

    /// Every allow, in address order.
    pub fn allows(&self) -> impl Iterator<Item = &Allow> {
        self.allows.iter().map(|(_network, allow)| allow)
    }

    fn remove_if(&mut self, network: &IpNet, doomed: impl Fn(&Block) -> bool) -> Vec<Block> {
        let Some(blocks) = self.blocks.get_mut(network) else {
            return vec![];
        };
        let removed: Vec<_> = blocks.extract_if(.., |block| doomed(block)).collect();
        if blocks.is_empty() {
            self.blocks.remove(network);
        }
        for block in &removed {
            self.n_blocks[block.origin as usize] -= 1;
        }
        removed
    }
}

/// Whether a block still holds.
#[must_use]
pub fn is_live(block: &Block, now: Wall) -> bool {
    is_before(now, block.expires)
}

/// Whether the end, if there is one, is still to come.
#[must_use]
pub fn is_before(now: Wall, end: Option<Wall>) -> bool {
    end.is_none_or(|end| now < end)
}

/// The later of two ends; never is the latest.
#[must_use]
pub fn later(a: Option<Wall>, b: Option<Wall>) -> Option<Wall> {
    Some(a?.max(b?))
}

/// A block in a line, as records name it.
fn rule(network: IpNet, rule: &Rule, reason: &str) -> Arc<str> {
    if reason.is_empty() {
        format!("{network} ({rule})").into()
    } else {
        format!("{network} ({rule}: {reason})").into()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::words::block::Scope;

    const START: Wall = Wall::from_unix_ms(1_000_000);

    fn at(seconds: u64) -> Wall {
        START.after(Duration::from_secs(seconds))
    }

    fn block(network: &str, origin: Origin, expires: Option<u64>) -> Block {
        Block {
            network: network.parse().unwrap(),
            origin,
            scope: Scope::Listeners,
            effect: Effect::Drop,
            created: START,
            expires: expires.map(at),
            reason: "test".to_owned(),
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_repeated_block_extends_and_never_shortens() {
        let check = |first, second, expected: Option<u64>| {
            let mut list = BlockList::default();
            list.insert(block("192.0.2.1/32", Origin::Automatic, first));
            let stands = list.insert(block("192.0.2.1/32", Origin::Automatic, second));
            assert_eq!(
                stands.expires,
                expected.map(at),
                "{first:?} then {second:?}"
            );
        };
        check(Some(10), Some(20), Some(20));
        check(Some(20), Some(10), Some(20));
        check(None, Some(10), None);
        check(Some(10), None, None);
    }

    #[test]
    fn a_block_made_after_its_forerunner_ended_starts_anew() {
        let created = |second| {
            let mut list = BlockList::default();
            list.insert(block("192.0.2.1/32", Origin::Automatic, Some(10)));
            let mut again = block("192.0.2.1/32", Origin::Automatic, Some(40));
            again.created = at(second);
            list.insert(again).created
        };
        assert_eq!(created(9), START);
        assert_eq!(created(10), at(10));
    }

    #[test]
    fn origins_hold_the_same_network_side_by_side() {
        let mut list = BlockList::default();
        list.insert(block("192.0.2.0/24", Origin::Operator, None));
        list.insert(block("192.0.2.0/24", Origin::Automatic, Some(10)));
        assert_eq!(list.covering(ip("192.0.2.1"), START).len(), 2);
        list.insert(block("192.0.2.0/24", Origin::Automatic, Some(10)));
        let count = |list: &BlockList| {
            [Origin::Operator, Origin::Automatic].map(|origin| list.count(origin))
        };
        assert_eq!(count(&list), [1, 1]);
        let removed = list.remove(&"192.0.2.0/24".parse().unwrap(), Some(Origin::Operator));
        assert_eq!(removed.len(), 1);
        assert_eq!(list.covering(ip("192.0.2.1"), START).len(), 1);
        assert_eq!(list.covering(ip("192.0.2.1"), at(10)).len(), 0);
        assert_eq!(count(&list), [0, 1]);
        list.expire(at(10));
        assert_eq!(count(&list), [0, 0]);
    }

    #[test]
    fn expiry_collects_what_has_ended_and_nothing_else() {
        let mut list = BlockList::default();
        list.insert(block("192.0.2.1/32", Origin::Automatic, Some(10)));
        list.insert(block("192.0.2.2/32", Origin::Automatic, Some(10)));
        list.insert(block("192.0.2.2/32", Origin::Automatic, Some(30)));
        list.insert(block("192.0.2.3/32", Origin::Operator, None));
        assert_eq!(list.expire(at(9)).len(), 0);
        let ended = list.expire(at(10));
        assert_eq!(ended.len(), 1);
        assert_eq!(ended[0].network.to_string(), "192.0.2.1/32");
        assert_eq!(list.expire(at(30)).len(), 1);
        assert_eq!(list.blocks().count(), 1);
    }

    #[test]
    fn ends_move_with_the_wall_clock() {
        let check = |ms: i64, ended_at: u64| {
            let mut list = BlockList::default();
            list.insert(block("192.0.2.1/32", Origin::Automatic, Some(600)));
            list.insert(block("192.0.2.2/32", Origin::Operator, None));
            list.shift_ends(Step::from_ms(ms));
            assert_eq!(list.expire(at(ended_at - 1)).len(), 0);
            assert_eq!(list.expire(at(ended_at)).len(), 1);
            assert_eq!(list.blocks().count(), 1);
        };
        check(0, 600);
        check(60_000, 660);
        check(-60_000, 540);
    }

    #[test]
    fn standing_names_the_most_specific_live_block_and_allow_beats_it() {
        let mut list = BlockList::default();
        list.insert(block("192.0.2.0/24", Origin::Operator, None));
        list.insert(block("192.0.2.7/32", Origin::Automatic, Some(10)));
        list.insert(Block {
            reason: String::new(),
            ..block("203.0.113.1/32", Origin::Operator, None)
        });
        list.insert(Block {
            effect: Effect::Count,
            ..block("203.0.113.2/32", Origin::Operator, None)
        });
        list.insert(Block {
            effect: Effect::Count,
            ..block("192.0.2.9/32", Origin::Operator, None)
        });
        list.allow(Allow {
            network: "192.0.2.8/32".parse().unwrap(),
            created: START,
            reason: "office".to_owned(),
        });
        let check = |address, now, expected: &str| {
            let standing = match list.standing(ip(address), now) {
                Standing::Unlisted => "unlisted".to_owned(),
                Standing::Allowed => "allowed".to_owned(),
                Standing::Blocked { rule } => rule.to_string(),
            };
            assert_eq!(standing, expected);
        };
        check("192.0.2.7", START, "192.0.2.7/32 (automatic: test)");
        check("::ffff:192.0.2.7", START, "192.0.2.7/32 (automatic: test)");
        check("192.0.2.7", at(10), "192.0.2.0/24 (operator: test)");
        check("203.0.113.1", START, "203.0.113.1/32 (operator)");
        check("203.0.113.2", START, "unlisted");
        check("192.0.2.9", START, "192.0.2.0/24 (operator: test)");
        check("192.0.2.8", START, "allowed");
        check("198.51.100.1", START, "unlisted");
    }
}
