//! JA4, the name of a TLS client, from its ClientHello: by FoxIO's specification
//! (`technical_details/JA4.md` of FoxIO-LLC/ja4, BSD 3-Clause).
//!
//! Only JA4. The other methods of that family (of HTTP, TCP, certificates and servers) are under
//! another licence, and are not built here. What a name says of the client is `families`' to say.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use super::client_hello::{ClientHello, PROTOCOLS, SERVER_NAME, is_grease};

/// A name such as `t13d1516h2_8daaf6152771_02713d6af862`. Cheap to clone.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Ja4(Arc<str>);

impl Ja4 {
    /// The name of who sent `hello`. Numbers of GREASE are left out wherever they stand.
    #[must_use]
    pub fn of(hello: &ClientHello) -> Self {
        let mut ciphers = without_grease(&hello.ciphers);
        let mut extensions = without_grease(&hello.extensions);
        let name = if extensions.contains(&SERVER_NAME) {
            'd'
        } else {
            'i'
        };
        let start = format!(
            "t{}{name}{:02}{:02}",
            version(hello),
            ciphers.len().min(99),
            extensions.len().min(99),
        );
        let [first, last] = protocol(hello.first_protocol.as_deref().unwrap_or_default());
        ciphers.sort_unstable();
        extensions.retain(|kind| ![SERVER_NAME, PROTOCOLS].contains(kind));
        extensions.sort_unstable();
        let ciphers = hash(&listed(&ciphers));
        let algorithms = without_grease(&hello.signature_algorithms);
        let extensions = match (extensions.as_slice(), algorithms.as_slice()) {
            ([], _) => NOTHING.to_owned(),
            (extensions, []) => hash(&listed(extensions)),
            (extensions, algorithms) => {
                hash(&format!("{}_{}", listed(extensions), listed(algorithms)))
            }
        };
        Self(format!("{start}{first}{last}_{ciphers}_{extensions}").into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The hash of the cipher suites, 12 hexadecimal digits.
    #[must_use]
    pub fn ciphers(&self) -> &str {
        self.0.split('_').nth(1).unwrap_or_default()
    }

    /// What stays the same for one client on one host: transport, version, whether it names the
    /// host, and the ciphers.
    ///
    /// Left out is what comes and goes. A resumed connection has an extension more, and so another
    /// count and hash of them. A browser offers HTTP/1.1 alone where it is to become a WebSocket.
    #[must_use]
    pub fn lasting(&self) -> [&str; 2] {
        [self.0.get(..4).unwrap_or_default(), self.ciphers()]
    }
}

impl fmt::Debug for Ja4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// In place of the hash of an empty list.
const NOTHING: &str = "000000000000";

fn without_grease(numbers: &[u16]) -> Vec<u16> {
    let numbers = numbers.iter().copied();
    numbers.filter(|number| !is_grease(*number)).collect()
}

/// The highest version that the client offers.
fn version(hello: &ClientHello) -> &'static str {
    let offered = hello.supported_versions.iter().copied();
    let highest = offered.filter(|version| !is_grease(*version)).max();
    match highest.unwrap_or(hello.version) {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        0xfeff => "d1",
        0xfefd => "d2",
        0xfefc => "d3",
        _ => "00",
    }
}

/// First and last character of a protocol's name, or of its hexadecimal form where either is no
/// letter or digit.
fn protocol(name: &[u8]) -> [char; 2] {
    let (Some(first), Some(last)) = (name.first(), name.last()) else {
        return ['0', '0'];
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        [*first, *last].map(char::from)
    } else {
        let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
        [digit(first >> 4), digit(last & 0x0f)]
    }
}

/// Numbers as four hexadecimal digits each, with commas in between.
fn listed(numbers: &[u16]) -> String {
    let mut list = String::with_capacity(numbers.len() * 5);
    for (place, number) in numbers.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        // Writing into a string does not fail.
        let _written = write!(list, "{comma}{number:04x}");
    }
    list
}

