//! What a packet says of its source, destination and ports.
//!
//! Two stages, since nearly every packet is clean: [`network`] reads the fixed IP header and gives
//! the source; [`Network::destination`] and [`Network::transport`] read the rest, and are asked
//! only after the source was found in a table. Bytes come from a [`PacketBytes`]: a pointer pair
//! in the kernel, a slice in tests.
//!
//! Not here: checksums, reassembly, tunnels. A packet is judged by its outer IP header.

mod ethernet;
mod ipv4;
mod ipv6;

/// Read access to a packet from its Ethernet header on.
pub trait PacketBytes {
    /// The `N` bytes at `offset`, or `None` where the packet ends before.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;
}

impl PacketBytes for [u8] {
    #[inline]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk::<N>().copied()
    }
}

/// First stage: finds the IP header and the source address.
///
/// Errors: [`Unfiltered`] where there is no source to look up; such packets pass.
#[inline(always)]
pub fn network<P: PacketBytes + ?Sized>(packet: &P) -> Result<Network, Unfiltered> {
    // Nearly every packet has no tag: one comparison with the end for all of it.
    if let Some(start) = packet.read::<{ ethernet::HEADER_LEN + ipv4::FIXED_LEN }>(0)
        && let Some(network) = ipv4::untagged(&start)
    {
        return Ok(network);
    }
    if let Some(start) = packet.read::<{ ethernet::HEADER_LEN + ipv6::FIXED_LEN }>(0)
        && let Some(network) = ipv6::untagged(&start)
    {
        return Ok(network);
    }
    let (ether_type, offset) = ethernet::payload(packet)?;
    match ether_type {
        ethernet::IPV4 => ipv4::network(packet, offset),
        ethernet::IPV6 => ipv6::network(packet, offset),
        _ => Err(Unfiltered::NotIp),
    }
}

/// Why a packet has no source to look up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unfiltered {
    /// ARP, LLDP and so on.
    NotIp,
    /// It ends inside the Ethernet or the fixed IP header.
    Truncated,
    /// The IP version or header length contradicts what came before.
    BadHeader,
    /// More VLAN tags than [`MAX_VLAN_TAGS`].
    TooManyTags,
}

/// An IP packet of which the source is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    /// Whose packet it is.
    pub source: Source,
    version: Version,
    /// Offset of the IP header.
    offset: usize,
}

impl Network {
    /// Destination address; IPv4 as an IPv4-mapped one.
    ///
    /// `None` never happens for a packet that [`network`] accepted, but the verifier wants proof.
    #[inline(always)]
    pub fn destination<P: PacketBytes + ?Sized>(&self, packet: &P) -> Option<[u8; 16]> {
        match self.version {
            Version::V4 => Some(mapped(packet.read(self.offset + ipv4::DESTINATION)?)),
            Version::V6 => packet.read(self.offset + ipv6::DESTINATION),
        }
    }

    /// [`Self::destination`] as the two halves of an IPv6 address.
    #[inline(always)]
    pub fn destination_halves<P: PacketBytes + ?Sized>(&self, packet: &P) -> Option<(u64, u64)> {
        match self.version {
            Version::V4 => {
                let address = Source::v4(packet.read(self.offset + ipv4::DESTINATION)?);
                Some((address.high, address.low))
            }
            Version::V6 => {
                let high = packet.read(self.offset + ipv6::DESTINATION)?;
                let low = packet.read(self.offset + ipv6::DESTINATION + 8)?;
                Some((u64::from_be_bytes(high), u64::from_be_bytes(low)))
            }
        }
    }

    /// Second stage: ports, or why there are none.
    #[inline(always)]
    pub fn transport<P: PacketBytes + ?Sized>(&self, packet: &P) -> Transport {
        match self.version {
            Version::V4 => ipv4::transport(packet, self.offset),
            Version::V6 => ipv6::transport(packet, self.offset),
        }
    }
}

/// Source address. An IPv4-mapped IPv6 source (RFC 4291 section 2.5.5.2) is IPv4.
///
/// Two words that live in registers: an array would be copied to the stack for every packet.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Source {
    high: u64,
    /// IPv4 in its mapped form.
    low: u64,
}

