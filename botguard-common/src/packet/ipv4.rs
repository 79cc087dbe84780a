//! IPv4 (RFC 791), with options and fragments.

use super::{
    Network, PacketBytes, Source, TCP, Transport, UDP, Unfiltered, Version, datagram_end, ethernet,
    ports,
};

/// Offset of the destination address in the header.
pub(super) const DESTINATION: usize = 16;

const SOURCE: usize = 12;
/// Bytes of the header without options.
pub(super) const FIXED_LEN: usize = 20;
/// Of the flags-and-offset field: the low 13 bits, in units of 8 bytes.
const FRAGMENT_OFFSET: u16 = 0x1fff;

#[inline(always)]
pub(super) fn network<P: PacketBytes + ?Sized>(
    packet: &P,
    offset: usize,
) -> Result<Network, Unfiltered> {
    let [first] = packet.read(offset).ok_or(Unfiltered::Truncated)?;
    // The last byte of the fixed header is there, so all of it is.
    packet
        .read::<1>(offset + FIXED_LEN - 1)
        .ok_or(Unfiltered::Truncated)?;
    if first >> 4 != 4 || header_len(first) < FIXED_LEN {
        return Err(Unfiltered::BadHeader);
    }
    let source = packet.read(offset + SOURCE).ok_or(Unfiltered::Truncated)?;
    Ok(Network {
        source: Source::v4(source),
        version: Version::V4,
        offset,
    })
}

/// The first bytes of a frame as IPv4 without a tag; `None` for what is not, or not well formed.
#[inline(always)]
pub(super) fn untagged(start: &[u8; ethernet::HEADER_LEN + FIXED_LEN]) -> Option<Network> {
    let [
        ..,
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
        _,
        _,
        _,
        _,
        a,
        b,
        c,
        d,
        _,
        _,
        _,
        _,
    ] = *start;
    let is_ipv4 = u16::from_be_bytes([t, y]) == ethernet::IPV4 && first >> 4 == 4;
    (is_ipv4 && header_len(first) >= FIXED_LEN).then_some(Network {
        source: Source::v4([a, b, c, d]),
        version: Version::V4,
        offset: ethernet::HEADER_LEN,
    })
}

#[inline(always)]
pub(super) fn transport<P: PacketBytes + ?Sized>(packet: &P, offset: usize) -> Transport {
    let Some(
        [
            first,
            _,
            len_hi,
            len_lo,
            _,
            _,
            fragment_hi,
            fragment_lo,
            _,
            protocol,
        ],
    ) = packet.read(offset)
    else {
        return Transport::Hidden;
    };
    if protocol != TCP && protocol != UDP {
        return Transport::Other;
    }
    if u16::from_be_bytes([fragment_hi, fragment_lo]) & FRAGMENT_OFFSET != 0 {
        return Transport::Hidden;
    }
    let len = usize::from(u16::from_be_bytes([len_hi, len_lo]));
    ports(
        packet,
        protocol,
        offset + header_len(first),
        datagram_end(offset, len),
    )
}

/// Header length in bytes, 0 to 60, of the header's first byte.
#[inline(always)]
const fn header_len(first: u8) -> usize {
    (first & 0x0f) as usize * 4
}
