//! What a client shows before its first request: its ClientHello and its opening of HTTP/2. Any
//! bytes are taken, by whatever cut; a name has its form.

use botguard::edge::client_hello::{HelloReader, HelloReading};
use botguard::edge::http2_fingerprint::{OpeningReader, OpeningReading};
use botguard::edge::ja4::Ja4;

/// The longest fingerprint of an opening: 32 settings and as many priorities, each with numbers of
/// 10 digits.
const MOST_OPENING_BYTES: usize = 32 * 18 + 32 * 30 + 32;

/// The first byte says where the rest is cut in two.
///
/// # Panics
///
/// A cut changes what is read, or a name is not in its form.
pub fn check(bytes: &[u8]) {
    let Some((cut, bytes)) = bytes.split_first() else {
        return;
    };
    let (first, second) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    hello(bytes, first, second);
    opening(bytes, first, second);
}

fn hello(bytes: &[u8], first: &[u8], second: &[u8]) {
    let whole = HelloReader::default().read(bytes);
    let mut reader = HelloReader::default();
    let cut = match reader.read(first) {
        HelloReading::Incomplete => reader.read(second),
        done => done,
    };
    assert_eq!(whole, cut);
    let HelloReading::Hello(hello) = whole else {
        return;
    };
    let ja4 = Ja4::of(&hello);
    let parts: Vec<_> = ja4.as_str().split('_').collect();
    let lengths: Vec<_> = parts.iter().map(|part| part.len()).collect();
    assert_eq!(lengths, [10, 12, 12], "{ja4:?}");
    let is_hash = |part: &str| part.bytes().all(|it| it.is_ascii_hexdigit());
    assert!(parts.iter().skip(1).all(|part| is_hash(part)), "{ja4:?}");
}

fn opening(bytes: &[u8], first: &[u8], second: &[u8]) {
    let whole = OpeningReader::default().read(bytes);
    let mut reader = OpeningReader::default();
    let cut = match reader.read(first) {
        OpeningReading::Incomplete => reader.read(second),
        done => done,
    };
    assert_eq!(whole, cut);
    if let OpeningReading::Fingerprint(fingerprint) = whole {
        assert_eq!(fingerprint.matches('|').count(), 3, "{fingerprint}");
        assert!(fingerprint.len() <= MOST_OPENING_BYTES, "{fingerprint}");
    }
}

/// Captured ones, cut at 200.
pub fn seeds() -> impl Iterator<Item = Vec<u8>> {
    [
        include_str!("../../data/client-hellos.jsonl"),
        include_str!("../../data/http2-openings.jsonl"),
    ]
    .into_iter()
    .flat_map(str::lines)
    .filter_map(|line| {
        let (_before, after) = line.split_once("_hex\": \"")?;
        let (hex, _after) = after.split_once('"')?;
        let (pairs, _odd) = hex.as_bytes().as_chunks::<2>();
        let bytes = pairs.iter().filter_map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(pair, 16).ok()
        });
        Some(std::iter::once(200).chain(bytes).collect())
    })
}
