//! Packets: any bytes are judged, and cutting a packet off never has one dropped that passes.

use std::sync::atomic::AtomicU64;

use botguard_common::corpus::{
    LISTENER_PORT, LISTENER_V4, LISTENER_V6, SOURCE_V4, SOURCE_V6, packets,
};
use botguard_common::entry::{Entry, Term};
use botguard_common::exit::Exit;
use botguard_common::lookup::{BucketV4, BucketV6, Memory, NETWORKS};
use botguard_common::maps::{Header, Listener, Mode};
use botguard_common::packet::{PacketBytes, Source, TCP, UDP, mapped};
use botguard_common::verdict::{Tables, judge};

/// Judges a packet, whole and cut off after every byte of its headers, by blocks of either scope.
///
/// # Panics
///
/// The verdict on a packet that was cut off is none that follows from the whole one's.
pub fn check(packet: &[u8]) {
    let term = Term::until(0, 0);
    let host = Blocked(Entry {
        drop_host: term,
        ..Entry::default()
    });
    let listeners = Blocked(Entry {
        drop_listeners: term,
        ..Entry::default()
    });
    let [by_host, by_listeners] = [judge(packet, &host).exit, judge(packet, &listeners).exit];
    // What is read of a packet lies in its first bytes; beyond, one cut is as good as another.
    for len in 0..packet.len().min(MOST_HEADERS) {
        let cut = Cut { packet, len };
        let exit = judge(&cut, &host).exit;
        assert!(
            [by_host, Exit::Truncated].contains(&exit),
            "{len}: {exit:?}"
        );
        // Without its ports nobody can tell that a packet is not meant for a listener.
        let exit = judge(&cut, &listeners).exit;
        let is_hit = matches!(
            by_listeners,
            Exit::DropListener | Exit::DropHidden | Exit::OutOfScope
        );
        assert!(
            [by_listeners, Exit::Truncated].contains(&exit) || exit == Exit::DropHidden && is_hit,
            "{len}: {exit:?} for {by_listeners:?}"
        );
    }
}

/// The packets that all tests of the filter share.
pub fn seeds() -> impl Iterator<Item = Vec<u8>> {
    packets().into_iter().map(|packet| packet.bytes)
}

/// Ethernet with two tags, IPv6, and more extensions than are walked.
const MOST_HEADERS: usize = 200;

/// The first bytes of a packet, by the kernel's rule: what ends behind the end is not there. A
/// reader of its own, so that an agreement with the slice's is worth something.
struct Cut<'a> {
    packet: &'a [u8],
    len: usize,
}

impl PacketBytes for Cut<'_> {
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let end = offset.checked_add(N).filter(|end| *end <= self.len)?;
        self.packet.get(offset..end)?.try_into().ok()
    }
}

/// Tables in which this blocks the networks of the corpus's sources.
struct Blocked(Entry);

impl Memory for Blocked {
    type Word = AtomicU64;

    fn header(&self) -> Header {
        Header::default()
    }

    fn filter_v4(&self, word: u32) -> u64 {
        // A /24 has two bits: 32 of them a word.
        let [a, b, c, _] = SOURCE_V4;
        let net = u32::from_be_bytes([0, a, b, c]);
        if word == net / 32 {
            NETWORKS << (net % 32 * 2)
        } else {
            0
        }
    }

    fn hosts_v4(&self, _bucket: u32) -> Option<&BucketV4<AtomicU64>> {
        None
    }

    fn page_v4(&self, _page: u32, _cell: u8) -> u32 {
        1
    }

    fn filter_v6_32(&self, _word: u32) -> u64 {
        u64::MAX
    }

    fn filter_v6_48(&self, _word: u32) -> u64 {
        u64::MAX
    }

    fn hosts_v6(&self, _bucket: u32) -> Option<&BucketV6<AtomicU64>> {
        None
    }

    fn net_v6(&self, source: &Source) -> u32 {
        u32::from(source.high() == Source::v6(SOURCE_V6).high())
    }

    fn policy(&self, number: u32) -> Option<&Entry> {
        (number == 1).then_some(&self.0)
    }
}

impl Tables for Blocked {
    fn is_allowed(&self, _source: &Source) -> bool {
        false
    }

    fn has_listener(&self, listener: &Listener) -> bool {
        let port_be = LISTENER_PORT.to_be_bytes();
        let addresses = [mapped(LISTENER_V4), LISTENER_V6].map(Source::v6);
        let keys = addresses.map(|address| {
            let (high, low) = (address.high(), address.low());
            [
                Listener::new(high, low, port_be, TCP),
                Listener::new(high, low, port_be, UDP),
                Listener::any_of(high, low),
            ]
        });
        keys.as_flattened().contains(listener)
    }

    fn now(&self) -> u32 {
        1
    }

    fn mode(&self) -> Mode {
        Mode::Enforce
    }
}
