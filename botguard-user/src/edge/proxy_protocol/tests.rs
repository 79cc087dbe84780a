//! Headers of each form, whole and cut, and what is none.

use proptest::prelude::*;

use super::*;

fn address(text: &str) -> Source {
    Source::Address(text.parse().unwrap())
}

/// A header is whole at its end, whatever follows, and begun at every place before it.
fn check(header: &[u8], expected: Result<Source, HeaderError>) {
    let Ok(source) = expected else {
        assert_eq!(parse(header), Err(expected.unwrap_err()), "{header:?}");
        return;
    };
    let whole = Header::Whole {
        bytes: header.len(),
        source,
    };
    assert_eq!(parse(header), Ok(whole), "{header:?}");
    for after in [&b"\x16\x03\x01"[..], b"\r\n", b"PROXY ", header] {
        assert_eq!(parse(&[header, after].concat()), Ok(whole));
    }
    for cut in 0..header.len() {
        assert_eq!(parse(&header[..cut]), Ok(Header::Begun), "{cut} {header:?}");
    }
}

#[test]
fn version_1() {
    let check = |line: &str, expected: Option<Source>| {
        let line = format!("{line}\r\n");
        check(line.as_bytes(), expected.ok_or(HeaderError::Version1));
    };
    check(
        "PROXY TCP4 192.0.2.1 198.51.100.1 4711 443",
        Some(address("192.0.2.1")),
    );
    check(
        "PROXY TCP6 2001:db8::1 2001:db8::2 0 65535",
        Some(address("2001:db8::1")),
    );
    check(
        "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2",
        Some(address("192.0.2.1")),
    );
    check("PROXY UNKNOWN", Some(Source::Unnamed));
    check("PROXY UNKNOWN ff:: ff:: 1 2", Some(Source::Unnamed));
    for line in [
        "PROXY ",
        "PROXY UNKNOWNS",
        "PROXY UDP4 192.0.2.1 198.51.100.1 1 2",
        "PROXY tcp4 192.0.2.1 198.51.100.1 1 2",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 2 3",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 2 ",
        "PROXY TCP4  192.0.2.1 198.51.100.1 1 2",
        "PROXY TCP4 192.0.2.1\t198.51.100.1 1 2",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 65536",
        "PROXY TCP4 192.0.2.1 198.51.100.1 01 2",
        "PROXY TCP4 192.0.2.1 198.51.100.1 +1 2",
        "PROXY TCP4 192.0.2.1 198.51.100.1 -1 2",
        "PROXY TCP4 192.0.2.01 198.51.100.1 1 2",
        "PROXY TCP4 192.0.2.1/8 198.51.100.1 1 2",
        "PROXY TCP4 192.0.2 198.51.100.1 1 2",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 2",
        "PROXY TCP6 192.0.2.1 198.51.100.1 1 2",
        "PROXY TCP6 2001:db8::1 198.51.100.1 1 2",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 2\n",
    ] {
        check(line, None);
    }
    // The longest that there may be, and one byte more.
    let unknown = |bytes: usize| format!("PROXY UNKNOWN {}", "x".repeat(bytes - 16));
    check(&unknown(107), Some(Source::Unnamed));
    check(&unknown(108), None);
}

fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, block].concat()
}

#[test]
fn version_2() {
    let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0, 80, 1, 187];
    let mut v6 = [0; 36];
    v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    v6[15] = 1;
    let mut mapped = [0; 36];
    mapped[10..16].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 1]);
    let named = address("192.0.2.1");
    check(&v2(0x21, 0x11, &v4), Ok(named));
    check(&v2(0x21, 0x12, &v4), Ok(named));
    check(&v2(0x21, 0x21, &v6), Ok(address("2001:db8::1")));
    check(&v2(0x21, 0x22, &mapped), Ok(named));
    // TLVs, true ones or not.
    check(
        &v2(0x21, 0x11, &[&v4[..], &[4, 0, 1, 0]].concat()),
        Ok(named),
    );
    check(&v2(0x21, 0x11, &[&v4[..], &[0xff; 9]].concat()), Ok(named));
    check(&v2(0x21, 0x11, &[&v4[..], &[0; 4_068]].concat()), Ok(named));
    check(
        &v2(0x21, 0x11, &[&v4[..], &[0; 4_069]].concat()),
        Err(HeaderError::TooLong),
    );
    // A health check, Unix sockets, what is not specified.
    check(&v2(0x20, 0x00, &[]), Ok(Source::Peer));
    check(&v2(0x20, 0x11, &v4), Ok(Source::Peer));
    check(&v2(0x20, 0x11, &v4[..3]), Ok(Source::Peer));
    check(&v2(0x21, 0x31, &[b'/'; 216]), Ok(Source::Unnamed));
    check(&v2(0x21, 0x00, &[]), Ok(Source::Unnamed));
    check(&v2(0x21, 0x13, &v4), Ok(Source::Unnamed));
    // Too short for its family, another version, another command.
    let wrong = Err(HeaderError::Version2);
    check(&v2(0x21, 0x11, &v4[..11]), wrong);
    check(&v2(0x21, 0x21, &v6[..35]), wrong);
    check(&v2(0x11, 0x11, &v4), wrong);
    check(&v2(0x31, 0x11, &v4), wrong);
    check(&v2(0x22, 0x11, &v4), wrong);
}

#[test]
fn what_is_no_header() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01",
        b"PROXYTCP4",
        b"proxy TCP4",
        b"\r\n\r\n\0\r\nQUIT\r",
        b"\r\n\r\r",
        b" ",
    ] {
        assert_eq!(parse(bytes), Err(HeaderError::Signature), "{bytes:?}");
    }
    assert_eq!(parse(b""), Ok(Header::Begun));
}

proptest! {
    /// No header is ever taken to be longer than what was read, nor read on without end.
    #[test]
    fn a_header_is_bounded(
        signed in any::<bool>(),
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = if signed { [SIGNATURE, &bytes].concat() } else { bytes };
        match parse(&bytes) {
            Ok(Header::Whole { bytes: whole, .. }) => prop_assert!(whole <= bytes.len()),
            Ok(Header::Begun) => prop_assert!(bytes.len() < MAX_BYTES),
            Err(_) => {}
        }
    }
}
