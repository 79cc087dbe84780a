//! Which header fields a client sends, and in which order, as a hash of botguard's own making; and
//! which of those are there that signals ask for. JA4H is another construction, under another licence, and
//! not this.
//!
//! The order is that of `http::HeaderMap`, which keeps distinct names in the order of their first
//! occurrence as long as none is removed; hyper fills it as fields arrive, from HTTP/1 and HTTP/2
//! alike. Values are not looked at, so that no secret is in it.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderMap;

/// A hash that is the same for the same fields in the same order; prints as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct HeaderShape(u64);

impl HeaderShape {
    /// Of a request's fields, before any is added or taken away.
    ///
    /// Names that come and go with what one client asks for are left out (`PASSING`).
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut names = Vec::with_capacity(256);
        for name in headers.keys().map(http::HeaderName::as_str) {
            if !PASSING.contains(&name) {
                names.extend_from_slice(name.as_bytes());
                names.push(b'\n');
            }
        }
        let digest = digest(&SHA256, &names);
        let first = digest.as_ref().first_chunk().copied();
        Self(first.map_or(0, u64::from_be_bytes))
    }
}

impl fmt::Display for HeaderShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Fields that the same client sends at times: with a body, a page before, a state of its cache, a
/// place in a file, somebody logged in, or an intermediary.
const PASSING: [&str; 28] = [
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "idempotency-key",
    "origin",
    "pragma",
    "range",
    "referer",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "via",
    "x-api-key",
    "x-correlation-id",
    "x-csrf-token",
    "x-forwarded-for",
    "x-real-ip",
    "x-request-id",
];

/// Which of the fields that browsers are told by are there, as bits.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Presence(u16);

/// A field of [`Presence`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "each is the field of its name")]
pub enum Known {
    Accept,
    AcceptLanguage,
    AcceptEncoding,
    UserAgent,
    SecChUa,
    SecChUaMobile,
    SecChUaPlatform,
    SecFetchSite,
    SecFetchMode,
    SecFetchDest,
    UpgradeInsecureRequests,
    Priority,
    Te,
    Dnt,
}

impl Known {
    const ALL: [(Self, &str); 14] = [
        (Self::Accept, "accept"),
        (Self::AcceptLanguage, "accept-language"),
        (Self::AcceptEncoding, "accept-encoding"),
        (Self::UserAgent, "user-agent"),
        (Self::SecChUa, "sec-ch-ua"),
        (Self::SecChUaMobile, "sec-ch-ua-mobile"),
        (Self::SecChUaPlatform, "sec-ch-ua-platform"),
        (Self::SecFetchSite, "sec-fetch-site"),
        (Self::SecFetchMode, "sec-fetch-mode"),
        (Self::SecFetchDest, "sec-fetch-dest"),
        (Self::UpgradeInsecureRequests, "upgrade-insecure-requests"),
        (Self::Priority, "priority"),
        (Self::Te, "te"),
        (Self::Dnt, "dnt"),
    ];

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl Presence {
    /// Of a request's fields.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let bit = |name: &http::HeaderName| {
            let known = Known::ALL.iter().find(|(_, known)| name == known);
            known.map_or(0, |(known, _)| known.bit())
        };
        Self(headers.keys().fold(0, |bits, name| bits | bit(name)))
    }

    /// Whether `known` is there.
    #[must_use]
    pub const fn has(self, known: Known) -> bool {
        self.0 & known.bit() != 0
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::edge::captures::captures;

    fn map(names: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for name in names {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_static("x"));
        }
        headers
    }

    fn shape(names: &[&str]) -> HeaderShape {
        HeaderShape::of(&map(names))
    }

    #[test]
    fn order_and_presence_count_and_what_passes_does_not() {
        let check = |names: &[&str], other: &[&str], is_same: bool| {
            assert_eq!(shape(names) == shape(other), is_same, "{names:?} {other:?}");
        };
        let fields = ["host", "user-agent", "accept"];
        check(&fields, &["Host", "User-Agent", "Accept"], true);
        check(&fields, &["host", "accept", "user-agent"], false);
        check(&fields, &["host", "user-agent"], false);
        check(&fields, &["host", "user-agent", "accept", "x-own"], false);
        check(&fields, &["host", "user-agent", "accept", "accept"], true);
        for name in PASSING {
            check(&fields, &["host", name, "user-agent", "accept"], true);
        }
        // Names are told apart from what stands next to them.
        check(&["a", "bc"], &["ab", "c"], false);
    }

    #[test]
    fn presence_is_by_name() {
        for (known, name) in Known::ALL {
            assert!(Presence::of(&map(&[name])).has(known), "{name}");
            let mut others = Known::ALL.map(|(_, other)| other).to_vec();
            others.retain(|other| *other != name);
            let others = Presence::of(&map(&others));
            assert!(!others.has(known), "{name}");
        }
    }

    #[test]
    fn captured_clients_have_shapes_of_their_own() {
        let shape = |client: &str| {
            let captures = captures();
            let capture = captures.iter().find(|it| it.client == client).unwrap();
            HeaderShape::of(&map(&Vec::from_iter(
                capture.header_order.iter().map(String::as_str),
            )))
        };
        assert_eq!(shape("chromium"), shape("playwright"));
        let different = [
            "chromium",
            "curl_cffi_firefox",
            "curl_cffi_safari",
            "requests",
            "httpx",
            "urllib",
            "aiohttp",
            "node_fetch",
            "ffuf",
            "wrk",
            "ab",
            "scrapy",
        ];
        for (place, one) in different.iter().enumerate() {
            for other in &different[..place] {
                assert_ne!(shape(one), shape(other), "{one} {other}");
            }
        }
    }

    #[test]
    fn the_form_is_16_digits_and_stays() {
        // The first eight bytes of the SHA-256 of nothing, and of "host\n".
        let check = |names: &[&str], expected: &str| {
            assert_eq!(shape(names).to_string(), expected);
        };
        check(&[], "e3b0c44298fc1c14");
        check(&["Host", "Cookie"], "d329be9e3aea365b");
    }
}
