//! Databases of autonomous systems, and of something else.

use super::*;
use crate::intel::table_file::example::{database, map, number, text};
use crate::words::clock::Wall;

fn file(content: &[u8]) -> TableFile {
    TableFile {
        path: "data/asn.mmdb".into(),
        content: content.to_vec(),
        date: Wall::from_unix_ms(0),
    }
}

fn parse_content(content: &[u8]) -> Result<AsnTable, IntelError> {
    parse(&file(content))
}

#[test]
fn networks_are_found_again() {
    let data = map(&[
        ("autonomous_system_number", number(16_509)),
        ("autonomous_system_organization", text("Amazon.com, Inc.")),
    ]);
    // 1010/4 is 160.0.0.0 to 175.255.255.255.
    let content = database(&[1, 0, 1, 0], &data, 0);
    assert!(file(&content).is_database());
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
        &database(&[1, 0], &country, 0),
        "data/asn.mmdb: is a database of type `Test` without",
    );
    let whole = database(&[1, 0], &country, 0);
    let marker = whole.len() - 20;
    check(&whole[..marker], "data/asn.mmdb: is a damaged MMDB");
    assert!(!file(b"1.0.0.0,1.0.0.255,13335,x\n").is_database());
    assert!(!file(b"").is_database());
}

#[test]
fn a_database_says_how_old_its_data_is() {
    let data = map(&[("autonomous_system_number", number(16_509))]);
    let check = |build_epoch: u16, expected: u64| {
        let table = parse_content(&database(&[1, 0], &data, build_epoch)).unwrap();
        assert_eq!(table.data_date(), Wall::from_unix_ms(expected));
    };
    check(60_000, 60_000_000);
    // It does not say.
    check(0, 0);
}
