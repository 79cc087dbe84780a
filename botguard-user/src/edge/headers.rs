//! Header fields on their way through: hop-by-hop ones end here, what clients must not claim is
//! taken away, and what the upstream may believe is set.

use std::borrow::Cow;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Version, header};

mod forwarding;
mod trailers;

pub use forwarding::Forwarding;
pub(super) use trailers::clean_trailers;

/// What the upstream is told of the way of a request.
pub(super) struct Way<'a> {
    pub(super) peer: IpAddr,
    pub(super) peer_trust: PeerTrust,
    pub(super) authority: &'a str,
    pub(super) version: Version,
    pub(super) forwarding: Forwarding,
    /// The name of the cookie that is botguard's own.
    pub(super) own_cookie: Option<&'a str>,
}

/// Whether the peer's own account of the way is kept.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum PeerTrust {
    Trusted,
    Untrusted,
}

/// Turns a client's header fields into those for the upstream.
pub(super) fn to_upstream(
    headers: &mut HeaderMap,
    way: &Way<'_>,
    added: Vec<(HeaderName, HeaderValue)>,
) {
    let wants_trailers = headers
        .get_all(header::TE)
        .iter()
        .any(|value| list(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers")));
    let named = named_hop_by_hop(headers);
    let claims_count = way.peer_trust == PeerTrust::Trusted;
    remove_where(headers, |name| {
        named.contains(name)
            || HOP_BY_HOP.contains(name)
            || is_own(name)
            || is_lookalike(name)
            // Whether to go on was ours to say, and hyper has said it.
            || *name == header::EXPECT
            || (!claims_count && is_claim(name.as_str()))
    });
    if wants_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    join_cookies(headers);
    if let Some(name) = way.own_cookie {
        remove_cookie(headers, name);
    }
    forwarding::set(headers, way);
    for (name, value) in added {
        headers.append(name, value);
    }
}

/// Turns the upstream's header fields into those for the client.
pub(super) fn to_client(headers: &mut HeaderMap) {
    let named = named_hop_by_hop(headers);
    remove_where(headers, |name| {
        named.contains(name) || HOP_BY_HOP.contains(name) || is_own(name)
    });
}

/// Whether it is a `Botguard-*` field.
fn is_own(name: &HeaderName) -> bool {
    dashed(name).starts_with("botguard-")
}

/// Whether some applications cannot tell it from fields that are set or removed here.
fn is_lookalike(name: &HeaderName) -> bool {
    match dashed(name) {
        Cow::Borrowed(_) => false,
        Cow::Owned(name) => {
            is_claim(&name)
                || [header::HOST, header::CONTENT_LENGTH]
                    .iter()
                    .chain(&HOP_BY_HOP)
                    .any(|known| *known == name.as_str())
        }
    }
}

/// With `-` for each `_`: CGI and its heirs (WSGI, Rack, PHP) make one name of both.
fn dashed(name: &HeaderName) -> Cow<'_, str> {
    if name.as_str().contains('_') {
        Cow::Owned(name.as_str().replace('_', "-"))
    } else {
        Cow::Borrowed(name.as_str())
    }
}

/// Whether only a proxy may say it.
fn is_claim(name: &str) -> bool {
    matches!(name, "forwarded" | "via" | "x-real-ip") || name.starts_with("x-forwarded-")
}

/// The fields that `Connection` names (RFC 9110 section 7.6.1).
fn named_hop_by_hop(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(list)
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .collect()
}

/// HTTP/2 may split cookies into several fields, HTTP/1.1 must not (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

/// Takes every cookie of a name out; what is left stays as it was sent.
fn remove_cookie(headers: &mut HeaderMap, name: &str) {
    let is_it = |pair: &[u8]| {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        halves.next().map(<[u8]>::trim_ascii) == Some(name.as_bytes())
    };
    let Some(value) = headers.get(header::COOKIE) else {
        return;
    };
    let pairs = || value.as_bytes().split(|byte| *byte == b';');
    if !pairs().any(is_it) {
        return;
    }
    let rest: Vec<&[u8]> = pairs()
        .filter(|pair| !is_it(pair))
        .map(<[u8]>::trim_ascii)
        .collect();
    let joined = HeaderValue::from_bytes(&rest.join(&b"; "[..]));
    match joined {
        Ok(value) if !value.is_empty() => headers.insert(header::COOKIE, value),
        _ => headers.remove(header::COOKIE),
    };
}

fn remove_where(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| unwanted(name))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

/// The elements of a comma-separated list.
pub(super) fn list(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
}

const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    pub(super) fn sorted(headers: &HeaderMap) -> Vec<(&str, &str)> {
        let mut fields: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        fields.sort_unstable();
        fields
    }

    fn check_upstream(peer_trust: PeerTrust, fields: &[(&str, &str)], expected: &[(&str, &str)]) {
        let mut headers = map(fields);
        let way = Way {
            peer: "192.0.2.1".parse().unwrap(),
            peer_trust,
            authority: "a.test",
            version: Version::HTTP_2,
            forwarding: Forwarding::XForwarded,
            own_cookie: Some("cleared"),
        };
        let id = (
            HeaderName::from_static("botguard-request-id"),
            HeaderValue::from_static("1"),
        );
        to_upstream(&mut headers, &way, vec![id]);
        assert_eq!(sorted(&headers), expected, "{fields:?}");
    }

    #[test]
    fn what_an_untrusted_client_claims_is_replaced() {
        check_upstream(
            PeerTrust::Untrusted,
            &[
                ("accept", "*/*"),
                ("botguard-score", "0.00"),
                ("botguard-request-id", "forged"),
                ("botguard_action", "allow"),
                ("botguard_request-id", "forged"),
                ("connection", "close, X-Secret-Hop"),
                ("cookie", "a=1"),
                ("cookie", "b=2"),
                ("expect", "100-continue"),
                ("forwarded", "for=10.0.0.1"),
                ("keep-alive", "5"),
                ("te", "gzip, trailers"),
                ("transfer-encoding", "chunked"),
                ("transfer_encoding", "chunked"),
                ("upgrade", "websocket"),
                ("via", "1.1 forged"),
                ("x-forwarded-for", "10.0.0.1"),
                ("x_forwarded_for", "10.0.0.1"),
                ("x_my_field", "kept"),
                ("x_real-ip", "10.0.0.1"),
                ("x-forwarded-port", "1"),
                ("x-forwarded-proto", "http"),
                ("x-real-ip", "10.0.0.1"),
                ("x-secret-hop", "1"),
            ],
            &[
                ("accept", "*/*"),
                ("botguard-request-id", "1"),
                ("cookie", "a=1; b=2"),
                ("host", "a.test"),
                ("te", "trailers"),
                ("via", "2.0 botguard"),
                ("x-forwarded-for", "192.0.2.1"),
                ("x-forwarded-host", "a.test"),
                ("x-forwarded-proto", "https"),
                ("x_my_field", "kept"),
            ],
        );
    }

    #[test]
    fn what_a_trusted_proxy_says_is_kept_and_continued() {
        check_upstream(
            PeerTrust::Trusted,
            &[
                ("botguard-score", "0.00"),
                ("forwarded", "for=203.0.113.1"),
                ("via", "1.1 front"),
                ("x-forwarded-for", "203.0.113.1"),
                ("x-forwarded-host", "front.test"),
                ("x-forwarded-proto", "http"),
            ],
            &[
                ("botguard-request-id", "1"),
                (
                    "forwarded",
                    "for=203.0.113.1, for=192.0.2.1;host=\"a.test\";proto=https",
                ),
                ("host", "a.test"),
                ("via", "1.1 front, 2.0 botguard"),
                ("x-forwarded-for", "203.0.113.1, 192.0.2.1"),
                ("x-forwarded-host", "front.test"),
                ("x-forwarded-proto", "http"),
            ],
        );
    }

    #[test]
    fn the_application_is_not_shown_our_cookie() {
        let check = |cookies: &[&str], expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            for cookie in cookies {
                headers.append("cookie", cookie.parse().unwrap());
            }
            let way = Way {
                peer: "192.0.2.1".parse().unwrap(),
                peer_trust: PeerTrust::Untrusted,
                authority: "a.test",
                version: Version::HTTP_2,
                forwarding: Forwarding::XForwarded,
                own_cookie: Some("cleared"),
            };
            to_upstream(&mut headers, &way, Vec::new());
            let sent = headers.get("cookie").map(|value| value.to_str().unwrap());
            assert_eq!(sent, expected, "{cookies:?}");
        };
        check(&["a=1; b=2"], Some("a=1; b=2"));
        check(&["a=1;b=cleared=1;"], Some("a=1;b=cleared=1;"));
        check(&["a=1; cleared=x; b=2"], Some("a=1; b=2"));
        check(&["a=1", "cleared=x"], Some("a=1"));
        check(&["cleared=x=y"], None);
        check(&["cleared=x;cleared =y"], None);
        check(&["cleared"], None);
        check(&["cleareds=x"], Some("cleareds=x"));
    }

    #[test]
    fn responses_keep_what_is_the_application_s() {
        let mut headers = map(&[
            ("botguard-observe", "records=3"),
            ("botguard_observe", "records=3"),
            ("connection", "keep-alive"),
            ("set-cookie", "a=1"),
            ("trailer", "grpc-status"),
            ("transfer-encoding", "chunked"),
        ]);
        to_client(&mut headers);
        assert_eq!(
            sorted(&headers),
            [("set-cookie", "a=1"), ("trailer", "grpc-status")]
        );
    }
}