impl Source {
    /// An IPv4 source.
    #[inline(always)]
    #[must_use]
    pub const fn v4(address: [u8; 4]) -> Self {
        Self {
            high: 0,
            low: MAPPED << 32 | u32::from_be_bytes(address) as u64,
        }
    }

    /// An IPv6 source, or an IPv4 one in mapped form.
    #[inline(always)]
    #[must_use]
    pub const fn v6(address: [u8; 16]) -> Self {
        let address = u128::from_be_bytes(address);
        #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
        let low = address as u64;
        Self {
            high: (address >> 64) as u64,
            low,
        }
    }

    /// From the two halves of an IPv6 source, network order.
    #[inline(always)]
    #[must_use]
    pub const fn of_halves(high: [u8; 8], low: [u8; 8]) -> Self {
        Self {
            high: u64::from_be_bytes(high),
            low: u64::from_be_bytes(low),
        }
    }

    /// The address as a number, if it is IPv4.
    #[inline(always)]
    #[must_use]
    pub const fn as_v4(&self) -> Option<u32> {
        if self.high == 0 && self.low >> 32 == MAPPED {
            #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
            let address = self.low as u32;
            Some(address)
        } else {
            None
        }
    }

    /// The upper 64 bits of the IPv6 form.
    #[inline(always)]
    #[must_use]
    pub const fn high(&self) -> u64 {
        self.high
    }

    /// The lower 64 bits of the IPv6 form.
    #[inline(always)]
    #[must_use]
    pub const fn low(&self) -> u64 {
        self.low
    }

    /// The address as IPv6, network order; IPv4 in its mapped form.
    #[inline(always)]
    #[must_use]
    pub const fn as_v6(&self) -> [u8; 16] {
        let [a, b, c, d, e, f, g, h] = self.high.to_be_bytes();
        let [i, j, k, l, m, n, o, p] = self.low.to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }
}

/// Bits 64 to 95 of an IPv4-mapped address.
const MAPPED: u64 = 0xffff;

/// What follows the IP headers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    /// TCP or UDP with readable ports.
    Ports {
        /// [`TCP`] or [`UDP`].
        protocol: u8,
        /// Destination port, network order.
        destination_be: [u8; 2],
    },
    /// Neither TCP nor UDP: ICMP, ICMPv6, ESP and so on.
    Other,
    /// TCP or UDP, or nobody knows, with ports that cannot be read: a fragment that is not the
    /// first, a first one too short for them, an extension chain too long or cut off.
    Hidden,
}

/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;
/// QinQ has two tags; nothing legitimate has more.
pub const MAX_VLAN_TAGS: usize = 2;
/// IPv6 extension headers that are walked. RFC 8200 section 4.1 recommends at most seven, each
/// once but for destination options.
pub const MAX_EXTENSION_HEADERS: usize = 8;

/// An IPv4 address in its IPv4-mapped IPv6 form.
#[inline(always)]
#[must_use]
pub const fn mapped(address: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = address;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum Version {
    V4,
    V6,
}

/// Reads the ports at `start` of a datagram that ends at `end`.
///
/// Ethernet pads short frames, so bytes beyond `end` are not the datagram's: a first fragment that
/// is too short for its ports must not have zeros taken for them.
#[inline(always)]
fn ports<P: PacketBytes + ?Sized>(packet: &P, protocol: u8, start: usize, end: usize) -> Transport {
    if start + 4 > end {
        return Transport::Hidden;
    }
    match packet.read::<2>(start + 2) {
        Some(destination_be) => Transport::Ports {
            protocol,
            destination_be,
        },
        None => Transport::Hidden,
    }
}

/// End of an IP packet of `len` bytes at `offset`. A length of zero (jumbograms of RFC 2675, big
/// TCP) says nothing, so the frame's end decides.
#[inline(always)]
const fn datagram_end(offset: usize, len: usize) -> usize {
    if len == 0 { usize::MAX } else { offset + len }
}

#[cfg(test)]
mod tests;
