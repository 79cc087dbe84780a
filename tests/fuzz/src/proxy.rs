//! PROXY protocol headers: each ends where it ends whatever follows, and is begun before.

use botguard::edge::proxy_protocol::{Header, MAX_BYTES, parse};

/// # Panics
///
/// More is taken than belongs to the header, or a header does not end.
pub fn check(bytes: &[u8]) {
    match parse(bytes) {
        Ok(whole @ Header::Whole { bytes: end, .. }) => {
            assert!(end <= bytes.len() && end <= MAX_BYTES, "{end}");
            let header = bytes.get(..end).unwrap_or_default();
            assert_eq!(parse(header), Ok(whole));
            for cut in 0..end {
                let begin = header.get(..cut).unwrap_or_default();
                assert_eq!(parse(begin), Ok(Header::Begun), "cut at {cut}");
            }
        }
        Ok(Header::Begun) => assert!(bytes.len() < MAX_BYTES),
        // What cannot be a header does not become one.
        Err(error) => {
            let longer = [bytes, b"\r\n"].concat();
            assert_eq!(parse(&longer), Err(error));
        }
    }
}

/// A header of each form, with what follows it.
pub fn seeds() -> impl Iterator<Item = Vec<u8>> {
    let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x67, 1, 187];
    let v2 = |command: u8, family: u8, block: &[u8]| {
        let length = u8::try_from(block.len()).unwrap_or(u8::MAX);
        [
            b"\r\n\r\n\0\r\nQUIT\n".as_slice(),
            &[command, family, 0, length],
            block,
            b"\x16\x03\x01",
        ]
        .concat()
    };
    [
        b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n\x16\x03\x01".to_vec(),
        b"PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 0 65535\r\n".to_vec(),
        b"PROXY UNKNOWN ff::1 ff::1 1 2\r\nGET".to_vec(),
        v2(0x21, 0x11, &v4),
        v2(0x21, 0x12, &[v4.as_slice(), &[4, 0, 1, 0]].concat()),
        v2(0x21, 0x21, &[0x20; 36]),
        v2(0x21, 0x31, &[b'/'; 216]),
        v2(0x20, 0x00, &[]),
    ]
    .into_iter()
}
