//! Each rule on the real program, beside its mirror image; then everything against the model.

use std::collections::BTreeMap;
use std::time::Duration;

use botguard::enforcement::list::BlockList;
use botguard::words::block::{Block, Effect, Origin, Scope};
use botguard::words::clock::Wall;
use botguard::words::mode::Mode;
use botguard::words::rule::Rule;
use botguard_common::corpus::packets;
use botguard_common::exit::Exit;
use botguard_common::maps;
use botguard_common::verdict::judge;

use super::bench::{Bench, block, difference, list};
use super::model::Model;

const SOURCE: &str = "192.0.2.7/32";
const SOURCE_NET: &str = "192.0.0.0/16";
const SOURCE_V6: &str = "2001:db8::7/128";
const SOURCE_NET_V6: &str = "2001:db8::/64";

#[track_caller]
fn check(bench: &Bench, name: &str, expected: Exit) {
    let packet = packets().into_iter().find(|packet| packet.name == name);
    assert_eq!(bench.exit(&packet.expect(name).bytes), expected, "{name}");
}

fn load(bench: &mut Bench, list: &BlockList) {
    bench.load(list);
}

#[test]
fn scope_listeners_spares_ssh_ping_and_forwarded_packets() {
    let mut bench = Bench::new();
    check(&bench, "TCP to the listener", Exit::Clean);
    load(
        &mut bench,
        &list(&[block(SOURCE), block(SOURCE_NET_V6)], &[]),
    );
    check(&bench, "TCP to the listener", Exit::DropListener);
    check(&bench, "UDP to the listener", Exit::DropListener);
    check(&bench, "TCP over IPv6", Exit::DropListener);
    check(&bench, "mapped source", Exit::DropListener);
    check(&bench, "later fragment", Exit::DropHidden);
    check(&bench, "short first fragment", Exit::DropHidden);
    check(&bench, "nine extensions", Exit::DropHidden);
    check(&bench, "SSH", Exit::OutOfScope);
    check(&bench, "SSH over IPv6", Exit::OutOfScope);
    check(&bench, "ICMP echo", Exit::OutOfScope);
    check(&bench, "neighbour solicitation", Exit::OutOfScope);
    check(&bench, "TCP through this host", Exit::OutOfScope);
    check(&bench, "ARP", Exit::NotIp);
    bench.filter.set_listeners(&[]).unwrap();
    check(&bench, "TCP to the listener", Exit::OutOfScope);
    check(&bench, "later fragment", Exit::OutOfScope);
}

/// Frames of several buffers, as jumbo frames and receive offload make them: the headers are in the
/// first.
#[test]
fn jumbo_frames_are_judged_by_their_first_buffer() {
    let mut bench = Bench::new();
    let jumbo = |name: &str| {
        let packet = packets().into_iter().find(|packet| packet.name == name);
        let mut bytes = packet.expect(name).bytes;
        bytes.resize(9_014, 0);
        bytes
    };
    let names = ["TCP to the listener", "TCP over IPv6", "SSH", "ARP"];
    for name in names {
        assert!(!bench.exit(&jumbo(name)).is_drop(), "{name}");
    }
    load(&mut bench, &list(&[block(SOURCE), block(SOURCE_V6)], &[]));
    for name in names {
        let is_meant = ["TCP to the listener", "TCP over IPv6"].contains(&name);
        assert_eq!(bench.exit(&jumbo(name)).is_drop(), is_meant, "{name}");
    }
}

#[test]
fn scope_host_drops_everything_but_what_is_not_ip() {
    let mut bench = Bench::new();
    let host = |network| Block {
        scope: Scope::Host,
        ..block(network)
    };
    load(&mut bench, &list(&[host(SOURCE), host(SOURCE_V6)], &[]));
    check(&bench, "SSH", Exit::DropHost);
    check(&bench, "ICMP echo", Exit::DropHost);
    check(&bench, "TCP through this host", Exit::DropHost);
    check(&bench, "neighbour solicitation", Exit::DropHost);
    check(&bench, "ARP", Exit::NotIp);
}

#[test]
fn allow_beats_block() {
    let mut bench = Bench::new();
    let blocks = [block(SOURCE), block(SOURCE_NET), block(SOURCE_V6)];
    // What is allowed is cut out of what is blocked.
    load(&mut bench, &list(&blocks, &["192.0.2.0/29"]));
    check(&bench, "TCP to the listener", Exit::Clean);
    check(&bench, "TCP over IPv6", Exit::DropListener);
    load(
        &mut bench,
        &list(&blocks, &["192.0.2.8/29", "2001:db8::/32"]),
    );
    check(&bench, "TCP to the listener", Exit::DropListener);
    check(&bench, "TCP over IPv6", Exit::Clean);
    load(&mut bench, &list(&[block("::/0")], &["2001:db8::/32"]));
    check(&bench, "TCP over IPv6", Exit::Clean);
}

