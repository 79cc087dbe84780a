//! Ethernet header and VLAN tags.

use super::{MAX_VLAN_TAGS, PacketBytes, Unfiltered};

pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;
/// Bytes of the header, tags apart.
pub(super) const HEADER_LEN: usize = 14;

/// The type and the offset of what the frame carries, behind its tags.
#[inline(always)]
pub(super) fn payload<P: PacketBytes + ?Sized>(packet: &P) -> Result<(u16, usize), Unfiltered> {
    let mut ether_type = read_type(packet, 12)?;
    let mut offset = HEADER_LEN;
    for _ in 0..MAX_VLAN_TAGS {
        if !is_tag(ether_type) {
            return Ok((ether_type, offset));
        }
        ether_type = read_type(packet, offset + 2)?;
        offset += 4;
    }
    if is_tag(ether_type) {
        Err(Unfiltered::TooManyTags)
    } else {
        Ok((ether_type, offset))
    }
}

#[inline(always)]
fn read_type<P: PacketBytes + ?Sized>(packet: &P, offset: usize) -> Result<u16, Unfiltered> {
    packet
        .read(offset)
        .map(u16::from_be_bytes)
        .ok_or(Unfiltered::Truncated)
}

/// 802.1Q, 802.1ad, and the type that QinQ used before it.
#[inline(always)]
const fn is_tag(ether_type: u16) -> bool {
    matches!(ether_type, 0x8100 | 0x88a8 | 0x9100)
}
