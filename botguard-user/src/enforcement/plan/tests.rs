//! The laws of the plan, on random lists: the tables, judged by the kernel's own code, agree with
//! a naive reading of the lists at every later time; refreshing agrees with filling anew; and at no
//! store in between does a table say what neither says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use botguard_common::lookup::{Found, find};
use botguard_common::packet::Source;
use proptest::prelude::*;

use super::*;
use crate::enforcement::list::is_live;
use crate::enforcement::recovery::recover;
use crate::enforcement::tables::Sizes;
use crate::enforcement::tables::memory::{OwnMemory, OwnTries};
use crate::words::block::{Allow, Origin};
use crate::words::layer::{Group, NamedList, Terms};

mod examples;

/// At this rate a tick is a second, so that whole seconds compare exactly.
const RATE: u32 = 256;

type OwnTables = Tables<OwnMemory, OwnTries>;

fn at(second: u64) -> Wall {
    Wall::from_unix_ms(1_000_000).after(Duration::from_secs(second))
}

fn clock(second: u64) -> KernelClock {
    KernelClock {
        jiffies: (second + 5) * 256,
        jiffies_per_second: RATE,
        wall: at(second),
    }
}

fn rules_of(list: &BlockList) -> RuleNumbers {
    let mut rules = RuleNumbers::default();
    rules.follow(list.layer_rules()).unwrap();
    rules
}

fn filled(list: &BlockList, seed: u64) -> OwnTables {
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
fn said(tables: &OwnTables, source: IpAddr, second: u64) -> [bool; 4] {
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
fn naive(list: &BlockList, source: IpAddr, now: Wall) -> [bool; 4] {
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
fn networks() -> impl Strategy<Value = IpNet> {
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
fn sources(networks: impl IntoIterator<Item = IpNet>) -> Vec<IpAddr> {
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

fn kinds() -> impl Strategy<Value = (Scope, Effect)> {
    let scope = prop::sample::select(vec![Scope::Host, Scope::Listeners]);
    (
        scope,
        prop::sample::select(vec![Effect::Drop, Effect::Count]),
    )
}

fn blocks() -> impl Strategy<Value = Block> {
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

fn layers() -> impl Strategy<Value = Vec<NamedList>> {
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

fn allows() -> impl Strategy<Value = Allow> {
    networks().prop_map(|network| Allow {
        network,
        created: at(0),
        reason: String::new(),
    })
}

fn list_of(blocks: &[Block], lists: &[NamedList], allows: &[Allow]) -> BlockList {
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

fn listed(list: &BlockList) -> Vec<IpNet> {
    let single = list.blocks().map(|block| block.network);
    let allows = list.allows().map(|allow| allow.network);
    let layers = list.layers().compile();
    let layers = layers.iter().flat_map(|layer| layer.networks.iter());
    single.chain(allows).chain(layers).collect()
}

proptest! {
    #[test]
    fn tables_agree_with_the_lists_at_every_later_time(
        blocks in prop::collection::vec(blocks(), 0..8),
        lists in layers(),
        allows in prop::collection::vec(allows(), 0..3),
        seed in any::<u64>(),
    ) {
        let list = list_of(&blocks, &lists, &allows);
        let tables = filled(&list, seed);
        for source in sources(listed(&list)) {
            for second in [0, 1, 7, 19, 22] {
                prop_assert_eq!(
                    said(&tables, source, second),
                    naive(&list, source, at(second)),
                    "{} at {}", source, second
                );
            }
        }
    }

    #[test]
    fn refreshing_after_each_change_agrees_with_the_lists(
        lists in layers(),
        changes in prop::collection::vec((blocks(), 0_u8..4, allows()), 1..12),
    ) {
        let mut list = list_of(&[], &lists, &[]);
        let sizes = Sizes::of(&super::super::tables::Needs {
            pages: 600,
            ..Default::default()
        }).unwrap();
        let mut tables = Tables::new(OwnMemory::new(&sizes), OwnTries::default(), 5);
        let rules = rules_of(&list);
        let clock = clock(0);
        macro_rules! plan {
            () => { Plan { list: &list, clock: &clock, rules: &rules } };
        }
        fill(plan!(), &mut tables).unwrap();
        let mut touched = vec![];
        for (block, kind, allow) in changes {
            let network = match kind {
                0 => { list.remove(&block.network, None); block.network }
                1 => { list.unallow(&allow.network); allow.network }
                2 => { let network = allow.network; list.allow(allow); network }
                _ => { let network = block.network; list.insert(block); network }
            };
            touched.push(network);
            refresh(plan!(), &mut tables, &network).unwrap();
        }
        for source in sources(listed(&list).into_iter().chain(touched)) {
            for second in [0, 7, 22] {
                prop_assert_eq!(
                    said(&tables, source, second),
                    naive(&list, source, at(second)),
                    "{} at {}", source, second
                );
            }
        }
    }

    /// Nothing that is allowed, and nothing that no list holds, is found blocked.
    #[test]
    fn allowed_and_clean_sources_are_never_blocked(
        lists in layers(),
        allows in prop::collection::vec(allows(), 1..3),
    ) {
        let list = list_of(&[], &lists, &allows);
        let tables = filled(&list, 9);
        for source in sources(listed(&list)) {
            let is_allowed = allows.iter().any(|allow| allow.network.contains(&source));
            let is_clean = !lists.iter().any(|list| {
                list.groups.iter().any(|group| group.networks.iter().any(|n| n.contains(&source)))
            });
            if is_allowed || is_clean {
                prop_assert_eq!(said(&tables, source, 0), [false; 4], "{}", source);
            }
        }
    }

    #[test]
    fn what_is_recovered_from_the_tables_says_what_they_say(
        blocks in prop::collection::vec(blocks(), 0..8),
        lists in layers(),
        allows in prop::collection::vec(allows(), 0..2),
    ) {
        // Ends that differ by a tick are one to it, so they are kept two apart here.
        let double = |end: Wall| at(2 * at(0).until(end).as_secs());
        let doubled = blocks.into_iter().map(|block| Block {
            expires: block.expires.map(double),
            ..block
        });
        let doubled: Vec<_> = doubled.collect();
        let mut lists = lists;
        for group in lists.iter_mut().flat_map(|list| &mut list.groups) {
            group.expires = group.expires.map(double);
        }
        let list = list_of(&doubled, &lists, &allows);
        let tables = filled(&list, 3);
        let recovered = recover(&tables.contents().unwrap(), &rules_of(&list), &clock(0));
        let again = list_of(&recovered.blocks, &recovered.lists, &recovered.allows);
        for source in sources(listed(&list)) {
            for second in (0..44).step_by(2) {
                let [before, after] = [&list, &again].map(|list| naive(list, source, at(second)));
                prop_assert_eq!(before, after, "{} at {}", source, second);
            }
        }
    }
}
