//! Whether a request asks for one page of a collection, and of which.
//!
//! Read from the names of the query's parameters alone: cursors are opaque, and a page size
//! (`limit`) without a position is no step of a walk.

use std::cmp::Ordering;
use std::hash::Hasher as _;

use http::Method;

use crate::words::route::hexadecimal;

/// The name, as botguard spells it, of the parameter that says where in the collection the page
/// is; `None` when no parameter does.
///
/// Names are compared decoded and without regard to case, so that `%63ursor` does not slip by.
pub(crate) fn position_parameter(query: &str) -> Option<&'static str> {
    query
        .split('&')
        .map(|pair| pair.split_once('=').map_or(pair, |(name, _value)| name))
        .find_map(|name| POSITION_PARAMETERS.iter().find(|known| is(name, known)))
        .copied()
}

/// Names a collection for comparison with the last one that a principal paged through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Collection(u64);

impl Collection {
    pub(crate) fn new(method: &Method, template: &str, parameter: &str) -> Self {
        let mut hasher = Fnv::default();
        for part in [method.as_str(), template, parameter] {
            hasher.write(part.as_bytes());
            hasher.write_u8(0);
        }
        Self(hasher.finish())
    }
}

/// What the common styles call it: relay and cursor APIs, page numbers, offsets, token
/// continuation (AWS, Google), JSON:API's bracketed forms. All lower case.
const POSITION_PARAMETERS: [&str; 24] = [
    "cursor",
    "page",
    "offset",
    "after",
    "next",
    "before",
    "skip",
    "_page",
    "page_number",
    "pagenumber",
    "page_token",
    "pagetoken",
    "next_token",
    "nexttoken",
    "next_cursor",
    "continuation",
    "continuationtoken",
    "starting_after",
    "ending_before",
    "since_id",
    "max_id",
    "page[number]",
    "page[offset]",
    "page[after]",
];

/// Almost every comparison ends with the lengths; only a name with escapes is decoded.
fn is(name: &str, known: &str) -> bool {
    match name.len().cmp(&known.len()) {
        Ordering::Less => false,
        Ordering::Equal => name.eq_ignore_ascii_case(known),
        Ordering::Greater => name.contains('%') && known.bytes().eq(decoded(name)),
    }
}

/// The octets of a parameter's name as an upstream reads them, in lower case.
fn decoded(name: &str) -> impl Iterator<Item = u8> {
    let mut rest = name.as_bytes();
    std::iter::from_fn(move || {
        let (octet, length) = match rest {
            [b'%', high, low, ..] => match (hexadecimal(*high), hexadecimal(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'%', 1),
            },
            [octet, ..] => (*octet, 1),
            [] => return None,
        };
        rest = &rest[length..];
        Some(octet.to_ascii_lowercase())
    })
}

/// FNV-1a with 64 bits: the same on every run, as replay needs. A forced collision only changes
/// the wording of the evidence.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl std::hash::Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        for octet in octets {
            self.0 = (self.0 ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_found_by_name() {
        let check = |query, expected: Option<&str>| {
            assert_eq!(position_parameter(query), expected, "{query}");
        };
        check("cursor=eyJpZCI6NX0", Some("cursor"));
        check("limit=50&cursor=abc", Some("cursor"));
        check("Page=2&perPage=5", Some("page"));
        check("%63ur%73or=a", Some("cursor"));
        check("page%5Bnumber%5D=3", Some("page[number]"));
        check("pageToken=x", Some("pagetoken"));
        check("after", Some("after"));
        check("", None);
        check("limit=50", None);
        check("q=cursor", None);
        check("mycursor=1", None);
        check("pages=1", None);
        check("%zz=1&%6", None);
    }

    #[test]
    fn a_collection_is_method_template_and_parameter() {
        let users = Collection::new(&Method::GET, "/users", "cursor");
        assert_eq!(users, Collection::new(&Method::GET, "/users", "cursor"));
        assert_ne!(users, Collection::new(&Method::HEAD, "/users", "cursor"));
        assert_ne!(users, Collection::new(&Method::GET, "/orders", "cursor"));
        assert_ne!(users, Collection::new(&Method::GET, "/users", "page"));
    }
}
