//! Writes headers. Independent of the parser on purpose: it shares no offset with it.

use alloc::vec;
use alloc::vec::Vec;

use super::{LISTENER_V4, LISTENER_V6, SOURCE_V4, SOURCE_V6};

pub(super) fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    tagged(&[], ether_type, payload)
}

pub(super) fn tagged(tags: &[u16], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2];
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend([0, 42]);
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Padded with zeros to the least length of an Ethernet frame.
pub(super) fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(frame.len().max(100), 0);
    frame
}

pub(super) fn arp() -> Vec<u8> {
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1];
    arp.extend([0; 20]);
    arp
}

pub(super) fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_to(LISTENER_V4, protocol, payload)
}

pub(super) fn ipv4_to(destination: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_header(0, 20 + payload.len(), 0, protocol, destination, payload)
}

pub(super) fn ipv4_with_options(words: u8, payload: &[u8]) -> Vec<u8> {
    let len = 20 + usize::from(words) * 4 + payload.len();
    ipv4_header(words, len, 0, 6, LISTENER_V4, payload)
}

pub(super) fn ipv4_with_len(len: usize, protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_header(0, len, 0, protocol, LISTENER_V4, payload)
}

pub(super) fn ipv4_fragment(flags_and_offset: u16, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = 20 + payload.len();
    ipv4_header(0, len, flags_and_offset, protocol, LISTENER_V4, payload)
}

fn ipv4_header(
    option_words: u8,
    len: usize,
    flags_and_offset: u16,
    protocol: u8,
    destination: [u8; 4],
    payload: &[u8],
) -> Vec<u8> {
    let mut header = vec![0x45 + option_words, 0];
    header.extend(two_bytes(len));
    header.extend([0x12, 0x34]);
    header.extend(flags_and_offset.to_be_bytes());
    header.extend([64, protocol, 0, 0]);
    header.extend(SOURCE_V4);
    header.extend(destination);
    header.extend(vec![1; usize::from(option_words) * 4]);
    header.extend(payload);
    header
}

/// An IPv6 extension header without its first byte, which names the next header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extension {
    number: u8,
    body: [u8; 31],
    len: usize,
}

impl Extension {
    pub(super) fn new(number: u8, bytes: &[u8]) -> Self {
        let mut body = [0; 31];
        for (to, from) in body.iter_mut().zip(bytes) {
            *to = *from;
        }
        Self {
            number,
            body,
            len: bytes.len(),
        }
    }
}

/// Destination options of `8 + 8 × extra_words` bytes, all padding.
pub(super) fn destination_options(extra_words: u8) -> Extension {
    let mut body = [0; 31];
    body[0] = extra_words;
    let mut options = Extension::new(60, &body);
    options.len = 7 + usize::from(extra_words) * 8;
    options
}

pub(super) fn fragment(offset_and_flags: u16) -> Extension {
    let [high, low] = offset_and_flags.to_be_bytes();
    Extension::new(44, &[0, high, low, 0, 0, 0, 1])
}

pub(super) fn ipv6(protocol: u8, extensions: &[Extension], payload: &[u8]) -> Vec<u8> {
    let mut next = protocol;
    let mut chain = vec![];
    for extension in extensions.iter().rev() {
        let mut bytes = vec![next];
        bytes.extend(extension.body.iter().take(extension.len));
        bytes.append(&mut chain);
        chain = bytes;
        next = extension.number;
    }
    chain.extend(payload);
    ipv6_between(SOURCE_V6, LISTENER_V6, next, &chain)
}

pub(super) fn ipv6_between(
    source: [u8; 16],
    destination: [u8; 16],
    next: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend(two_bytes(payload.len()));
    header.extend([next, 64]);
    header.extend(source);
    header.extend(destination);
    header.extend(payload);
    header
}

pub(super) fn tcp(destination: u16) -> Vec<u8> {
    let mut header = 40_000_u16.to_be_bytes().to_vec();
    header.extend(destination.to_be_bytes());
    header.extend([0; 8]);
    header.extend([0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    header
}

pub(super) fn udp(destination: u16) -> Vec<u8> {
    let mut header = 40_000_u16.to_be_bytes().to_vec();
    header.extend(destination.to_be_bytes());
    header.extend([0, 8, 0, 0]);
    header
}

fn two_bytes(len: usize) -> [u8; 2] {
    u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes()
}
