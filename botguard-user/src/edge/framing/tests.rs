//! Streams that can be read in two ways, and those that cannot; wherever they are cut.

use proptest::prelude::*;

use super::*;

const LIMITS: HeadLimits = HeadLimits {
    head_bytes: 600,
    uri_bytes: 64,
    fields: 8,
};

/// What a stream holds, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Mark {
    Head(usize, Next),
    Body(usize),
    Refused(usize, Violation),
}

fn read(pieces: &[&[u8]], limits: HeadLimits) -> Vec<Mark> {
    let mut tracker = Tracker::new(limits);
    let mut marks = Vec::new();
    let mut passed = 0;
    for piece in pieces {
        let mut rest = *piece;
        loop {
            let (at, mark) = match tracker.advance(rest) {
                Progress::All => break,
                Progress::HeadEnds { at, next } => (at, Mark::Head(passed + at, next)),
                Progress::BodyEnds { at } => (at, Mark::Body(passed + at)),
                Progress::Refused { at, violation } => {
                    marks.push(Mark::Refused(passed + at, violation));
                    return marks;
                }
            };
            marks.push(mark);
            rest = &rest[at..];
            passed += at;
        }
        passed += rest.len();
    }
    marks
}

/// Whole, and cut at every place.
fn marks(stream: &str) -> Vec<Mark> {
    let whole = read(&[stream.as_bytes()], LIMITS);
    for cut in 0..=stream.len() {
        let (one, other) = stream.as_bytes().split_at(cut);
        assert_eq!(
            read(&[one, other], LIMITS),
            whole,
            "{stream:?} cut at {cut}"
        );
    }
    whole
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let check = |stream: &str, expected: Option<Violation>| {
        let refused = marks(stream).into_iter().find_map(|mark| match mark {
            Mark::Refused(_, violation) => Some(violation),
            Mark::Head(..) | Mark::Body(_) => None,
        });
        assert_eq!(refused, expected, "{stream:?}");
    };
    let post = |lines: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let chunks = |body: &str| post("Transfer-Encoding: chunked\r\n") + body;
    use Violation as V;
    // Two framings, in either order (CL.TE, TE.CL), and two encodings (TE.TE).
    check(&(post("Content-Length: 4\r\n") + "abcd"), None);
    check(&chunks("0\r\n\r\n"), None);
    check(
        &post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"),
        Some(V::TwoFramings),
    );
    check(
        &post("transfer-encoding:chunked\r\nCONTENT-LENGTH:\t4 \r\n"),
        Some(V::TwoFramings),
    );
    for value in [
        "",
        "chunked, chunked",
        "gzip, chunked",
        "chunked,",
        "xchunked",
        "identity",
        "chunked;q=1",
        "\"chunked\"",
        "chunked chunked",
        "chunkedchunkedchunkedchunked",
        "\u{b}chunked",
    ] {
        let expected = if value.contains('\u{b}') {
            V::FieldValue
        } else {
            V::TransferEncoding
        };
        let head = post(&format!("Transfer-Encoding: {value}\r\n"));
        check(&head, Some(expected));
    }
    check(&post("Transfer-Encoding: CHUNKED\r\n"), None);
    check(&post("Transfer-Encoding:  \tchunked\t \r\n"), None);
    check(
        &post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        Some(V::TransferEncoding),
    );
    check(&post("Transfer_Encoding: chunked\r\n"), Some(V::FieldName));
    check(&post("Content_Length: 4\r\n"), Some(V::FieldName));
    check(&post("Content_Type: 4\r\n"), None);
    check(
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        Some(V::Http10Chunked),
    );
    check("POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\na", None);
    // Lengths.
    for length in [
        "",
        "+5",
        "-5",
        "5, 5",
        "5,5",
        "0x5",
        "5 5",
        "5.0",
        "five",
        "18446744073709551616",
        "00000000000000000000",
        "5;",
        "\u{663}",
    ] {
        let head = post(&format!("Content-Length: {length}\r\n"));
        check(&head, Some(V::ContentLength));
    }
    check(&post("Content-Length: 0\r\n"), None);
    check(&(post("Content-Length: \t05 \r\n") + "abcde"), None);
    check(
        &post("Content-Length: 5\r\nContent-Length: 5\r\n"),
        Some(V::ContentLengths),
    );
    // Lines.
    check("GET / HTTP/1.1\nHost: a\n\n", Some(V::BareLf));
    check("GET / HTTP/1.1\r\nHost: a\n\r\n", Some(V::BareLf));
    check("GET / HTTP/1.1\r\nHost: a\r\n\n", Some(V::BareLf));
    check("GET / HTTP/1.1\r\nHost\n: a\r\n\r\n", Some(V::BareLf));
    check("\nGET / HTTP/1.1\r\n\r\n", Some(V::BareLf));
    check("\r\nGET / HTTP/1.1\r\n\r\n", None);
    check("\rGET / HTTP/1.1\r\n\r\n", Some(V::BareCr));
    check("GET / HTTP/1.1\rX\r\n\r\n", Some(V::BareCr));
    check(&post("A: b\rc\r\n"), Some(V::BareCr));
    check(&post("A: b\r\r\n"), Some(V::BareCr));
    check("GET / HTTP/1.1\r\nA: b\r\n\rX", Some(V::BareCr));
    check(&post("A: b\r\n c\r\n"), Some(V::Fold));
    check(&post("A: b\r\n\tc\r\n"), Some(V::Fold));
    check("GET / HTTP/1.1\r\n A: b\r\n\r\n", Some(V::Fold));
    // Fields.
    check(&post("A : b\r\n"), Some(V::SpaceBeforeColon));
    check(&post("Content-Length\t: 4\r\n"), Some(V::SpaceBeforeColon));
    check(&post(": b\r\n"), Some(V::FieldName));
    check(&post("A\0: b\r\n"), Some(V::FieldName));
    check(&post("A(: b\r\n"), Some(V::FieldName));
    check(&post("A\r\n"), Some(V::FieldName));
    check(&post("\u{e4}: b\r\n"), Some(V::FieldName));
    check(&post("A: \0\r\n"), Some(V::FieldValue));
    check(&post("A: b\u{1f}c\r\n"), Some(V::FieldValue));
    check(&post("A: \u{7f}\r\n"), Some(V::FieldValue));
    check(&post("A:\r\nB: \u{e4}\t: \"\r\n"), None);
    // Request lines.
    for line in [
        "GET /",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / http/1.1",
        "GET /a b HTTP/1.1",
        "GET\t/ HTTP/1.1",
        " GET / HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET /\u{7f} HTTP/1.1",
        "GET / HTTP/1.10",
        "GET / HTTP/1.",
        "PRI * HTTP/2.0",
    ] {
        check(&format!("{line}\r\nHost: a\r\n\r\n"), Some(V::RequestLine));
    }
    check("M-SEARCH * HTTP/1.1\r\n\r\n", None);
    check("GET /\u{e4}?a#{|} HTTP/1.1\r\n\r\n", None);
    // Chunks.
    check(
        &chunks("4\r\nabcd\r\n00a\r\n0123456789\r\n0\r\nA: b\r\n\r\n"),
        None,
    );
    check(&chunks("4;a=\"b\";c\r\nabcd\r\n0;d\r\n\r\n"), None);
    check(&chunks("F\r\n0123456789abcde\r\n0\r\n\r\n"), None);
    for size in [
        "0x4",
        "4 ",
        " 4",
        "-4",
        "+4",
        "",
        "g",
        "4 ;a",
        "0000000000000001",
        "4\r",
    ] {
        check(&chunks(&format!("{size}\r\nabcd\r\n")), Some(V::ChunkSize));
    }
    check(&chunks("4\nabcd\r\n"), Some(V::ChunkSize));
    check(&chunks("4;a\nabcd\r\n"), Some(V::ChunkExtension));
    check(&chunks("4;a\0\r\nabcd\r\n"), Some(V::ChunkExtension));
    check(&chunks("4;a\rbcd\r\n"), Some(V::ChunkSize));
    check(&chunks("4\r\nabcde\r\n"), Some(V::ChunkEnd));
    check(&chunks("4\r\nabcd\n"), Some(V::ChunkEnd));
    check(&chunks("4\r\nabcd\rx"), Some(V::ChunkEnd));
    check(&chunks("4\r\nabcd0\r\n\r\n"), Some(V::ChunkEnd));
    check(&chunks("0\r\nContent-Length: 4\r\n\r\n"), Some(V::Trailer));
    check(
        &chunks("0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Some(V::Trailer),
    );
    check(&chunks("0\r\nA: b\n\r\n"), Some(V::BareLf));
    check(&chunks("0\r\n A: b\r\n\r\n"), Some(V::Fold));
    // Sizes.
    let uri = |bytes: usize| format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(bytes - 1));
    check(&uri(64), None);
    check(&uri(65), Some(V::UriTooLong));
    let lines = |lines: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(lines));
    check(&lines(8), None);
    check(&lines(9), Some(V::TooManyFields));
    let long = |bytes: usize| format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(bytes - 23));
    check(&long(600), None);
    check(&long(601), Some(V::HeadTooLarge));
    check(&"\r\n".repeat(301), Some(V::HeadTooLarge));
}

