//! The filter on the corpus, rule by rule. Each rule stands beside its mirror image.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::corpus::{LISTENER_PORT, LISTENER_V4, LISTENER_V6, SOURCE_V4, SOURCE_V6, packets};
use crate::lookup::{BucketV4, BucketV6, IS_LONG, meta_v6, slot_v4};
use crate::maps::Header;
use crate::packet::{TCP, UDP, mapped};

const NOW: u32 = 1_000;

/// Tables of one policy for hosts and one for networks, which every source of the corpus finds.
struct Model {
    /// By number: nothing, the hosts', the networks'.
    policies: [Entry; 3],
    network: u32,
    bucket_v4: BucketV4<AtomicU64>,
    bucket_v6: BucketV6<AtomicU64>,
    allowed: Vec<Source>,
    mode: Mode,
}

/// Every cell of a filter says to look everywhere.
const EVERYWHERE: u64 = u64::MAX;

impl Memory for Model {
    type Word = AtomicU64;

    fn header(&self) -> Header {
        // One bucket: every address is at home there.
        Header::default()
    }

    fn filter_v4(&self, _word: u32) -> u64 {
        EVERYWHERE
    }

    fn hosts_v4(&self, _bucket: u32) -> Option<&BucketV4<AtomicU64>> {
        Some(&self.bucket_v4)
    }

    fn page_v4(&self, _page: u32, _cell: u8) -> u32 {
        self.network
    }

    fn filter_v6_32(&self, _word: u32) -> u64 {
        EVERYWHERE
    }

    fn filter_v6_48(&self, _word: u32) -> u64 {
        EVERYWHERE
    }

    fn hosts_v6(&self, _bucket: u32) -> Option<&BucketV6<AtomicU64>> {
        Some(&self.bucket_v6)
    }

    fn net_v6(&self, _source: &Source) -> u32 {
        self.network
    }

    fn policy(&self, number: u32) -> Option<&Entry> {
        self.policies.get(number as usize)
    }
}

impl Tables for Model {
    fn is_allowed(&self, source: &Source) -> bool {
        self.allowed.contains(source)
    }

    fn has_listener(&self, listener: &Listener) -> bool {
        let of = |address: [u8; 16]| {
            let address = Source::v6(address);
            let port_be = LISTENER_PORT.to_be_bytes();
            let (high, low) = (address.high(), address.low());
            [
                Listener::any_of(high, low),
                Listener::new(high, low, port_be, TCP),
                Listener::new(high, low, port_be, UDP),
            ]
        };
        of(mapped(LISTENER_V4)).contains(listener) || of(LISTENER_V6).contains(listener)
    }

    fn now(&self) -> u32 {
        NOW
    }

    fn mode(&self) -> Mode {
        self.mode
    }
}

fn model(host: Option<Entry>, network: Option<Entry>) -> Model {
    let (host_policy, network_policy) =
        (u32::from(host.is_some()), 2 * u32::from(network.is_some()));
    let v4 = Source::v4(SOURCE_V4).as_v4().unwrap();
    let v6 = Source::v6(SOURCE_V6);
    let word = |value| AtomicU64::new(value);
    let bucket_v4 = core::array::from_fn(|slot| match slot {
        1 => word(slot_v4(host_policy, v4)),
        _ => word(0),
    });
    let bucket_v6 = core::array::from_fn(|place| match place {
        1 => word(v6.high()),
        6 => word(v6.low()),
        11 => word(meta_v6(host_policy, 128)),
        _ => word(0),
    });
    Model {
        policies: [
            Entry::default(),
            host.unwrap_or_default(),
            network.unwrap_or_default(),
        ],
        network: network_policy,
        bucket_v4,
        bucket_v6,
        allowed: Vec::new(),
        mode: Mode::Enforce,
    }
}

fn drop_listeners(end: u32) -> Option<Entry> {
    Some(Entry {
        drop_listeners: Term::until(end, 1),
        ..Entry::default()
    })
}

fn verdict(model: &Model, name: &str) -> Verdict {
    let packet = packets().into_iter().find(|packet| packet.name == name);
    judge(packet.expect(name).bytes.as_slice(), model)
}

fn check(model: &Model, name: &str, exit: Exit) {
    assert_eq!(verdict(model, name).exit, exit, "{name}");
}

