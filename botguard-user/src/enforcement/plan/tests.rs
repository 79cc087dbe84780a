//! The laws of the plan, on random lists: the compiled entries, judged by the kernel's own code,
//! agree with a naive reading of the list at every later time; refreshing agrees with compiling.

use std::net::Ipv4Addr;
use std::time::Duration;

use botguard_common::corpus;
use botguard_common::entry::ticks;
use botguard_common::exit::Exit;
use botguard_common::maps::{Listener, Mode};
use botguard_common::packet::{Source, mapped};
use botguard_common::verdict::{Tables, judge};
use proptest::prelude::*;

use super::*;
use crate::enforcement::list::is_live;
use crate::enforcement::recovery::recover;
use crate::words::block::{Allow, Origin};
use crate::words::clock::Wall;

/// At this rate a tick is a second, so that whole seconds compare exactly.
const RATE: u32 = 256;

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

/// The entries as the kernel would hold them, at an instant.
struct Kernel<'a> {
    entries: &'a Entries,
    second: u64,
}

impl Kernel<'_> {
    fn address(source: &Source) -> IpNet {
        IpNet::from(std::net::IpAddr::from(source.as_v6()).to_canonical())
    }
}

impl Tables for Kernel<'_> {
    fn host(&self, source: &Source) -> Option<&Entry> {
        self.entries.blocks.get(&Self::address(source))
    }

    fn prefix(&self, source: &Source) -> Option<&Entry> {
        let host = Self::address(source);
        let prefixes = self.entries.blocks.iter().filter(|(network, _)| {
            network.contains(&host) && network.prefix_len() < host.prefix_len()
        });
        prefixes
            .max_by_key(|(network, _)| network.prefix_len())
            .map(|(_, entry)| entry)
    }

    fn is_allowed(&self, source: &Source) -> bool {
        let host = Self::address(source);
        self.entries
            .allows
            .iter()
            .any(|network| network.contains(&host))
    }

    fn has_listener(&self, listener: &Listener) -> bool {
        listener.address == mapped(corpus::LISTENER_V4)
            && [corpus::LISTENER_PORT.to_be_bytes(), [0, 0]].contains(&listener.port_be)
    }

    fn now(&self) -> u32 {
        ticks(clock(self.second).jiffies, 0)
    }

    fn mode(&self) -> Mode {
        Mode::Enforce
    }
}

/// The packets on which scopes differ, from `source`.
fn packets_of(source: Ipv4Addr) -> Vec<(&'static str, Vec<u8>)> {
    const SOURCE_OFFSET: usize = 14 + 12;
    let wanted = ["TCP to the listener", "SSH", "ICMP echo", "later fragment"];
    corpus::packets()
        .into_iter()
        .filter(|packet| wanted.contains(&packet.name))
        .map(|packet| {
            let mut bytes = packet.bytes;
            bytes[SOURCE_OFFSET..SOURCE_OFFSET + 4].copy_from_slice(&source.octets());
            (packet.name, bytes)
        })
        .collect()
}

/// What the list says of a packet, read block by block.
fn naive(list: &BlockList, source: Ipv4Addr, packet: &str, now: Wall) -> &'static str {
    let source = std::net::IpAddr::V4(source);
    let covers = |network: &IpNet| network.contains(&source);
    let live: Vec<_> = list
        .blocks()
        .filter(|block| covers(&block.network) && is_live(block, now))
        .collect();
    let meant = ["TCP to the listener", "later fragment"].contains(&packet);
    let has = |effect| {
        live.iter()
            .any(|block| block.effect == effect && (block.scope == Scope::Host || meant))
    };
    if live.is_empty() || list.allows().any(|allow| covers(&allow.network)) {
        "pass"
    } else if has(Effect::Drop) {
        "drop"
    } else if has(Effect::Count) {
        "count"
    } else {
        "pass"
    }
}

fn networks() -> impl Strategy<Value = IpNet> {
    // A narrow corner of the address space, so that networks overlap.
    (
        0_u8..8,
        prop::sample::select(vec![8_u8, 16, 24, 29, 30, 32]),
    )
        .prop_map(|(last, len)| {
            let network = ipnet::Ipv4Net::new(Ipv4Addr::new(10, 0, 0, last), len).unwrap();
            IpNet::V4(network.trunc())
        })
}

