//! Trailers: fields that come after the content, when most of what a field can say is too late.

use http::HeaderMap;

use super::{HOP_BY_HOP, dashed, is_claim, is_own, named_hop_by_hop, remove_where};

/// Removes from trailers what they may not say: an application that reads them as header fields
/// would believe it. What belongs to one hop ends here as it does in a head; HTTP/2 takes it for
/// the end of the whole message (RFC 9113 section 8.2.2).
pub(in crate::edge) fn clean_trailers(trailers: &mut HeaderMap) {
    let named = named_hop_by_hop(trailers);
    remove_where(trailers, |name| {
        let dashed = dashed(name);
        named.contains(name)
            || is_own(name)
            || is_claim(&dashed)
            || NOT_IN_TRAILERS.contains(&&*dashed)
            || HOP_BY_HOP.iter().any(|known| *known == *dashed)
    });
}

/// What has to be known before the content (RFC 9110 section 6.5.1): framing, routing,
/// authentication, request modifiers, response controls, the format of the content.
const NOT_IN_TRAILERS: [&str; 29] = [
    "age",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authentication-info",
    "range",
    "retry-after",
    "set-cookie",
    "strict-transport-security",
    "trailer",
    "vary",
    "warning",
    "www-authenticate",
];

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn trailers_say_what_is_known_at_the_end_only() {
        let mut trailers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer a"),
            ("botguard-observe", "records=3"),
            ("connection", "close, X-Hop"),
            ("content-length", "5"),
            ("content_type", "text/html"),
            ("digest", "sha-256=a"),
            ("etag", "a"),
            ("grpc-message", "ok"),
            ("grpc-status", "0"),
            ("grpc-status-details-bin", "CAA"),
            ("host", "other.test"),
            ("keep-alive", "5"),
            ("proxy-connection", "close"),
            ("server-timing", "a"),
            ("set-cookie", "a=1"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("transfer_encoding", "chunked"),
            ("upgrade", "h2c"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-hop", "1"),
            ("x_metadata", "kept"),
        ] {
            trailers.append(name, HeaderValue::from_static(value));
        }
        clean_trailers(&mut trailers);
        let mut names: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let expected = [
            "digest",
            "etag",
            "grpc-message",
            "grpc-status",
            "grpc-status-details-bin",
            "server-timing",
            "x_metadata",
        ];
        assert_eq!(names, expected);
    }
}
