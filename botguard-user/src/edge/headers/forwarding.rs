//! What the application is told of the way of a request: `Forwarded`, `X-Forwarded-*`, `Via`, `Host`.
//! What a client claims of it is gone by now (`headers`); what proxies say is read in `forwarded`.

use std::net::IpAddr;

use http::header::{self, Entry};
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use serde::{Deserialize, Serialize};

use super::Way;
use crate::edge::forwarded::{self, Hop};

/// Which fields tell the upstream of the way of a request. `Via` does in any case.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forwarding {
    /// `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// All of them.
    Both,
}

/// An absent field that is asked for is set; a present one is a trusted proxy's by now: lists are
/// appended to, whether asked for or not, and one that did not come begins with the addresses of
/// the one that did, so that both lists tell one way; the scheme and host that the proxy saw are
/// kept.
pub(super) fn set(headers: &mut HeaderMap, way: &Way<'_>) {
    let is_wanted = |style: Forwarding| [style, Forwarding::Both].contains(&way.forwarding);
    // An authority is visible ASCII, and so a header value: `target` parsed it.
    let host = HeaderValue::from_str(way.authority).ok();
    let came = [header::FORWARDED, X_FORWARDED_FOR].map(|name| headers.contains_key(name));
    let hops = match came {
        [true, false] => told(headers, &header::FORWARDED, |value| {
            forwarded::forwarded(value).collect()
        }),
        [false, true] => told(headers, &X_FORWARDED_FOR, |value| {
            forwarded::x_forwarded_for(value).collect()
        }),
        // None has begun, or each goes on by itself.
        [false, false] | [true, true] => Vec::new(),
    };
    let begun = |came: bool| if came { &[][..] } else { &hops };
    if is_wanted(Forwarding::Forwarded) || came[0] {
        // Quoted: a port's colon is no part of a token (RFC 7239 section 4).
        let client = forwarded_for(way.peer);
        let own = format!("{client};host=\"{}\";proto=https", way.authority);
        let elements = begun(came[0]).iter().copied().map(forwarded_for);
        let elements: Vec<_> = elements.chain([own]).collect();
        append_to_list(headers, header::FORWARDED, &elements.join(", "));
    }
    if is_wanted(Forwarding::XForwarded) || came[1] {
        let elements = begun(came[1]).iter().chain([&way.peer]);
        let elements: Vec<_> = elements.map(ToString::to_string).collect();
        append_to_list(headers, X_FORWARDED_FOR, &elements.join(", "));
    }
    if is_wanted(Forwarding::XForwarded) {
        if let Entry::Vacant(entry) = headers.entry(X_FORWARDED_PROTO) {
            entry.insert(HeaderValue::from_static("https"));
        }
        if let (Some(host), Entry::Vacant(entry)) = (&host, headers.entry(X_FORWARDED_HOST)) {
            entry.insert(host.clone());
        }
    }
    if let Some(host) = host {
        headers.insert(header::HOST, host);
    }
    let via = match way.version {
        Version::HTTP_2 => "2.0 botguard",
        Version::HTTP_10 => "1.0 botguard",
        _ => "1.1 botguard",
    };
    append_to_list(headers, header::VIA, via);
}

fn forwarded_for(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("for={ip}"),
        IpAddr::V6(ip) => format!("for=\"[{ip}]\""),
    }
}

/// The addresses that a list tells of, the furthest first. One that does not say is the end: what
/// stands left of it is not believed here either.
fn told(headers: &HeaderMap, name: &HeaderName, read: fn(&[u8]) -> Vec<Hop>) -> Vec<IpAddr> {
    let lines: Vec<_> = headers.get_all(name).iter().collect();
    let hops = lines
        .into_iter()
        .rev()
        .flat_map(|line| read(line.as_bytes()));
    let mut addresses: Vec<_> = hops
        .map_while(|hop| match hop {
            Hop::Address(ip) => Some(ip),
            Hop::Opaque => None,
        })
        .collect();
    addresses.reverse();
    addresses
}

