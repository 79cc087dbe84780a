//! Reads `Forwarded` (RFC 7239) and `X-Forwarded-For`. Pure; trusts nobody by itself.
//!
//! Both are lists that each proxy appends to, so they are read from the right, and nothing an
//! attacker wrote further left, unbalanced quotes included, can change what stands right of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::words::address::canonical;

/// One entry of a list of hops.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hop {
    /// An address, canonical.
    Address(IpAddr),
    /// Something else: `unknown`, `_hidden`, garbage. Nothing left of it can be believed.
    Opaque,
}

/// Hops of one `X-Forwarded-For` value, the nearest first.
pub fn x_forwarded_for(value: &[u8]) -> impl Iterator<Item = Hop> + '_ {
    FromRight::split(value, b',').map(node)
}

/// Hops of one `Forwarded` value, the nearest first. An element without `for` is a hop that does
/// not say.
pub fn forwarded(value: &[u8]) -> impl Iterator<Item = Hop> + '_ {
    FromRight::split(value, b',').map(|element| {
        FromRight::split(element, b';')
            .filter_map(|pair| {
                let equals = pair.iter().position(|byte| *byte == b'=')?;
                let (name, value) = (&pair[..equals], &pair[equals + 1..]);
                name.trim_ascii()
                    .eq_ignore_ascii_case(b"for")
                    .then(|| node(value))
            })
            .next()
            .unwrap_or(Hop::Opaque)
    })
}

