//! The head of a response: what it says of the body's length is said once and rightly, or not at
//! all, before anybody reads it.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper::body::{Body as _, Incoming};

use super::failure::Malformed;
use crate::edge::headers::list;

/// Settles what a response says of the length of its body.
///
/// Errors: [`Malformed`].
pub(super) fn settle(response: &mut Response<Incoming>) -> Result<(), Malformed> {
    let content = if response.body().is_end_stream() {
        Content::None
    } else {
        Content::Some
    };
    let status = response.status();
    settle_length(response.headers_mut(), status, content)
}

/// Whether a response has a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Content {
    Some,
    None,
}

fn settle_length(
    headers: &mut HeaderMap,
    status: StatusCode,
    content: Content,
) -> Result<(), Malformed> {
    if headers.contains_key(TRANSFER_ENCODING) {
        // hyper takes `chunked` off, and leaves any other coding on.
        if content == Content::Some && !is_chunked_alone(headers) {
            return Err(Malformed::TransferCoding);
        }
        // It is the chunks that count (RFC 9112 section 6.3).
        headers.remove(CONTENT_LENGTH);
    }
    // RFC 9110 section 8.6.
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        headers.remove(CONTENT_LENGTH);
    }
    match (length(headers), content) {
        (Length::None | Length::Once, _) => {}
        (Length::Again(length), _) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        // Of a body that would have been.
        (Length::Invalid, Content::None) => {
            headers.remove(CONTENT_LENGTH);
        }
        (Length::Invalid, Content::Some) => return Err(Malformed::Length),
    }
    Ok(())
}

/// As hyper reads it: an empty element is none that may be passed over.
fn is_chunked_alone(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter().flat_map(list);
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    codings.next().is_some_and(is_chunked) && codings.next().is_none()
}

/// What all `Content-Length` fields come to.
#[derive(Debug, Eq, PartialEq)]
enum Length {
    None,
    Once,
    /// The same several times, which RFC 9110 section 8.6 allows to be read as one.
    Again(u64),
    Invalid,
}

fn length(headers: &HeaderMap) -> Length {
    let values = headers.get_all(CONTENT_LENGTH);
    let mut found = None;
    for (n, element) in values.iter().flat_map(list).enumerate() {
        let length = digits(element);
        match (length, found) {
            (Some(length), None) if n == 0 => found = Some((length, Length::Once)),
            (Some(length), Some((before, _))) if length == before => {
                found = Some((length, Length::Again(length)));
            }
            _ => return Length::Invalid,
        }
    }
    found.map_or(Length::None, |(_, length)| length)
}

/// `Content-Length` is digits alone; Rust's own parser takes a sign too.
fn digits(text: &[u8]) -> Option<u64> {
    let is_plain = text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| is_plain)?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_said_once_or_not_at_all() {
        let check = |status: u16, content, fields: &[(&str, &str)], expected: Option<&[&str]>| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
                headers.append(name, value.parse().unwrap());
            }
            let status = StatusCode::from_u16(status).unwrap();
            let settled = settle_length(&mut headers, status, content);
            let lengths = headers.get_all(CONTENT_LENGTH).iter();
            let lengths: Vec<_> = lengths.map(|value| value.to_str().unwrap()).collect();
            let found = settled.is_ok().then_some(&*lengths);
            assert_eq!(found, expected, "{status} {content:?} {fields:?}");
        };
        let sized = |length| ("content-length", length);
        let coded = |coding| ("transfer-encoding", coding);
        for content in [Content::Some, Content::None] {
            check(200, content, &[], Some(&[]));
            check(200, content, &[sized("5")], Some(&["5"]));
            check(200, content, &[sized("5, 5")], Some(&["5"]));
            check(200, content, &[sized("5"), sized("05")], Some(&["5"]));
            check(200, content, &[coded("chunked")], Some(&[]));
            check(200, content, &[coded("Chunked"), sized("5")], Some(&[]));
            check(204, content, &[sized("5")], Some(&[]));
            check(101, content, &[sized("x")], Some(&[]));
        }
        check(304, Content::None, &[sized("5")], Some(&["5"]));
        for length in [
            "",
            ",",
            "5,",
            ",5",
            "+5",
            "-5",
            "x",
            "5 5",
            "5, 6",
            "5;a",
            "0x5",
            "18446744073709551616",
        ] {
            check(200, Content::Some, &[sized(length)], None);
            check(200, Content::None, &[sized(length)], Some(&[]));
        }
        for coding in [
            "",
            "chunked,",
            "gzip",
            "gzip, chunked",
            "chunked, chunked",
            "chunked;a",
        ] {
            check(200, Content::Some, &[coded(coding)], None);
            check(200, Content::None, &[coded(coding), sized("5")], Some(&[]));
        }
        let twice = [coded("gzip"), coded("chunked")];
        check(200, Content::Some, &twice, None);
    }
}
