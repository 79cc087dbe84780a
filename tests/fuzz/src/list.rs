//! Lists: any bytes are answered, and what was read is what the daemon is sent.

use botguard::enforcement::import::{Format, parse, wire};

/// Reads a list in each format.
///
/// # Panics
///
/// A list that was read is sent as another one, or not at all.
pub fn check(content: &[u8]) {
    for format in [Format::Cidr, Format::Json, Format::Wire] {
        let Ok(parsed) = parse(content, format) else {
            continue;
        };
        let wired = wire(content, format);
        let sent = wired.map(|wired| parse(wired.as_bytes(), Format::Wire));
        assert_eq!(sent, Ok(Ok(parsed)), "as {format:?}");
    }
}

/// A list of each form, and each mistake that has a message of its own.
pub fn seeds() -> impl Iterator<Item = Vec<u8>> {
    SEEDS.into_iter().map(|seed| seed.as_bytes().to_vec())
}

const SEEDS: [&str; 10] = [
    "# list\r\n192.0.2.7\n 198.51.100.0/24 ; SBL1\n\n2001:db8::/32 # x\n",
    "\u{feff}::ffff:192.0.2.0/120\n2001:db8::7/128",
    "192.0.2.0/24\n192.0.2.7/24\n",
    "192.0.2.7 1795435200000\n2001:db8::/64 1795435260000\n192.0.2.7\n",
    "192.0.2.1, 192.0.2.2",
    r#"["192.0.2.7", "2001:db8::\/32"]"#,
    r#"[{"network": "192.0.2.7", "expires": null, "reason": {"any": ["thing", 1.5e3, true]}}]"#,
    r#"[{"expires": "2026-11-23T12:00:00.001Z", "network": "192.0.2.0\u002f24"}, "::1"]"#,
    "[\n{\"network\": \"192.0.2.1\", \"expires\": \"soon\"},\n]",
    "{\"network\": \"192.0.2.1\"}",
];
