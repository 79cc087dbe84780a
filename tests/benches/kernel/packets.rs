//! The packets of the bench: TCP SYNs of 64 bytes and a little more to a listener.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Where the protected service listens.
pub(crate) const LISTENER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// See [`LISTENER_V4`].
pub(crate) const LISTENER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// See [`LISTENER_V4`].
pub(crate) const PORT: u16 = 443;

/// A SYN from an IPv4 source to the Ethernet address `to`.
pub(crate) fn syn_v4(source: u32, to: [u8; 6]) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
    header.extend(source.to_be_bytes());
    header.extend(LISTENER_V4.octets());
    let checksum = !fold(sum(&header));
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    frame(to, [0x08, 0x00], &header)
}

/// A SYN from an IPv6 source.
pub(crate) fn syn_v6(source: u128) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0, 0, 20, 6, 64];
    header.extend(source.to_be_bytes());
    header.extend(LISTENER_V6.octets());
    frame([2; 6], [0x86, 0xdd], &header)
}

/// Ones' complement sum of the header of a [`syn_v4`] but for source and checksum, not folded.
pub(crate) fn header_sum_v4() -> u32 {
    let packet = syn_v4(0, [2; 6]);
    let mut header = packet[14..34].to_vec();
    header[10..12].fill(0);
    sum(&header)
}

fn frame(to: [u8; 6], ether_type: [u8; 2], ip: &[u8]) -> Vec<u8> {
    let mut frame = to.to_vec();
    frame.extend([2, 0, 0, 0, 0, 1]);
    frame.extend(ether_type);
    frame.extend(ip);
    frame.extend(40_000_u16.to_be_bytes());
    frame.extend(PORT.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    frame.resize(frame.len().max(64), 0);
    frame
}

fn sum(bytes: &[u8]) -> u32 {
    bytes
        .as_chunks::<2>()
        .0
        .iter()
        .map(|word| u32::from(u16::from_be_bytes(*word)))
        .sum()
}

fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    u16::try_from(sum).unwrap_or(u16::MAX)
}