#[test]
fn a_short_block_inside_a_long_one_ends_with_the_long_one() {
    let mut bench = Bench::new();
    let ahead = |seconds| Wall::read().after(Duration::from_secs(seconds));
    let until = |network, expires| Block {
        expires: Some(expires),
        ..block(network)
    };
    let age = Duration::from_secs(60);
    // Ended half a minute ago, never collected.
    let short = || until(SOURCE, ahead(30));
    bench.load(&list(&[short(), block(SOURCE_NET)], &[]));
    bench.advance(age);
    check(&bench, "TCP to the listener", Exit::DropListener);
    // The mirror: with no other block it is over, and so it is where both have ended.
    bench.load(&list(&[short()], &[]));
    check(&bench, "TCP to the listener", Exit::DropListener);
    bench.advance(age);
    check(&bench, "TCP to the listener", Exit::Expired);
    bench.load(&list(&[short(), until(SOURCE_NET, ahead(50))], &[]));
    bench.advance(age);
    check(&bench, "TCP to the listener", Exit::Expired);
    bench.load(&list(
        &[until(SOURCE, ahead(120)), until(SOURCE_NET, ahead(10))],
        &[],
    ));
    bench.advance(age);
    check(&bench, "TCP to the listener", Exit::DropListener);
}

#[test]
fn log_mode_passes_what_enforce_drops_and_charges_its_origin() {
    let mut bench = Bench::new();
    let automatic = Block {
        origin: Origin::Automatic,
        ..block(SOURCE)
    };
    load(&mut bench, &list(&[automatic, block(SOURCE_V6)], &[]));
    check(&bench, "TCP to the listener", Exit::DropListener);
    bench.filter.set_mode(Mode::Log).unwrap();
    check(&bench, "TCP to the listener", Exit::LogMode);
    check(&bench, "TCP over IPv6", Exit::LogMode);
    check(&bench, "SSH", Exit::OutOfScope);
    let rules = bench.filter.stats().unwrap().rules;
    let counts = |wanted| {
        let (_, counters) = rules
            .iter()
            .find(|(rule, _)| *rule == Rule::Single(wanted))
            .unwrap();
        (counters.dropped, counters.would_drop)
    };
    assert_eq!(counts(Origin::Automatic), (1, 1));
    assert_eq!(counts(Origin::Operator), (0, 1));
}

#[test]
fn a_counting_block_drops_nothing_and_hides_no_dropping_one() {
    let mut bench = Bench::new();
    let count = Block {
        effect: Effect::Count,
        ..block(SOURCE)
    };
    load(&mut bench, &list(std::slice::from_ref(&count), &[]));
    check(&bench, "TCP to the listener", Exit::Counted);
    check(&bench, "SSH", Exit::OutOfScope);
    load(&mut bench, &list(&[count, block(SOURCE_NET)], &[]));
    check(&bench, "TCP to the listener", Exit::DropListener);
}

#[test]
fn the_corpus_cut_off_anywhere_agrees_with_the_model() {
    let mut bench = Bench::new();
    let with = |effect, scope| Block {
        effect,
        scope,
        ..block(SOURCE)
    };
    let lists = [
        list(&[], &[]),
        list(&[block(SOURCE), block(SOURCE_NET_V6)], &[]),
        list(&[block(SOURCE_NET), block(SOURCE_V6)], &["192.0.2.0/24"]),
        list(&[with(Effect::Drop, Scope::Host), block("::/0")], &[]),
        list(&[with(Effect::Count, Scope::Host), block("0.0.0.0/0")], &[]),
        list(&[with(Effect::Count, Scope::Listeners)], &[]),
    ];
    for (number, list) in lists.iter().enumerate() {
        load(&mut bench, list);
        for (mode, kernel_mode) in [
            (Mode::Enforce, maps::Mode::Enforce),
            (Mode::Log, maps::Mode::Log),
        ] {
            bench.filter.set_mode(mode).unwrap();
            let clock = bench.filter.clock(Wall::read()).unwrap();
            agree(&bench, &Model::new(list, &clock, kernel_mode), number);
        }
    }
}

fn agree(bench: &Bench, model: &Model, number: usize) {
    // The kernel takes no test packet without an Ethernet header.
    const LEAST_LEN: usize = 14;
    for packet in packets() {
        let before = bench.counters();
        let mut expected: BTreeMap<Exit, u64> = BTreeMap::new();
        for len in LEAST_LEN..=packet.bytes.len() {
            let bytes = &packet.bytes[..len];
            let exit = judge(bytes, model).exit;
            *expected.entry(exit).or_default() += 1;
            assert_eq!(
                bench.drops(bytes),
                exit.is_drop(),
                "{} at {len}",
                packet.name
            );
        }
        let moved: BTreeMap<_, _> = difference(&bench.counters(), &before).into_iter().collect();
        assert_eq!(moved, expected, "{} with list {number}", packet.name);
    }
}
