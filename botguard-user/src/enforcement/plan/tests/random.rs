//! Random lists for the laws of the plan, and a reading of them that knows nothing of tables.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use botguard_common::lookup::{Found, find};
use botguard_common::packet::Source;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::prelude::*;

use super::super::{Plan, fill, needs};
use crate::enforcement::kernel_clock::KernelClock;
use crate::enforcement::list::{BlockList, is_live};
use crate::enforcement::rules::RuleNumbers;
use crate::enforcement::tables::memory::{OwnMemory, OwnTries};
use crate::enforcement::tables::{Sizes, Tables};
use crate::words::block::{Allow, Block, Effect, Origin, Scope};
use crate::words::clock::Wall;
use crate::words::layer::{Group, NamedList, Terms};

/// At this rate a tick is a second, so that whole seconds compare exactly.
pub(super) const RATE: u32 = 256;

pub(super) type OwnTables = Tables<OwnMemory, OwnTries>;

pub(super) fn at(second: u64) -> Wall {
    Wall::from_unix_ms(1_000_000).after(Duration::from_secs(second))
}

pub(super) fn clock(second: u64) -> KernelClock {
    KernelClock {
        jiffies: (second + 5) * 256,
        jiffies_per_second: RATE,
        wall: at(second),
    }
}

pub(super) fn rules_of(list: &BlockList) -> RuleNumbers {
    let mut rules = RuleNumbers::default();
    rules.follow(list.layer_rules()).unwrap();
    rules
}

pub(super) fn filled(list: &BlockList, seed: u64) -> OwnTables {
    let sizes = Sizes::of(&needs(list)).unwrap();
    let mut tables = Tables::new(OwnMemory::new(&sizes), OwnTries::default(), seed);
    let plan = Plan {
        list,
        clock: &clock(0),
        rules: &rules_of(list),
    };
    fill(plan, &mut tables).unwrap();
    tables
}

/// What tables say of a source: each kind of term, whether it is live.
pub(super) fn said(tables: &OwnTables, source: IpAddr, second: u64) -> [bool; 4] {
    let address = match source {
        IpAddr::V4(v4) => Source::v4(v4.octets()),
        IpAddr::V6(v6) => Source::v6(v6.octets()),
    };
    let allows = &tables.tries().allows;
    let now = clock(second).now();
    match find(tables, &address, || now) {
        // The kernel asks the allow list on a hit.
        _ if allows.iter().any(|allow| allow.contains(&source)) => [false; 4],
        Found::Nothing | Found::Ended => [false; 4],
        Found::Live(entry) => [
            entry.drop_host,
            entry.drop_listeners,
            entry.count_host,
            entry.count_listeners,
        ]
        .map(|term| term.is_live(now)),
    }
}

/// What the lists say of a source, read block by block.
pub(super) fn naive(list: &BlockList, source: IpAddr, now: Wall) -> [bool; 4] {
    let covers = |network: &IpNet| network.contains(&source);
    if list.allows().any(|allow| covers(&allow.network)) {
        return [false; 4];
    }
    let single = list
        .blocks()
        .filter(|block| covers(&block.network) && is_live(block, now))
        .map(|block| (block.effect, block.scope));
    let layers = list.layers().compile();
    let layers = layers.iter().filter_map(|layer| {
        let holds = layer.networks.iter().any(|network| covers(&network));
        let is_live = layer.expires.is_none_or(|end| now < end);
        (holds && is_live).then_some((layer.terms.effect, layer.terms.scope))
    });
    let mut said = [false; 4];
    for kind in single.chain(layers) {
        let index = match kind {
            (Effect::Drop, Scope::Host) => 0,
            (Effect::Drop, Scope::Listeners) => 1,
            (Effect::Count, Scope::Host) => 2,
            (Effect::Count, Scope::Listeners) => 3,
        };
        said[index] = true;
    }
    said
}