fn blocks() -> impl Strategy<Value = Block> {
    (
        networks(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        prop::option::of(1_u64..20),
    )
        .prop_map(|(network, operator, host, drop, expires)| Block {
            network,
            origin: if operator {
                Origin::Operator
            } else {
                Origin::Automatic
            },
            scope: if host { Scope::Host } else { Scope::Listeners },
            effect: if drop { Effect::Drop } else { Effect::Count },
            created: at(0),
            expires: expires.map(at),
            reason: String::new(),
        })
}

fn allows() -> impl Strategy<Value = Allow> {
    networks().prop_map(|network| Allow {
        network,
        created: at(0),
        reason: String::new(),
    })
}

fn list_of(blocks: &[Block], allows: &[Allow]) -> BlockList {
    let mut list = BlockList::default();
    for block in blocks {
        list.insert(block.clone());
    }
    for allow in allows {
        list.allow(allow.clone());
    }
    list
}

/// Carries operations out as the kernel would.
fn carry_out(entries: &mut Entries, operations: &[Operation]) {
    for operation in operations {
        match *operation {
            Operation::Put { network, entry } => {
                entries.blocks.insert(network, entry);
            }
            Operation::Delete { network } => {
                entries.blocks.remove(&network);
            }
            Operation::Allow { network } => {
                entries.allows.insert(network);
            }
            Operation::Unallow { network } => {
                entries.allows.remove(&network);
            }
        }
    }
}

proptest! {
    #[test]
    fn compiled_entries_agree_with_the_list_at_every_later_time(
        blocks in prop::collection::vec(blocks(), 0..8),
        allows in prop::collection::vec(allows(), 0..2),
        last in 0_u8..8,
    ) {
        let list = list_of(&blocks, &allows);
        let entries = compile(&list, &clock(0));
        let source = Ipv4Addr::new(10, 0, 0, last);
        for second in 0..22 {
            let kernel = Kernel { entries: &entries, second };
            for (name, bytes) in packets_of(source) {
                let exit = judge(bytes.as_slice(), &kernel).exit;
                let verdict = match exit {
                    exit if exit.is_drop() => "drop",
                    Exit::Counted => "count",
                    _ => "pass",
                };
                let expected = naive(&list, source, name, at(second));
                prop_assert_eq!(verdict, expected, "{} at {}", name, second);
            }
        }
    }

    #[test]
    fn refreshing_after_each_change_agrees_with_compiling_at_the_end(
        changes in prop::collection::vec((blocks(), 0_u8..4, allows()), 1..12),
    ) {
        let mut list = BlockList::default();
        let mut kernel = Entries::default();
        for (block, kind, allow) in changes {
            let network = match kind {
                0 => { list.remove(&block.network, None); block.network }
                1 => { list.unallow(&allow.network); allow.network }
                2 => { let network = allow.network; list.allow(allow); network }
                _ => { let network = block.network; list.insert(block); network }
            };
            carry_out(&mut kernel, &refresh(&list, &network, &clock(0)));
        }
        prop_assert_eq!(&kernel, &compile(&list, &clock(0)));
    }

    #[test]
    fn what_is_recovered_from_the_entries_judges_as_they_do(
        blocks in prop::collection::vec(blocks(), 0..8),
        allows in prop::collection::vec(allows(), 0..2),
        last in 0_u8..8,
    ) {
        // Ends that differ by a tick are one to it, so they are kept two apart here.
        let doubled = blocks.into_iter().map(|block| Block {
            expires: block.expires.map(|end| at(2 * at(0).until(end).as_secs())),
            ..block
        });
        let doubled: Vec<_> = doubled.collect();
        let entries = compile(&list_of(&doubled, &allows), &clock(0));
        let (blocks, allows) = recover(&entries, &clock(0));
        let recovered = compile(&list_of(&blocks, &allows), &clock(0));
        for second in (0..44).step_by(2) {
            for (name, bytes) in packets_of(Ipv4Addr::new(10, 0, 0, last)) {
                let [before, after] = [&entries, &recovered].map(|entries| {
                    judge(bytes.as_slice(), &Kernel { entries, second }).exit.is_drop()
                });
                prop_assert_eq!(before, after, "{} at {}", name, second);
            }
        }
    }

    #[test]
    fn a_diff_leads_where_it_should_and_then_is_empty(
        before in prop::collection::vec(blocks(), 0..6),
        after in prop::collection::vec(blocks(), 0..6),
        allows in prop::collection::vec(allows(), 0..3),
    ) {
        let mut actual = compile(&list_of(&before, &allows), &clock(0));
        let desired = compile(&list_of(&after, &[]), &clock(0));
        let operations = diff(&desired, &actual);
        carry_out(&mut actual, &operations);
        prop_assert!(diff(&desired, &actual).is_empty());
        prop_assert_eq!(actual.allows, desired.allows);
    }
}

#[test]
fn a_short_host_block_inside_a_long_one_lives_as_long() {
    let block = |network: &str, expires: Option<u64>| Block {
        network: network.parse().unwrap(),
        origin: Origin::Operator,
        scope: Scope::Listeners,
        effect: Effect::Drop,
        created: at(0),
        expires: expires.map(at),
        reason: String::new(),
    };
    let end = |outer, inner| {
        let list = list_of(
            &[block("10.0.0.0/16", outer), block("10.0.0.1/32", inner)],
            &[],
        );
        let entries = compile(&list, &clock(0));
        entries.blocks[&"10.0.0.1/32".parse().unwrap()]
            .drop_listeners
            .end
    };
    assert_eq!(end(Some(100), Some(10)), 105);
    assert_eq!(end(Some(10), Some(100)), 105);
    assert_eq!(end(None, Some(10)), 0);
    assert_eq!(end(Some(10), None), 0);
}