/// Into one field, since applications are found that read only the first of several.
fn append_to_list(headers: &mut HeaderMap, name: HeaderName, element: &str) {
    let mut elements: Vec<&[u8]> = headers
        .get_all(&name)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    elements.push(element.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&elements.join(&b", "[..])) {
        headers.insert(name, value);
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

#[cfg(test)]
mod tests {
    use super::super::tests::{map, sorted};
    use super::super::{PeerTrust, to_upstream};
    use super::*;

    /// What the application gets of a request from a trusted peer.
    fn sent_on(
        forwarding: Forwarding,
        peer: &str,
        authority: &str,
        fields: &[(&str, &str)],
    ) -> HeaderMap {
        let mut headers = map(fields);
        let way = Way {
            peer: peer.parse().unwrap(),
            peer_trust: PeerTrust::Trusted,
            authority,
            version: Version::HTTP_11,
            forwarding,
            own_cookie: None,
        };
        to_upstream(&mut headers, &way, Vec::new());
        headers
    }

    #[test]
    fn the_way_is_told_as_the_application_wants_it() {
        let check = |forwarding, fields: &[(&str, &str)], expected: &[(&str, &str)]| {
            let headers = sent_on(forwarding, "2001:db8::1", "a.test:8443", fields);
            assert_eq!(sorted(&headers), expected, "{forwarding:?} {fields:?}");
        };
        let (host, via) = (("host", "a.test:8443"), ("via", "1.1 botguard"));
        let element = "for=\"[2001:db8::1]\";host=\"a.test:8443\";proto=https";
        let three = [
            ("x-forwarded-for", "2001:db8::1"),
            ("x-forwarded-host", "a.test:8443"),
            ("x-forwarded-proto", "https"),
        ];
        let [client, name, scheme] = three;
        check(
            Forwarding::XForwarded,
            &[],
            &[host, via, client, name, scheme],
        );
        check(
            Forwarding::Forwarded,
            &[],
            &[("forwarded", element), host, via],
        );
        check(
            Forwarding::Both,
            &[],
            &[("forwarded", element), host, via, client, name, scheme],
        );
    }

    /// Whichever of the lists a trusted proxy wrote.
    #[test]
    fn both_lists_tell_one_way() {
        let check = |forwarding, fields: &[(&str, &str)], list: &str, elements: &str| {
            let headers = sent_on(forwarding, "127.0.0.1", "a.test", fields);
            let lines = |name: &str| headers.get_all(name).iter().collect::<Vec<_>>();
            assert_eq!(lines("x-forwarded-for"), [list], "{fields:?}");
            let own = format!("{elements}for=127.0.0.1;host=\"a.test\";proto=https");
            assert_eq!(lines("forwarded"), [&*own], "{fields:?}");
        };
        let for_one = ("forwarded", "for=198.51.100.1;proto=http");
        let one = ("x-forwarded-for", "198.51.100.1");
        let asked = [Forwarding::XForwarded, Forwarding::Both];
        for forwarding in asked {
            check(
                forwarding,
                &[for_one],
                "198.51.100.1, 127.0.0.1",
                "for=198.51.100.1;proto=http, ",
            );
            // From one who does not say, nothing further off is to be believed.
            check(
                forwarding,
                &[(
                    "forwarded",
                    "for=192.0.2.1, for=_x, for=\"[2001:db8::1]:1\"",
                )],
                "2001:db8::1, 127.0.0.1",
                "for=192.0.2.1, for=_x, for=\"[2001:db8::1]:1\", ",
            );
            check(
                forwarding,
                &[("forwarded", "for=unknown")],
                "127.0.0.1",
                "for=unknown, ",
            );
        }
        for forwarding in [Forwarding::Forwarded, Forwarding::Both] {
            check(
                forwarding,
                &[one],
                "198.51.100.1, 127.0.0.1",
                "for=198.51.100.1, ",
            );
            let lines = [
                ("x-forwarded-for", "192.0.2.1"),
                ("x-forwarded-for", "2001:db8::1"),
            ];
            check(
                forwarding,
                &lines,
                "192.0.2.1, 2001:db8::1, 127.0.0.1",
                "for=192.0.2.1, for=\"[2001:db8::1]\", ",
            );
        }
        // Where both came, each goes on as it is.
        for forwarding in [
            Forwarding::XForwarded,
            Forwarding::Forwarded,
            Forwarding::Both,
        ] {
            check(
                forwarding,
                &[one, for_one],
                "198.51.100.1, 127.0.0.1",
                "for=198.51.100.1;proto=http, ",
            );
        }
        check(Forwarding::Both, &[], "127.0.0.1", "");
    }
}