/// The client according to `hops`, nearest first: the first that is not trusted. Where all are
/// trusted, or an opaque one comes first, the furthest trusted one.
pub fn client(hops: impl Iterator<Item = Hop>, trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let mut furthest = None;
    for hop in hops {
        match hop {
            Hop::Address(ip) if trusted(ip) => furthest = Some(ip),
            Hop::Address(ip) => return Some(ip),
            Hop::Opaque => return furthest,
        }
    }
    furthest
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`, each also in
/// quotes; or with an obfuscated port, `192.0.2.1:_port`.
fn node(text: &[u8]) -> Hop {
    let text = text.trim_ascii();
    let text = text
        .strip_prefix(b"\"")
        .and_then(|inner| inner.strip_suffix(b"\""))
        .unwrap_or(text);
    let Ok(text) = std::str::from_utf8(text) else {
        return Hop::Opaque;
    };
    let address = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()))
        .ok()
        .or_else(|| bracketed(text))
        .or_else(|| {
            let host = without_obfuscated_port(text)?;
            bracketed(host).or_else(|| host.parse::<Ipv4Addr>().ok().map(IpAddr::V4))
        });
    address.map_or(Hop::Opaque, |ip| Hop::Address(canonical(ip)))
}

fn bracketed(text: &str) -> Option<IpAddr> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

/// What stands before `obfport` (RFC 7239 section 6): it hides the port, not the address.
fn without_obfuscated_port(text: &str) -> Option<&str> {
    let (host, port) = text.rsplit_once(':')?;
    let name = port.strip_prefix('_')?;
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (!name.is_empty() && name.bytes().all(is_allowed)).then_some(host)
}

/// Splits at a separator outside of quotes, from the right, leaving out empty elements (RFC 9110
/// section 5.6.1.2). Escaped quotes count as quotes: they occur in no address, and an odd number
/// of them can only spoil what stands further left.
struct FromRight<'a> {
    rest: &'a [u8],
    separator: u8,
}

impl<'a> FromRight<'a> {
    const fn split(value: &'a [u8], separator: u8) -> Self {
        Self {
            rest: value,
            separator,
        }
    }
}

impl<'a> Iterator for FromRight<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let mut quoted = false;
            let cut = self.rest.iter().rposition(|byte| {
                quoted ^= *byte == b'"';
                !quoted && *byte == self.separator
            });
            let (rest, element) = cut.map_or((&self.rest[..0], self.rest), |at| {
                (&self.rest[..at], &self.rest[at + 1..])
            });
            self.rest = rest;
            if !element.trim_ascii().is_empty() {
                return Some(element);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trusted(ip: IpAddr) -> bool {
        ip.to_string().starts_with("10.")
    }

    #[test]
    fn x_forwarded_for_names_the_right_most_untrusted() {
        let check = |value: &str, expected: Option<&str>| {
            let found = client(x_forwarded_for(value.as_bytes()), trusted);
            assert_eq!(found, expected.map(|ip| ip.parse().unwrap()), "{value}");
        };
        check("192.0.2.1", Some("192.0.2.1"));
        check("203.0.113.9, 192.0.2.1", Some("192.0.2.1"));
        check("192.0.2.1, 10.0.0.2, 10.0.0.1", Some("192.0.2.1"));
        check("10.0.0.2, 10.0.0.1", Some("10.0.0.2"));
        check("192.0.2.1:4711", Some("192.0.2.1"));
        check("2001:db8::1", Some("2001:db8::1"));
        check("[2001:db8::1]", Some("2001:db8::1"));
        check("[2001:db8::1]:443", Some("2001:db8::1"));
        check("::ffff:192.0.2.1", Some("192.0.2.1"));
        check("::ffff:10.0.0.1, 10.0.0.2", Some("10.0.0.1"));
        check(" , 192.0.2.1 ,", Some("192.0.2.1"));
        check("192.0.2.1, unknown", None);
        check("192.0.2.1, nonsense, 10.0.0.1", Some("10.0.0.1"));
        check("", None);
    }

    #[test]
    fn forwarded_names_the_right_most_untrusted() {
        let check = |value: &str, expected: Option<&str>| {
            let found = client(forwarded(value.as_bytes()), trusted);
            assert_eq!(found, expected.map(|ip| ip.parse().unwrap()), "{value}");
        };
        // The examples of RFC 7239 section 4.
        check("for=\"_gazonk\"", None);
        check(
            "For=\"[2001:db8:cafe::17]:4711\"",
            Some("2001:db8:cafe::17"),
        );
        check(
            "for=192.0.2.60;proto=http;by=203.0.113.43",
            Some("192.0.2.60"),
        );
        check("for=192.0.2.43, for=198.51.100.17", Some("198.51.100.17"));
        check(
            "for=192.0.2.43,for=10.0.0.1;proto=https",
            Some("192.0.2.43"),
        );
        check(
            "proto=https;host=\"a,b;c\";for=192.0.2.1",
            Some("192.0.2.1"),
        );
        // A port that is no number (section 6.3) says no less of the address.
        check("for=\"198.51.100.1:_port\"", Some("198.51.100.1"));
        check("for=\"[2001:db8::1]:_P.o-r_t\"", Some("2001:db8::1"));
        check("for=\"198.51.100.1:_\"", None);
        check("for=\"198.51.100.1:port\"", None);
        check("for=\"198.51.100.1:_p,t\"", None);
        check("for=\"2001:db8::1:_port\"", None);
        check("for=\"[198.51.100.1]:_port\"", None);
        check("for=\"unknown:_port\"", None);
        check("for=192.0.2.1, proto=https", None);
        check("for=unknown, for=10.0.0.1", Some("10.0.0.1"));
        check("for=192.0.2.1, for=\"evil", None);
        check("for=\"evil, for=192.0.2.1", Some("192.0.2.1"));
    }

    proptest! {
        /// What the client wrote before the proxy appended its own hop changes nothing.
        #[test]
        fn garbage_further_left_changes_nothing(
            garbage in proptest::collection::vec(any::<u8>(), 0..64),
            ip in any::<u32>(),
        ) {
            let ip = canonical(IpAddr::from(ip.to_be_bytes()));
            let nobody = |_| false;
            let with = |own: String| [garbage.as_slice(), b", ", own.as_bytes()].concat();
            let value = with(ip.to_string());
            prop_assert_eq!(client(x_forwarded_for(&value), nobody), Some(ip));
            let value = with(format!("for={ip};proto=https"));
            prop_assert_eq!(client(forwarded(&value), nobody), Some(ip));
        }
    }
}
