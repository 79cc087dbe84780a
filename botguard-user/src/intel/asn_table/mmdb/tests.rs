//! Databases small enough to be written by hand: a tree of 24-bit records that leads to one data
//! record, and its metadata.

use super::*;

/// Metadata types of the format: a control octet holds type and size.
fn text(value: &str) -> Vec<u8> {
    let size = u8::try_from(value.len()).unwrap();
    let mut encoded = match size {
        0..=28 => vec![0x40 | size],
        _ => vec![0x40 | 29, size - 29],
    };
    encoded.extend(value.as_bytes());
    encoded
}

fn number(value: u32) -> Vec<u8> {
    [vec![0xc4], value.to_be_bytes().to_vec()].concat()
}

fn short_number(value: u16) -> Vec<u8> {
    [vec![0xa2], value.to_be_bytes().to_vec()].concat()
}

fn map(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut encoded = vec![0xe0 | u8::try_from(entries.len()).unwrap()];
    for (key, value) in entries {
        encoded.extend(text(key));
        encoded.extend(value);
    }
    encoded
}

/// An IPv4 database in which the network of the first `bits` has the record `data`.
fn database(bits: &[u8], data: &[u8]) -> Vec<u8> {
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
        ("build_epoch", vec![0x00, 0x02]),
        ("database_type", text("Test")),
        ("description", map(&[])),
        ("ip_version", short_number(4)),
        ("languages", vec![0x00, 0x04]),
        ("node_count", number(n_nodes)),
        ("record_size", short_number(24)),
    ]));
    file
}

fn parse_content(content: &[u8]) -> Result<AsnTable, IntelError> {
    parse(Path::new("data/asn.mmdb"), content, Wall::from_unix_ms(0))
}

#[test]
fn networks_are_found_again() {
    let data = map(&[
        ("autonomous_system_number", number(16_509)),
        ("autonomous_system_organization", text("Amazon.com, Inc.")),
    ]);
    // 1010/4 is 160.0.0.0 to 175.255.255.255.
    let content = database(&[1, 0, 1, 0], &data);
    assert!(is_database(&content));
    let table = parse_content(&content).unwrap();
    let check = |ip: &str, expected: Option<u32>| {
        let found = table.find(ip.parse().unwrap()).map(|asn| asn.number);
        assert_eq!(found, expected, "{ip}");
    };
    check("160.0.0.0", Some(16_509));
    check("175.255.255.255", Some(16_509));
    check("159.255.255.255", None);
    check("176.0.0.0", None);
    let asn = table.find("160.0.0.1".parse().unwrap()).unwrap();
    assert_eq!(
        (&*asn.name, &*asn.table),
        ("Amazon.com, Inc.", "asn.mmdb of 1970-01-01")
    );
}

#[test]
fn other_databases_are_refused() {
    let check = |content: &[u8], expected: &str| {
        let message = parse_content(content).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    };
    let country = map(&[("iso_code", text("DE"))]);
    check(
        &database(&[1, 0], &country),
        "data/asn.mmdb: is a database of type `Test` without",
    );
    let whole = database(&[1, 0], &country);
    let marker = whole.len() - 20;
    check(&whole[..marker], "data/asn.mmdb: is a damaged MMDB");
    assert!(!is_database(b"1.0.0.0,1.0.0.255,13335,x\n"));
    assert!(!is_database(b""));
}