#[test]
fn scope_listeners_drops_what_is_meant_for_a_listener() {
    let model = model(drop_listeners(0), None);
    let check = |name, exit| check(&model, name, exit);
    check("TCP to the listener", Exit::DropListener);
    check("UDP to the listener", Exit::DropListener);
    check("TCP over IPv6", Exit::DropListener);
    check("mapped source", Exit::DropListener);
    check("QinQ", Exit::DropListener);
    check("later fragment", Exit::DropHidden);
    check("short first fragment", Exit::DropHidden);
    check("nine extensions", Exit::DropHidden);
    // The mirror: nobody loses SSH, ping, neighbour discovery, or a host behind this one.
    check("SSH", Exit::OutOfScope);
    check("SSH over IPv6", Exit::OutOfScope);
    check("ICMP echo", Exit::OutOfScope);
    check("later ICMP fragment", Exit::OutOfScope);
    check("neighbour solicitation", Exit::OutOfScope);
    check("TCP through this host", Exit::OutOfScope);
    check("ARP", Exit::NotIp);
    check("three tags", Exit::TooManyTags);
    check("header length 16", Exit::BadHeader);
}

#[test]
fn scope_host_drops_every_ip_packet() {
    let model = model(
        Some(Entry {
            drop_host: Term::until(0, 0),
            ..Entry::default()
        }),
        None,
    );
    for packet in packets() {
        let exit = judge(packet.bytes.as_slice(), &model).exit;
        assert_eq!(
            exit == Exit::DropHost,
            packet.expected.is_ok(),
            "{}",
            packet.name
        );
    }
}

#[test]
fn an_expired_entry_does_not_hide_a_live_shorter_one() {
    let check = |host, prefix, exit| check(&model(host, prefix), "TCP to the listener", exit);
    check(
        drop_listeners(NOW),
        drop_listeners(NOW + 1),
        Exit::DropListener,
    );
    check(drop_listeners(NOW), drop_listeners(NOW), Exit::Expired);
    check(drop_listeners(NOW), None, Exit::Expired);
    check(None, drop_listeners(NOW), Exit::Expired);
    check(None, drop_listeners(0), Exit::DropListener);
    check(None, None, Exit::Clean);
}

#[test]
fn allow_beats_block() {
    let mut model = model(drop_listeners(0), None);
    model.allowed.push(Source::v4(SOURCE_V4));
    check(&model, "TCP to the listener", Exit::Allowed);
    check(&model, "TCP over IPv6", Exit::DropListener);
    model.allowed.push(Source::v6(SOURCE_V6));
    check(&model, "TCP over IPv6", Exit::Allowed);
}

#[test]
fn log_mode_counts_and_passes() {
    let mut model = model(drop_listeners(0), None);
    model.mode = Mode::Log;
    let verdict = verdict(&model, "TCP to the listener");
    assert_eq!((verdict.exit, verdict.rule), (Exit::LogMode, 1));
    assert!(!verdict.exit.is_drop());
    check(&model, "SSH", Exit::OutOfScope);
}

#[test]
fn a_counting_block_passes_and_a_dropping_one_beats_it() {
    let count = Entry {
        count_host: Term::until(0, 0),
        ..Entry::default()
    };
    check(&model(Some(count), None), "SSH", Exit::Counted);
    let both = count.joined(drop_listeners(0).unwrap());
    check(
        &model(Some(both), None),
        "TCP to the listener",
        Exit::DropListener,
    );
    check(&model(Some(both), None), "SSH", Exit::Counted);
    let narrow = Entry {
        count_listeners: Term::until(0, 0),
        ..Entry::default()
    };
    check(
        &model(Some(narrow), None),
        "TCP to the listener",
        Exit::Counted,
    );
    check(&model(Some(narrow), None), "SSH", Exit::OutOfScope);
}

/// A /96 says more than the /64 that holds it, a /48 less.
#[test]
fn of_a_64_and_another_network_the_narrower_decides() {
    let with = |network_flag, exit| {
        let mut model = model(
            drop_listeners(0),
            Some(Entry {
                drop_host: Term::until(0, 0),
                ..Entry::default()
            }),
        );
        if let Some(meta) = model.bucket_v6.get(11) {
            meta.store(meta_v6(1, 64), Ordering::Relaxed);
        }
        if let Some(low) = model.bucket_v6.get(6) {
            low.store(0, Ordering::Relaxed);
        }
        model.network |= network_flag;
        check(&model, "TCP over IPv6", exit);
    };
    with(IS_LONG, Exit::DropHost);
    with(0, Exit::DropListener);
}
