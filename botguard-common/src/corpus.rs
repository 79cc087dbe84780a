//! Packets of every kind that the parser tells apart, with what it must say of each.
//!
//! One corpus, three machines: the parser's own tests, the model of the filter, and the program in
//! the kernel all run on it, whole and cut off after every byte.

use alloc::vec;
use alloc::vec::Vec;

use crate::packet::{Source, TCP, Transport, UDP, Unfiltered, mapped};

mod build;

use build::{
    Extension, arp, destination_options, ethernet, fragment, ipv4, ipv4_fragment, ipv4_with_len,
    ipv4_with_options, ipv6, ipv6_between, tagged, tcp, udp,
};

/// Source of every IPv4 packet, and of the IPv6 ones that are `mapped`.
pub const SOURCE_V4: [u8; 4] = [192, 0, 2, 7];
/// Source of every other IPv6 packet: `2001:db8::7`.
pub const SOURCE_V6: [u8; 16] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
/// Local address of the listeners.
pub const LISTENER_V4: [u8; 4] = [198, 51, 100, 1];
/// Local address of the listeners: `2001:db8:1::1`.
pub const LISTENER_V6: [u8; 16] = [0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// A host behind this one.
pub const ELSEWHERE_V4: [u8; 4] = [203, 0, 113, 9];
/// Port of the listeners, TCP and UDP.
pub const LISTENER_PORT: u16 = 443;
/// A port that is no listener's.
pub const SSH_PORT: u16 = 22;

/// One packet.
#[derive(Clone, Debug)]
pub struct Packet {
    /// What it is.
    pub name: &'static str,
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
    /// What the parser must say of it.
    pub expected: Result<Reading, Unfiltered>,
}

/// What a packet says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reading {
    /// Source address.
    pub source: Source,
    /// Destination address, mapped.
    pub destination: [u8; 16],
    /// Ports, if any.
    pub transport: Transport,
}

/// The corpus.
#[must_use]
pub fn packets() -> Vec<Packet> {
    let mut packets = vec![];
    packets.extend(not_ip());
    packets.extend(version_4());
    packets.extend(version_4_fragments());
    packets.extend(version_6());
    packets.extend(version_6_extensions());
    packets
}

fn not_ip() -> Vec<Packet> {
    let syn = || ipv4(TCP, &tcp(LISTENER_PORT));
    let unfiltered = |name, bytes, reason| Packet {
        name,
        bytes,
        expected: Err(reason),
    };
    let with_byte = |mut bytes: Vec<u8>, offset: usize, value| {
        if let Some(byte) = bytes.get_mut(offset) {
            *byte = value;
        }
        bytes
    };
    vec![
        unfiltered("empty frame", vec![0; 14], Unfiltered::NotIp),
        unfiltered("ARP", ethernet(0x0806, &arp()), Unfiltered::NotIp),
        unfiltered("LLDP", ethernet(0x88cc, &[0; 46]), Unfiltered::NotIp),
        unfiltered("802.3 length", ethernet(38, &[0; 46]), Unfiltered::NotIp),
        unfiltered(
            "three tags",
            tagged(&[0x88a8, 0x8100, 0x8100], 0x0800, &syn()),
            Unfiltered::TooManyTags,
        ),
        unfiltered(
            "version 5 as IPv4",
            with_byte(ethernet(0x0800, &syn()), 14, 0x55),
            Unfiltered::BadHeader,
        ),
        unfiltered(
            "header length 16",
            with_byte(ethernet(0x0800, &syn()), 14, 0x44),
            Unfiltered::BadHeader,
        ),
        unfiltered(
            "IPv4 as IPv6",
            ethernet(0x86dd, &[syn(), vec![0; 20]].concat()),
            Unfiltered::BadHeader,
        ),
    ]
}

fn version_4() -> Vec<Packet> {
    let syn = || ipv4(TCP, &tcp(LISTENER_PORT));
    let packet = |name, bytes: Vec<u8>, transport| v4(name, ethernet(0x0800, &bytes), transport);
    let https = ports(TCP, LISTENER_PORT);
    let elsewhere = build::ipv4_to(ELSEWHERE_V4, TCP, &tcp(LISTENER_PORT));
    vec![
        packet("TCP to the listener", syn(), https),
        packet(
            "UDP to the listener",
            ipv4(UDP, &udp(LISTENER_PORT)),
            ports(UDP, LISTENER_PORT),
        ),
        packet("SSH", ipv4(TCP, &tcp(SSH_PORT)), ports(TCP, SSH_PORT)),
        packet(
            "ICMP echo",
            ipv4(1, &[8, 0, 0, 0, 0, 1, 0, 1]),
            Transport::Other,
        ),
        packet("ESP", ipv4(50, &[0; 16]), Transport::Other),
        packet(
            "one option word",
            ipv4_with_options(1, &tcp(LISTENER_PORT)),
            https,
        ),
        packet(
            "ten option words",
            ipv4_with_options(10, &tcp(LISTENER_PORT)),
            https,
        ),
        packet(
            "no length",
            ipv4_with_len(0, TCP, &tcp(LISTENER_PORT)),
            https,
        ),
        packet(
            "length ends before ports",
            ipv4_with_len(23, TCP, &tcp(443)),
            Transport::Hidden,
        ),
        Packet {
            name: "TCP through this host",
            bytes: ethernet(0x0800, &elsewhere),
            expected: Ok(Reading {
                source: Source::v4(SOURCE_V4),
                destination: mapped(ELSEWHERE_V4),
                transport: https,
            }),
        },
        v4("one tag", tagged(&[0x8100], 0x0800, &syn()), https),
        v4("QinQ", tagged(&[0x88a8, 0x8100], 0x0800, &syn()), https),
        v4("old QinQ", tagged(&[0x9100, 0x8100], 0x0800, &syn()), https),
    ]
}

