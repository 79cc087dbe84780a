//! The filter on the corpus, rule by rule. Each rule stands beside its mirror image.

use alloc::vec::Vec;

use super::*;
use crate::corpus::{LISTENER_PORT, LISTENER_V4, LISTENER_V6, SOURCE_V4, SOURCE_V6, packets};
use crate::packet::{TCP, UDP, mapped};

const NOW: u32 = 1_000;

/// Collections in place of maps; every source of the corpus has the same entries.
#[derive(Clone)]
struct Model {
    host: Option<Entry>,
    prefix: Option<Entry>,
    allowed: Vec<Source>,
    mode: Mode,
}

impl Tables for Model {
    fn host(&self, _source: &Source) -> Option<&Entry> {
        self.host.as_ref()
    }

    fn prefix(&self, _source: &Source) -> Option<&Entry> {
        self.prefix.as_ref()
    }

    fn is_allowed(&self, source: &Source) -> bool {
        self.allowed.contains(source)
    }

    fn has_listener(&self, listener: &Listener) -> bool {
        [mapped(LISTENER_V4), LISTENER_V6].contains(&listener.address)
            && (*listener == Listener::any_of(listener.address)
                || listener.port_be == LISTENER_PORT.to_be_bytes()
                    && [TCP, UDP].contains(&listener.protocol))
    }

    fn now(&self) -> u32 {
        NOW
    }

    fn mode(&self) -> Mode {
        self.mode
    }
}

fn model(host: Option<Entry>, prefix: Option<Entry>) -> Model {
    Model {
        host,
        prefix,
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
    assert_eq!((verdict.exit, verdict.origin), (Exit::LogMode, Some(1)));
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