#[test]
fn long_extensions_and_trailers_are_refused() {
    let check = |body: String, expected: Option<Violation>| {
        let stream = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let found = match read(&[stream.as_bytes()], LIMITS).last() {
            Some(Mark::Refused(_, violation)) => Some(*violation),
            _ => None,
        };
        assert_eq!(found, expected);
    };
    let chunk = |bytes: usize| format!("1;{}\r\na\r\n", "e".repeat(bytes));
    let end = "0\r\n\r\n";
    check(chunk(2_048) + &chunk(2_048) + end, None);
    check(
        chunk(2_048) + &chunk(2_049) + end,
        Some(Violation::ChunkExtension),
    );
    check(format!("0\r\n{}\r\n", "A: b\r\n".repeat(100)), None);
    check(
        format!("0\r\n{}\r\n", "A: b\r\n".repeat(101)),
        Some(Violation::Trailer),
    );
    check(format!("0\r\nA: {}\r\n\r\n", "b".repeat(16_000)), None);
    check(
        format!("0\r\nA: {}\r\n\r\n", "b".repeat(17_000)),
        Some(Violation::Trailer),
    );
}

#[test]
fn requests_of_a_pipeline_are_told_apart() {
    let check = |parts: &[(&str, Option<Next>)]| {
        let stream: String = parts.iter().map(|(part, _)| *part).collect();
        let mut end = 0;
        let expected: Vec<_> = parts
            .iter()
            .map(|(part, next)| {
                end += part.len();
                next.map_or(Mark::Body(end), |next| Mark::Head(end, next))
            })
            .collect();
        assert_eq!(marks(&stream), expected);
    };
    check(&[
        ("GET /a HTTP/1.1\r\nHost: a\r\n\r\n", Some(Next::Sized(0))),
        (
            "\r\nPOST /b HTTP/1.1\r\nContent-Length: 29\r\n\r\n",
            Some(Next::Sized(29)),
        ),
        ("GET /no HTTP/1.1\nHost : a\r\n\r\n", None),
        (
            "POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            Some(Next::Chunked),
        ),
        ("1b\r\nGET / HTTP/1.1\nHost : a\r\n\r\n\r\n0\r\n\r\n", None),
        ("GET /d HTTP/1.0\r\n\r\n", Some(Next::Sized(0))),
        (
            "GET /e HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            Some(Next::Upgrade),
        ),
    ]);
}

proptest! {
    /// Where a stream is cut changes nothing, and no bytes make it panic.
    #[test]
    fn pieces_are_as_good_as_the_whole(
        stream in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "(GET|POST) /[a-z ]{0,3} HTTP/1\\.[01]\r\n(Host: a\r\n|Content-Length: [0-9]{1,2}\r\n|\
             Transfer-Encoding: chunked\r\n){0,3}\r\n([0-9a-f]{1,2}\r\n|[a-z]{0,12}|0\r\n\r\n){0,6}"
                .prop_map(String::into_bytes),
        ],
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..4),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        cuts.push(stream.len());
        let mut begin = 0;
        let pieces: Vec<_> = cuts
            .iter()
            .map(|cut| &stream[std::mem::replace(&mut begin, *cut)..*cut])
            .collect();
        prop_assert_eq!(read(&pieces, LIMITS), read(&[&stream], LIMITS));
    }
}
