//! What hyper is given in place of a head that was refused: a request that cannot be read in two
//! ways, so that the answer is made, ordered, written and recorded like any other.

use http::{HeaderMap, Uri};
use memchr::{memchr, memchr_iter};

/// A whole head with as much of `head` in it as is beyond doubt: its request line and the field
/// lines before the violation, those that frame anything left out.
pub(super) fn stand_in(head: &[u8]) -> Vec<u8> {
    let mut lines = head
        .split_inclusive(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_suffix(b"\r\n"))
        .skip_while(|line| line.is_empty());
    let request_line = lines.next().filter(|line| is_good(line));
    let Some(request_line) = request_line else {
        return [b"GET / HTTP/1.1\r\n", CLOSE].concat();
    };
    let mut whole = [request_line, b"\r\n"].concat();
    for line in lines.take(MOST_LINES) {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        let frames = FRAMING.iter().any(|field| name.eq_ignore_ascii_case(field));
        if !frames && !line.is_empty() && whole.len() + line.len() < MOST_BYTES {
            whole.extend_from_slice(line);
            whole.extend_from_slice(b"\r\n");
        }
    }
    whole.extend_from_slice(CLOSE);
    whole
}

/// The first of `headers`: as many as a stand-in would have.
pub(in crate::edge) fn first_of(headers: &HeaderMap) -> HeaderMap {
    let mut left = MOST_BYTES;
    let first = headers.iter().take(MOST_LINES).take_while(|(name, value)| {
        let bytes = name.as_str().len() + value.len();
        let fits = bytes < left;
        left = left.saturating_sub(bytes);
        fits
    });
    first
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Whether the target of a whole head is a URI to hyper, which would answer by itself otherwise.
pub(super) fn has_target(head: &[u8]) -> bool {
    let begin = head.iter().take_while(|byte| is_line_end(**byte)).count();
    let line = head.get(begin..).unwrap_or_default();
    let line = line.get(..memchr(b'\r', line).unwrap_or(line.len()));
    let line = line.unwrap_or_default();
    let mut spaces = memchr_iter(b' ', line);
    let (Some(before), Some(after)) = (spaces.next(), spaces.next()) else {
        return false;
    };
    let target = line.get(before + 1..after).unwrap_or_default();
    let is_plain = target.starts_with(b"/") && target.iter().copied().all(is_plain);
    is_plain || Uri::try_from(target).is_ok()
}

const fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// What a path or query may have, but for what is rare: `pchar`, `/` and `?` (RFC 3986 section 3.3).
const fn is_plain(byte: u8) -> bool {
    matches!(
        byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'%' | b'!' | b'$' | b'&' | b'\'' | b'('
            | b')' | b'*' | b'+' | b',' | b'-' | b'.' | b'/' | b':' | b';' | b'=' | b'?' | b'@'
            | b'_' | b'~'
    )
}

/// Whether hyper will make a request of it that is neither a tunnel's nor too long.
fn is_good(request_line: &[u8]) -> bool {
    let mut words = request_line.split(|byte| *byte == b' ');
    let (method, target) = (words.next(), words.next());
    method != Some(b"CONNECT")
        && request_line.len() < MOST_BYTES
        && target.is_some_and(|target| Uri::try_from(target).is_ok())
}

const CLOSE: &[u8] = b"connection: close\r\n\r\n";

const FRAMING: [&[u8]; 5] = [
    b"connection",
    b"content-length",
    b"expect",
    b"transfer-encoding",
    b"upgrade",
];

/// Well below what hyper takes, whatever the listener's limits.
const MOST_LINES: usize = 64;
const MOST_BYTES: usize = 4 * 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_beyond_doubt() {
        let check = |head: &str, expected: &str| {
            let whole = String::from_utf8(stand_in(head.as_bytes())).unwrap();
            assert_eq!(whole, format!("{expected}connection: close\r\n\r\n"));
        };
        check("GET", "GET / HTTP/1.1\r\n");
        check("GET /a\x01", "GET / HTTP/1.1\r\n");
        check("CONNECT a:1 HTTP/1.1\r\nA: b", "GET / HTTP/1.1\r\n");
        check("GET /{ HTTP/1.1\r\nA: b", "GET /{ HTTP/1.1\r\n");
        check("GET :::: HTTP/1.1\r\nA: b", "GET / HTTP/1.1\r\n");
        check(
            "\r\nPOST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nA: b\r\nTransfer-Enc",
            "POST /a?b HTTP/1.1\r\nHost: a\r\nA: b\r\n",
        );
        check(
            "POST / HTTP/1.0\r\nCONNECTION: x\r\nexpect: y\r\nUpgrade: z\r\nA: b\r\n\r\n",
            "POST / HTTP/1.0\r\nA: b\r\n",
        );
    }

    #[test]
    fn is_never_long() {
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(5_000));
        assert_eq!(
            stand_in(long.as_bytes()),
            [b"GET / HTTP/1.1\r\n", CLOSE].concat()
        );
        let lines = format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(1_000));
        assert!(stand_in(lines.as_bytes()).len() < 1_024);
        let fields = format!("GET / HTTP/1.1\r\na: {}\r\nb: c\r\n", "b".repeat(5_000));
        let expected = [b"GET / HTTP/1.1\r\nb: c\r\n", CLOSE].concat();
        assert_eq!(stand_in(fields.as_bytes()), expected);
    }

    /// Whatever is taken for plain is a URI.
    #[test]
    fn targets_are_told_as_hyper_would() {
        let check = |target: &[u8]| {
            let head = [b"\r\nGET ", target, b" HTTP/1.1\r\nA: b\r\n\r\n"].concat();
            assert_eq!(
                has_target(&head),
                Uri::try_from(target).is_ok(),
                "{target:?}"
            );
        };
        for byte in b'!'..=u8::MAX {
            check(&[b'/', byte]);
            check(&[b'/', b'?', byte, b'a']);
            check(&[byte]);
        }
        for target in [&b"//"[..], b"/%", b"/?a?b", b"http://a/b", b"a:1", b"*"] {
            check(target);
        }
    }

    #[test]
    fn the_first_lines_are_kept() {
        let mut headers = HeaderMap::new();
        headers.append("a", "b".parse().unwrap());
        headers.append("c", "d".repeat(5_000).parse().unwrap());
        headers.append("e", "f".parse().unwrap());
        assert_eq!(first_of(&headers).len(), 1);
        let mut many = HeaderMap::new();
        for _ in 0..100 {
            many.append("a", "b".parse().unwrap());
        }
        assert_eq!(first_of(&many).len(), MOST_LINES);
    }
}
