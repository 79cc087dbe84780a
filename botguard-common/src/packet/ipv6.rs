//! IPv6 (RFC 8200), with a bounded walk along the extension headers.

use super::{
    MAX_EXTENSION_HEADERS, Network, PacketBytes, Source, TCP, Transport, UDP, Unfiltered, Version,
    datagram_end, ethernet, ports,
};

/// Offset of the destination address in the header.
pub(super) const DESTINATION: usize = 24;

const SOURCE: usize = 8;
/// Bytes of the header without extensions.
pub(super) const FIXED_LEN: usize = 40;
/// Of the fragment header's offset field: the high 13 bits, in units of 8 bytes.
const FRAGMENT_OFFSET: u16 = 0xfff8;

// Extension headers: those that Linux itself walks (`ipv6_ext_hdr` in net/ipv6/exthdrs_core.c).
// Behind any other it delivers no TCP or UDP.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

#[inline(always)]
pub(super) fn network<P: PacketBytes + ?Sized>(
    packet: &P,
    offset: usize,
) -> Result<Network, Unfiltered> {
    let [first] = packet.read(offset).ok_or(Unfiltered::Truncated)?;
    packet
        .read::<1>(offset + FIXED_LEN - 1)
        .ok_or(Unfiltered::Truncated)?;
    if first >> 4 != 6 {
        return Err(Unfiltered::BadHeader);
    }
    let high = packet.read(offset + SOURCE).ok_or(Unfiltered::Truncated)?;
    let low = packet
        .read(offset + SOURCE + 8)
        .ok_or(Unfiltered::Truncated)?;
    Ok(Network {
        source: Source::of_halves(high, low),
        version: Version::V6,
        offset,
    })
}

/// The first bytes of a frame as IPv6 without a tag; `None` for what is not.
#[inline(always)]
pub(super) fn untagged(start: &[u8; ethernet::HEADER_LEN + FIXED_LEN]) -> Option<Network> {
    let [
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        t,
        y,
        first,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        rest @ ..,
    ] = *start;
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = rest;
    let is_ipv6 = u16::from_be_bytes([t, y]) == ethernet::IPV6 && first >> 4 == 6;
    is_ipv6.then_some(Network {
        source: Source::of_halves([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]),
        version: Version::V6,
        offset: ethernet::HEADER_LEN,
    })
}

#[inline(always)]
pub(super) fn transport<P: PacketBytes + ?Sized>(packet: &P, offset: usize) -> Transport {
    let Some([_, _, _, _, len_hi, len_lo, first_header]) = packet.read(offset) else {
        return Transport::Hidden;
    };
    let mut header = first_header;
    let mut position = offset + FIXED_LEN;
    let end = match usize::from(u16::from_be_bytes([len_hi, len_lo])) {
        0 => datagram_end(offset, 0),
        payload_len => datagram_end(offset, FIXED_LEN + payload_len),
    };
    for _ in 0..=MAX_EXTENSION_HEADERS {
        if header == TCP || header == UDP {
            return ports(packet, header, position, end);
        }
        if !is_extension(header) {
            return Transport::Other;
        }
        let Some([next, len, offset_hi, offset_lo]) = packet.read(position) else {
            return Transport::Hidden;
        };
        if header == FRAGMENT && u16::from_be_bytes([offset_hi, offset_lo]) & FRAGMENT_OFFSET != 0 {
            return later_fragment(next);
        }
        // One formula for all, since the verifier follows every combination of branches. So two
        // headers that have another one end the walk: authentication, which counts in fours
        // (RFC 4302 section 2.2), and a fragment header with its reserved byte in use.
        if header == AUTHENTICATION || (header == FRAGMENT && len != 0) {
            return Transport::Hidden;
        }
        position += (usize::from(len) + 1) * 8;
        header = next;
    }
    Transport::Hidden
}

/// A fragment other than the first: `next` is the first header of the fragmented part, so it may
/// still say that there are no ports at all.
#[inline(always)]
const fn later_fragment(next: u8) -> Transport {
    if matches!(next, TCP | UDP) || is_extension(next) {
        Transport::Hidden
    } else {
        Transport::Other
    }
}

#[inline(always)]
const fn is_extension(header: u8) -> bool {
    matches!(
        header,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS
    )
}
