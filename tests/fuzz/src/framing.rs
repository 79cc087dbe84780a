//! HTTP/1 streams: where they are cut changes nothing, and what is let through, hyper's parser ends
//! at the same byte and reads the same lengths from.

use botguard::edge::framing::{HeadLimits, Next, Progress, Tracker, Violation};

const LIMITS: HeadLimits = HeadLimits {
    head_bytes: 400,
    uri_bytes: 60,
    fields: 16,
};

/// # Panics
///
/// A stream is read in two ways.
pub fn check(bytes: &[u8]) {
    let (heads, refusal) = read(&[bytes]);
    for cut in [
        bytes.len() / 3,
        bytes.len() / 2,
        bytes.len().saturating_sub(1),
    ] {
        let (one, other) = bytes.split_at(cut);
        assert_eq!(
            read(&[one, other]),
            (heads.clone(), refusal),
            "cut at {cut}"
        );
    }
    for (begin, end, next) in heads {
        agrees(bytes.get(begin..end).unwrap_or_default(), next);
    }
}

/// Begin and end of a head, and what it says.
type Seen = (usize, usize, Next);

/// The heads of a stream, and where and why it was refused.
fn read(pieces: &[&[u8]]) -> (Vec<Seen>, Option<(usize, Violation)>) {
    let mut tracker = Tracker::new(LIMITS);
    let mut heads = Vec::new();
    let (mut passed, mut begin) = (0, 0);
    for piece in pieces {
        let mut rest = *piece;
        loop {
            let at = match tracker.advance(rest) {
                Progress::All => break,
                Progress::Refused { at, violation } => {
                    return (heads, Some((passed + at, violation)));
                }
                Progress::HeadEnds { at, next } => {
                    heads.push((begin, passed + at, next));
                    at
                }
                Progress::BodyEnds { at } => at,
            };
            passed += at;
            begin = passed;
            rest = rest.get(at..).unwrap_or_default();
        }
        passed += rest.len();
    }
    (heads, None)
}

/// hyper's parser may refuse more than we do, but not read another head.
fn agrees(head: &[u8], next: Next) {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(parsed) = request.parse(head) else {
        return;
    };
    assert_eq!(parsed, httparse::Status::Complete(head.len()));
    let values = |name: &str| -> Vec<&[u8]> {
        let named = |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case(name);
        let headers = request.headers.iter().filter(named);
        headers.map(|header| header.value.trim_ascii()).collect()
    };
    let lengths = values("content-length");
    let encodings = values("transfer-encoding");
    match next {
        Next::Chunked => {
            assert!(lengths.is_empty());
            assert_eq!(encodings.len(), 1);
            assert!(
                encodings
                    .iter()
                    .all(|value| value.eq_ignore_ascii_case(b"chunked"))
            );
            assert_eq!(request.version, Some(1));
        }
        Next::Sized(length) => {
            assert!(encodings.is_empty());
            let told: Vec<_> = lengths
                .iter()
                .map(|value| String::from_utf8_lossy(value).parse::<u64>())
                .collect();
            assert!(
                told == [Ok(length)] || (told.is_empty() && length == 0),
                "{told:?}"
            );
        }
        Next::Upgrade => assert!(encodings.is_empty() && !values("upgrade").is_empty()),
    }
}

/// Streams of each form, and ways to have two readings.
pub fn seeds() -> impl Iterator<Item = Vec<u8>> {
    SEEDS.into_iter().map(|seed| seed.as_bytes().to_vec())
}

const SEEDS: [&str; 8] = [
    "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.0\r\n\r\n",
    "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcdeGET / HTTP/1.1\r\n\r\n",
    "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\nabcd\r\n0\r\nA: b\r\n\r\n",
    "POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "\r\nGET /a?b HTTP/1.1\r\nA:\tb \r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "GET / HTTP/1.1\nHost : a\r\n b\r\n\n",
    "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\nContent-Length: +5, 5\r\n\r\n",
    "POST / HTTP/1.1\r\ntransfer_encoding: x\r\nTRANSFER-ENCODING:chunked\r\n\r\n0x4\r\n\0\r",
];