fn version_4_fragments() -> Vec<Packet> {
    const MORE: u16 = 0x2000;
    let fragment = |name, flags_and_offset, protocol, payload: &[u8], transport| {
        let bytes = ipv4_fragment(flags_and_offset, protocol, payload);
        v4(name, ethernet(0x0800, &bytes), transport)
    };
    let https = ports(TCP, LISTENER_PORT);
    let hidden = Transport::Hidden;
    vec![
        fragment("do not fragment", 0x4000, TCP, &tcp(443), https),
        fragment("first fragment", MORE, TCP, &tcp(443), https),
        fragment("later fragment", MORE | 1, TCP, &[0; 16], hidden),
        fragment("last fragment", 185, UDP, &[0; 16], hidden),
        fragment(
            "later ICMP fragment",
            MORE | 1,
            1,
            &[0; 16],
            Transport::Other,
        ),
        // Ethernet padding behind it must not be taken for port 0.
        v4(
            "short first fragment",
            build::padded(ethernet(0x0800, &ipv4_fragment(MORE, TCP, &[0x12, 0x34]))),
            hidden,
        ),
    ]
}

fn version_6() -> Vec<Packet> {
    let https = ports(TCP, LISTENER_PORT);
    let syn = || ipv6(TCP, &[], &tcp(LISTENER_PORT));
    let from_mapped = ipv6_between(mapped(SOURCE_V4), LISTENER_V6, TCP, &tcp(LISTENER_PORT));
    vec![
        v6("TCP over IPv6", ethernet(0x86dd, &syn()), https),
        v6(
            "UDP over IPv6",
            ethernet(0x86dd, &ipv6(UDP, &[], &udp(LISTENER_PORT))),
            ports(UDP, LISTENER_PORT),
        ),
        v6(
            "SSH over IPv6",
            ethernet(0x86dd, &ipv6(TCP, &[], &tcp(SSH_PORT))),
            ports(TCP, SSH_PORT),
        ),
        v6(
            "neighbour solicitation",
            ethernet(0x86dd, &ipv6(58, &[], &[135, 0, 0, 0, 0, 0, 0, 0])),
            Transport::Other,
        ),
        v6(
            "no next header",
            ethernet(0x86dd, &ipv6(59, &[], &[])),
            Transport::Other,
        ),
        v6(
            "QinQ over IPv6",
            tagged(&[0x88a8, 0x8100], 0x86dd, &syn()),
            https,
        ),
        Packet {
            name: "mapped source",
            bytes: ethernet(0x86dd, &from_mapped),
            expected: Ok(Reading {
                source: Source::v4(SOURCE_V4),
                destination: LISTENER_V6,
                transport: https,
            }),
        },
    ]
}

fn version_6_extensions() -> Vec<Packet> {
    let packet = |name, extensions: &[Extension], protocol, payload: &[u8], transport| {
        let bytes = ipv6(protocol, extensions, payload);
        v6(name, ethernet(0x86dd, &bytes), transport)
    };
    let https = ports(TCP, LISTENER_PORT);
    let hidden = Transport::Hidden;
    let options = destination_options;
    let authentication = Extension::new(51, &[0; 7]);
    vec![
        packet(
            "hop-by-hop",
            &[Extension::new(0, &[0; 7])],
            TCP,
            &tcp(443),
            https,
        ),
        packet("long options", &[options(3)], TCP, &tcp(443), https),
        packet(
            "routing and options",
            &[Extension::new(43, &[0; 7]), options(0)],
            TCP,
            &tcp(443),
            https,
        ),
        packet(
            "authentication header",
            &[authentication],
            TCP,
            &tcp(443),
            hidden,
        ),
        packet("eight extensions", &[options(0); 8], TCP, &tcp(443), https),
        packet("nine extensions", &[options(0); 9], TCP, &tcp(443), hidden),
        packet(
            "first fragment over IPv6",
            &[fragment(1)],
            TCP,
            &tcp(443),
            https,
        ),
        packet("atomic fragment", &[fragment(0)], TCP, &tcp(443), https),
        packet(
            "reserved byte of a fragment header",
            &[Extension::new(44, &[1, 0, 0, 0, 0, 0, 1])],
            TCP,
            &tcp(443),
            hidden,
        ),
        packet(
            "later fragment over IPv6",
            &[fragment(0x0009)],
            TCP,
            &[0; 16],
            hidden,
        ),
        packet(
            "later fragment of options",
            &[fragment(0x0009), options(0)],
            TCP,
            &[0; 16],
            hidden,
        ),
        packet(
            "later ICMPv6 fragment",
            &[fragment(0x0009)],
            58,
            &[0; 16],
            Transport::Other,
        ),
        v6(
            "short first fragment over IPv6",
            build::padded(ethernet(0x86dd, &ipv6(TCP, &[fragment(1)], &[0x12, 0x34]))),
            hidden,
        ),
    ]
}

fn v4(name: &'static str, bytes: Vec<u8>, transport: Transport) -> Packet {
    Packet {
        name,
        bytes,
        expected: Ok(Reading {
            source: Source::v4(SOURCE_V4),
            destination: mapped(LISTENER_V4),
            transport,
        }),
    }
}

fn v6(name: &'static str, bytes: Vec<u8>, transport: Transport) -> Packet {
    Packet {
        name,
        bytes,
        expected: Ok(Reading {
            source: Source::v6(SOURCE_V6),
            destination: LISTENER_V6,
            transport,
        }),
    }
}

const fn ports(protocol: u8, destination: u16) -> Transport {
    Transport::Ports {
        protocol,
        destination_be: destination.to_be_bytes(),
    }
}