/// The first 12 digits of SHA-256.
fn hash(list: &str) -> String {
    if list.is_empty() {
        return NOTHING.to_owned();
    }
    let digest = digest(&SHA256, list.as_bytes());
    let mut name = String::with_capacity(NOTHING.len());
    for byte in digest.as_ref().iter().take(NOTHING.len() / 2) {
        let _written = write!(name, "{byte:02x}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::captures::captures;

    #[test]
    fn captured_clients_have_their_names() {
        let captures = captures();
        assert_eq!(captures.len(), 22);
        for capture in captures {
            let ja4 = Ja4::of(&capture.hello());
            let expected = &capture.ja4;
            assert!(expected.contains(&ja4.as_str().to_owned()), "{ja4:?}");
        }
    }

    #[test]
    fn resumption_changes_a_name_and_not_what_lasts() {
        for client in ["h2load", "wrk"] {
            let mut captures = captures();
            captures.retain(|capture| capture.client == client);
            let [first, resumed] = [&captures[0], &captures[1]].map(|it| Ja4::of(&it.hello()));
            assert_ne!(first, resumed);
            assert_eq!(first.lasting(), resumed.lasting());
        }
    }

    #[test]
    fn edges_are_by_the_specification() {
        let check = |hello: ClientHello, expected: &str| {
            assert_eq!(Ja4::of(&hello).as_str(), expected, "{hello:?}");
        };
        let hello = |extensions: &[u16]| ClientHello {
            version: 0x0303,
            extensions: extensions.to_vec(),
            ..ClientHello::default()
        };
        check(hello(&[]), "t12i000000_000000000000_000000000000");
        check(hello(&[0x0a0a]), "t12i000000_000000000000_000000000000");
        check(hello(&[0, 16]), "t12d000200_000000000000_000000000000");
        let protocol = |name: &[u8]| ClientHello {
            first_protocol: Some(name.to_vec()),
            ..hello(&[])
        };
        let alone = |middle: &str| format!("t12i0000{middle}_000000000000_000000000000");
        check(protocol(b"h2"), &alone("h2"));
        check(protocol(b"http/1.1"), &alone("h1"));
        check(protocol(b"h"), &alone("hh"));
        check(protocol(b""), &alone("00"));
        check(protocol(&[0xab]), &alone("ab"));
        check(protocol(&[0x30, 0xab]), &alone("3b"));
        check(protocol(&[0x30, 0x31, 0xab, 0xcd]), &alone("3d"));
        check(protocol(&[0x0a, 0x0a]), &alone("0a"));
        let versions = |versions: &[u16]| ClientHello {
            supported_versions: versions.to_vec(),
            ..hello(&[])
        };
        let with = |version: &str| format!("t{version}i000000_000000000000_000000000000");
        check(versions(&[0xfafa, 0x0303, 0x0304]), &with("13"));
        check(versions(&[0xfafa]), &with("12"));
        check(versions(&[0x7f1c]), &with("00"));
        let many = ClientHello {
            ciphers: vec![0x1301; 150],
            ..hello(&[])
        };
        assert!(Ja4::of(&many).as_str().starts_with("t12i990000_"));
        // The specification's own example: sorted ciphers.
        let ciphers = [
            0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014,
            0x009c, 0x009d, 0x002f, 0x0035,
        ];
        let example = ClientHello {
            ciphers: ciphers.to_vec(),
            ..hello(&[])
        };
        assert_eq!(Ja4::of(&example).ciphers(), "8daaf6152771");
    }

    #[test]
    fn grease_among_signature_algorithms_is_left_out() {
        let with = |algorithms: &[u16]| {
            Ja4::of(&ClientHello {
                extensions: vec![13],
                signature_algorithms: algorithms.to_vec(),
                ..ClientHello::default()
            })
        };
        assert_eq!(with(&[0x0403, 0x1a1a]), with(&[0x0403]));
        assert_eq!(with(&[0x1a1a]), with(&[]));
        // Their order counts.
        assert_ne!(with(&[0x0403, 0x0804]), with(&[0x0804, 0x0403]));
    }
}
