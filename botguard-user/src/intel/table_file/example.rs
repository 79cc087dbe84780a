//! Databases small enough to be written by hand: a tree of 24-bit records that leads to one data
//! record, and its metadata.

use super::METADATA_MARKER;

/// Metadata types of the format: a control octet holds type and size.
pub(in crate::intel) fn text(value: &str) -> Vec<u8> {
    let size = u8::try_from(value.len()).unwrap();
    let mut encoded = match size {
        0..=28 => vec![0x40 | size],
        _ => vec![0x40 | 29, size - 29],
    };
    encoded.extend(value.as_bytes());
    encoded
}

pub(in crate::intel) fn number(value: u32) -> Vec<u8> {
    [vec![0xc4], value.to_be_bytes().to_vec()].concat()
}

fn short_number(value: u16) -> Vec<u8> {
    [vec![0xa2], value.to_be_bytes().to_vec()].concat()
}

pub(in crate::intel) fn map(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut encoded = vec![0xe0 | u8::try_from(entries.len()).unwrap()];
    for (key, value) in entries {
        encoded.extend(text(key));
        encoded.extend(value);
    }
    encoded
}

/// An IPv4 database in which the network of the first `bits` has the record `data`.
pub(in crate::intel) fn database(bits: &[u8], data: &[u8], build_epoch: u16) -> Vec<u8> {
    let n_nodes = u32::try_from(bits.len()).unwrap();
    let mut file = Vec::new();
    for (depth, bit) in (1..).zip(bits) {
        // The data section starts 16 octets behind the tree.
        let onward = if depth == n_nodes {
            n_nodes + 16
        } else {
            depth
        };
        let sides = if *bit == 0 {
            [onward, n_nodes]
        } else {
            [n_nodes, onward]
        };
        for side in sides {
            file.extend(&side.to_be_bytes()[1..]);
        }
    }
    file.extend([0; 16]);
    file.extend(data);
    file.extend(METADATA_MARKER);
    file.extend(map(&[
        ("binary_format_major_version", short_number(2)),
        ("binary_format_minor_version", short_number(0)),
        (
            "build_epoch",
            [vec![0x02, 0x02], build_epoch.to_be_bytes().to_vec()].concat(),
        ),
        ("database_type", text("Test")),
        ("description", map(&[])),
        ("ip_version", short_number(4)),
        ("languages", vec![0x00, 0x04]),
        ("node_count", number(n_nodes)),
        ("record_size", short_number(24)),
    ]));
    file
}
