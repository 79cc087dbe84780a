//! The program in the kernel and the lists read block by block agree: random lists, every packet of
//! the corpus, a clock that advances with nobody there to collect.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use botguard::enforcement::list::BlockList;
use botguard::words::block::{Allow, Block, Effect, Origin, Scope};
use botguard::words::clock::Wall;
use botguard::words::layer::{Group, NamedList, Terms};
use botguard_common::corpus::{SOURCE_V4, SOURCE_V6, packets};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::bench::Bench;
use super::model::drops;

/// Minutes after which a block may end; the clock is looked at in between.
const MINUTES: [u64; 3] = [1, 3, 6];
const LOOKS: [u64; 4] = [0, 2, 5, 9];

#[test]
fn the_kernel_agrees_with_the_lists_whenever_it_is_asked() {
    let cases = Config::default().cases / 8;
    let mut runner = TestRunner::new(Config::with_cases(cases.max(8)));
    runner
        .run(&lists(), |list| {
            let mut bench = Bench::new();
            bench.load(&list);
            let start = Wall::read();
            let mut minutes = 0;
            for look in LOOKS {
                bench.advance(Duration::from_secs(60 * (look - minutes)));
                minutes = look;
                // In the middle of a minute: ticks and the test's own time are seconds.
                let now = start.after(Duration::from_secs(60 * look));
                for packet in packets() {
                    prop_assert_eq!(
                        bench.drops_if_long(&packet.bytes),
                        drops(&list, &packet.bytes, now),
                        "{} after {} minutes",
                        packet.name,
                        look
                    );
                }
            }
            Ok(())
        })
        .unwrap();
}

fn lists() -> impl Strategy<Value = BlockList> {
    let members = prop::collection::vec(networks(), 0..5);
    let layers = prop::collection::vec((members, kinds(), ends()), 0..3);
    let blocks = prop::collection::vec((networks(), any::<bool>(), kinds(), ends()), 0..6);
    let allows = prop::collection::vec(networks(), 0..2);
    (blocks, layers, allows).prop_map(|(blocks, layers, allows)| {
        let now = Wall::read();
        let end = |minutes: Option<u64>| {
            // Half a minute off, so that no look is at an end.
            minutes.map(|minutes| now.after(Duration::from_secs(60 * minutes + 30)))
        };
        let mut list = BlockList::default();
        for (network, is_operator, (scope, effect), minutes) in blocks {
            list.insert(Block {
                network,
                origin: if is_operator {
                    Origin::Operator
                } else {
                    Origin::Automatic
                },
                scope,
                effect,
                created: now,
                expires: end(minutes),
                reason: String::new(),
            });
        }
        for network in allows {
            list.allow(Allow {
                network,
                created: now,
                reason: String::new(),
            });
        }
        list.edit_layers(|edited| {
            for ((members, (scope, effect), minutes), name) in
                layers.into_iter().zip(["a", "b", "c"])
            {
                let list = NamedList {
                    name: name.parse().unwrap(),
                    terms: Terms {
                        scope,
                        effect,
                        created: now,
                        reason: String::new(),
                    },
                    groups: vec![Group {
                        expires: end(minutes),
                        networks: Arc::new(members.into_iter().collect()),
                    }],
                };
                edited.lists.insert(list.name.clone(), list);
            }
        });
        list
    })
}

fn networks() -> impl Strategy<Value = IpNet> {
    let near = prop::sample::select(vec![0_u32, 0, 1, 8, 1 << 8, 1 << 16]);
    let v4 = (
        near,
        prop::sample::select(vec![0_u8, 8, 16, 24, 29, 32, 32]),
    )
        .prop_map(|(off, len)| {
            let address = Ipv4Addr::from(u32::from_be_bytes(SOURCE_V4) ^ off);
            IpNet::V4(Ipv4Net::new(address, len).unwrap().trunc())
        });
    let near = prop::sample::select(vec![0_u128, 0, 1, 1 << 64, 1 << 80]);
    let v6 = (
        near,
        prop::sample::select(vec![0_u8, 32, 48, 64, 64, 96, 128]),
    )
        .prop_map(|(off, len)| {
            let address = Ipv6Addr::from(u128::from_be_bytes(SOURCE_V6) ^ off);
            IpNet::V6(Ipv6Net::new(address, len).unwrap().trunc())
        });
    prop_oneof![v4, v6]
}

fn kinds() -> impl Strategy<Value = (Scope, Effect)> {
    let scope = prop::sample::select(vec![Scope::Host, Scope::Listeners]);
    (
        scope,
        prop::sample::select(vec![Effect::Drop, Effect::Drop, Effect::Count]),
    )
}

fn ends() -> impl Strategy<Value = Option<u64>> {
    prop::option::of(prop::sample::select(MINUTES.to_vec()))
}