/// Narrow corners of both families, so that networks overlap, across the bounds of the tables.
pub(super) fn networks() -> impl Strategy<Value = IpNet> {
    let v4 = (
        prop::sample::select(vec![
            0_u32,
            1,
            255,
            256,
            257,
            0x1_0000,
            0x1_0101,
            0xffff_ffff,
        ]),
        prop::sample::select(vec![0_u8, 8, 15, 16, 17, 22, 23, 24, 25, 30, 31, 32]),
    )
        .prop_map(|(host, len)| {
            let address = Ipv4Addr::from(0x0a00_0000 ^ host);
            IpNet::V4(Ipv4Net::new(address, len).unwrap().trunc())
        });
    let v6 = (
        prop::sample::select(vec![0_u128, 1, 1 << 16, 1 << 64, 1 << 80, 3 << 88, 1 << 96]),
        prop::sample::select(vec![0_u8, 12, 20, 32, 36, 44, 48, 56, 64, 80, 127, 128]),
    )
        .prop_map(|(host, len)| {
            let address = Ipv6Addr::from(0x2001_0db8_u128 << 96 ^ host);
            IpNet::V6(Ipv6Net::new(address, len).unwrap().trunc())
        });
    prop_oneof![v4, v6]
}

/// The addresses where something changes, and their neighbours.
pub(super) fn sources(networks: impl IntoIterator<Item = IpNet>) -> Vec<IpAddr> {
    let mut sources = vec![];
    for network in networks {
        match network {
            IpNet::V4(net) => {
                let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
                for address in [first.wrapping_sub(1), first, last, last.wrapping_add(1)] {
                    sources.push(IpAddr::from(Ipv4Addr::from(address)));
                }
            }
            IpNet::V6(net) => {
                let (first, last) = (u128::from(net.network()), u128::from(net.broadcast()));
                for address in [first.wrapping_sub(1), first, last, last.wrapping_add(1)] {
                    let address = Ipv6Addr::from(address);
                    // An IPv4-mapped source is IPv4.
                    if address.to_ipv4_mapped().is_none() {
                        sources.push(IpAddr::from(address));
                    }
                }
            }
        }
    }
    sources
}

pub(super) fn kinds() -> impl Strategy<Value = (Scope, Effect)> {
    let scope = prop::sample::select(vec![Scope::Host, Scope::Listeners]);
    (
        scope,
        prop::sample::select(vec![Effect::Drop, Effect::Count]),
    )
}

pub(super) fn blocks() -> impl Strategy<Value = Block> {
    let origin = prop::sample::select(vec![Origin::Operator, Origin::Automatic]);
    (networks(), origin, kinds(), prop::option::of(1_u64..20)).prop_map(
        |(network, origin, (scope, effect), expires)| Block {
            network,
            origin,
            scope,
            effect,
            created: at(0),
            expires: expires.map(at),
            reason: String::new(),
        },
    )
}

pub(super) fn layers() -> impl Strategy<Value = Vec<NamedList>> {
    let members = prop::collection::vec(networks(), 0..6);
    let list = (members, kinds(), prop::option::of(1_u64..20));
    prop::collection::vec(list, 0..3).prop_map(|lists| {
        let named = lists.into_iter().zip(["a", "b", "c"]);
        let lists = named.map(|((members, (scope, effect), expires), name)| NamedList {
            name: name.parse().unwrap(),
            terms: Terms {
                scope,
                effect,
                created: at(0),
                reason: String::new(),
            },
            groups: vec![Group {
                expires: expires.map(at),
                networks: Arc::new(members.into_iter().collect()),
            }],
        });
        lists.collect()
    })
}

pub(super) fn allows() -> impl Strategy<Value = Allow> {
    networks().prop_map(|network| Allow {
        network,
        created: at(0),
        reason: String::new(),
    })
}

pub(super) fn list_of(blocks: &[Block], lists: &[NamedList], allows: &[Allow]) -> BlockList {
    let mut list = BlockList::default();
    for block in blocks {
        list.insert(block.clone());
    }
    for allow in allows {
        list.allow(allow.clone());
    }
    list.edit_layers(|layers| {
        let named = lists.iter().map(|list| (list.name.clone(), list.clone()));
        layers.lists = named.collect();
    });
    list
}

pub(super) fn listed(list: &BlockList) -> Vec<IpNet> {
    let single = list.blocks().map(|block| block.network);
    let allows = list.allows().map(|allow| allow.network);
    let layers = list.layers().compile();
    let layers = layers.iter().flat_map(|layer| layer.networks.iter());
    single.chain(allows).chain(layers).collect()
}
