//! The corpus read whole, cut off after every byte, and through a second reader; random bytes.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::corpus::{Reading, packets};

#[test]
fn every_packet_reads_as_expected() {
    for packet in packets() {
        assert_eq!(
            read(packet.bytes.as_slice()),
            packet.expected,
            "{}",
            packet.name
        );
    }
}

/// Cutting a packet off may hide its ports or its source, but never changes what is still read.
#[test]
fn every_prefix_is_total_and_tells_no_lies() {
    for packet in packets() {
        for len in 0..packet.bytes.len() {
            let prefix = packet.bytes.get(..len).unwrap();
            match (read(prefix), packet.expected) {
                (Err(reason), Err(expected)) => {
                    assert!(reason == expected || reason == Unfiltered::Truncated);
                }
                (Err(reason), Ok(_)) => {
                    assert_eq!(reason, Unfiltered::Truncated, "{} at {len}", packet.name);
                }
                (Ok(reading), Ok(expected)) => {
                    assert_eq!(reading.source, expected.source);
                    assert_eq!(reading.destination, expected.destination);
                    assert!(
                        reading.transport == expected.transport
                            || reading.transport == Transport::Hidden,
                        "{} at {len}",
                        packet.name
                    );
                }
                (Ok(reading), Err(_)) => panic!("{} at {len}: {reading:?}", packet.name),
            }
        }
    }
}

proptest! {
    /// The kernel reads through two addresses and compares with the end; here the same arithmetic
    /// runs beside the slice reader, on packets with a few bytes changed.
    #[test]
    fn both_readers_agree(
        index in 0..packets().len(),
        changes in prop::collection::vec((0_usize..120, any::<u8>()), 0..8),
        len in 0_usize..160,
    ) {
        let mut bytes = packets().get(index).unwrap().bytes.clone();
        for (offset, value) in changes {
            if let Some(byte) = bytes.get_mut(offset) {
                *byte = value;
            }
        }
        bytes.truncate(len);
        prop_assert_eq!(read(bytes.as_slice()), read(&Window::over(&bytes)));
    }

    #[test]
    fn random_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(read(bytes.as_slice()), read(&Window::over(&bytes)));
    }
}

fn read<P: PacketBytes + ?Sized>(packet: &P) -> Result<Reading, Unfiltered> {
    let network = network(packet)?;
    Ok(Reading {
        source: network.source,
        destination: network.destination(packet).unwrap(),
        transport: network.transport(packet),
    })
}

/// Reads as the kernel half does: `start + offset + N > end` is the end of the packet.
struct Window {
    memory: Vec<u8>,
    start: usize,
    end: usize,
}

impl Window {
    fn over(bytes: &[u8]) -> Self {
        let start = 7;
        let mut memory = [0xee; 7].to_vec();
        memory.extend(bytes);
        let end = memory.len();
        // What lies behind must never be read.
        memory.extend([0xee; 64]);
        Self { memory, start, end }
    }
}

impl PacketBytes for Window {
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        if self.start + offset + N > self.end {
            return None;
        }
        self.memory
            .get(self.start + offset..)?
            .first_chunk::<N>()
            .copied()
    }
}
