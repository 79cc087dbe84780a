//! The first message of a TLS client, from the bytes on the wire.
//!
//! rustls tells what it needs of a ClientHello, and not in which order it was said. This reads the
//! same bytes beside it, as they come: possibly over several records and segments. It judges nothing
//! and is no TLS implementation; what it cannot read, rustls refuses or not by itself. `recorder`
//! feeds it, `ja4` makes a name of what comes out.

/// What a client says first (RFC 8446 section 4.1.2, RFC 5246 section 7.4.1.2), as it was sent.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClientHello {
    /// `legacy_version`: the highest version of clients before TLS 1.3.
    pub version: u16,
    /// Cipher suites, in the client's order.
    pub ciphers: Vec<u16>,
    /// Types of the extensions, in the client's order.
    pub extensions: Vec<u16>,
    /// The first protocol that it would speak (ALPN, RFC 7301).
    pub first_protocol: Option<Vec<u8>>,
    /// `supported_versions`, in the client's order; empty without that extension.
    pub supported_versions: Vec<u16>,
    /// `signature_algorithms`, in the client's order; empty without that extension.
    pub signature_algorithms: Vec<u16>,
}

/// Extension types (IANA, TLS ExtensionType Values).
pub(super) const SERVER_NAME: u16 = 0x0000;
const SIGNATURE_ALGORITHMS: u16 = 0x000d;
pub(super) const PROTOCOLS: u16 = 0x0010;
const SUPPORTED_VERSIONS: u16 = 0x002b;

/// Whether a number is one of those that mean nothing, and that some clients send to keep servers
/// tolerant (GREASE, RFC 8701 section 2).
#[must_use]
pub const fn is_grease(number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

impl ClientHello {
    /// Whether it has a number of RFC 8701 among its ciphers or extensions, as Chromium's and
    /// Apple's have.
    #[must_use]
    pub fn has_grease(&self) -> bool {
        let mut numbers = self.ciphers.iter().chain(&self.extensions);
        numbers.any(|number| is_grease(*number))
    }

    /// Reads the body of a handshake message; `None` where it is no ClientHello.
    fn parse(body: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(body);
        let mut hello = Self {
            version: cursor.number()?,
            ..Self::default()
        };
        let _random = cursor.take(32)?;
        let _session_id = cursor.short_list()?;
        hello.ciphers = numbers(cursor.list()?)?;
        let _compression = cursor.short_list()?;
        if cursor.0.is_empty() {
            // Extensions are optional before TLS 1.3.
            return Some(hello);
        }
        let mut extensions = Cursor(cursor.list()?);
        while !extensions.0.is_empty() {
            let kind = extensions.number()?;
            hello.extension(kind, Cursor(extensions.list()?))?;
        }
        cursor.0.is_empty().then_some(hello)
    }

    fn extension(&mut self, kind: u16, mut data: Cursor<'_>) -> Option<()> {
        self.extensions.push(kind);
        match kind {
            SIGNATURE_ALGORITHMS => self.signature_algorithms = numbers(data.list()?)?,
            SUPPORTED_VERSIONS => self.supported_versions = numbers(data.short_list()?)?,
            PROTOCOLS => {
                let mut protocols = Cursor(data.list()?);
                self.first_protocol = protocols.short_list().map(<[u8]>::to_vec);
            }
            _ => {}
        }
        Some(())
    }
}

/// Reads a ClientHello as its bytes arrive. Keeps at most [`MOST_BYTES`].
#[derive(Debug, Default)]
pub struct HelloReader {
    /// The header of the record that is being read, and how much of it is there.
    header: [u8; RECORD_HEADER],
    n_header: usize,
    /// What is left of that record.
    n_left: usize,
    /// The handshake message so far.
    message: Vec<u8>,
}

/// How far a [`HelloReader`] came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HelloReading {
    /// There is more to come.
    Incomplete,
    /// It is whole. What follows is not read.
    Hello(ClientHello),
    /// It is something else, or longer than [`MOST_BYTES`].
    NotHello,
}

/// The longest message that is read. Key shares of post-quantum groups and tickets take some 2 KiB.
pub const MOST_BYTES: usize = 16 * 1_024;

/// Content type, version, length (RFC 8446 section 5.1).
const RECORD_HEADER: usize = 5;
const HANDSHAKE: u8 = 22;

/// Type and length of a handshake message (RFC 8446 section 4).
const MESSAGE_HEADER: usize = 4;
const CLIENT_HELLO: u8 = 1;

impl HelloReader {
    /// Reads on. Not to be called again once it answered anything but `Incomplete`.
    pub fn read(&mut self, mut bytes: &[u8]) -> HelloReading {
        while !bytes.is_empty() {
            if self.n_left == 0 {
                let Some((first, rest)) = bytes.split_first() else {
                    break;
                };
                bytes = rest;
                if !self.read_header(*first) {
                    return HelloReading::NotHello;
                }
                continue;
            }
            let (payload, rest) = bytes.split_at(bytes.len().min(self.n_left));
            self.n_left -= payload.len();
            bytes = rest;
            match self.read_payload(payload) {
                HelloReading::Incomplete => {}
                done => return done,
            }
        }
        HelloReading::Incomplete
    }

    /// Takes one byte of a record's header; false where it is no record of a handshake.
    fn read_header(&mut self, byte: u8) -> bool {
        if let Some(place) = self.header.get_mut(self.n_header) {
            *place = byte;
        }
        self.n_header += 1;
        let [kind, major, _minor, high, low] = self.header;
        if self.n_header < RECORD_HEADER {
            return kind == HANDSHAKE && (self.n_header < 2 || major == 3);
        }
        self.n_header = 0;
        self.n_left = usize::from(u16::from_be_bytes([high, low]));
        // Handshake records are never empty, nor longer than 2^14 (RFC 8446 section 5.1).
        (1..=1 << 14).contains(&self.n_left)
    }

    fn read_payload(&mut self, payload: &[u8]) -> HelloReading {
        // What is longer than its message is another one, and cut off.
        let room = (MESSAGE_HEADER + MOST_BYTES).saturating_sub(self.message.len());
        self.message
            .extend_from_slice(payload.get(..room).unwrap_or(payload));
        let [kind, length @ ..] = match self.message.first_chunk::<MESSAGE_HEADER>() {
            Some(header) => *header,
            None => return HelloReading::Incomplete,
        };
        let [high, middle, low] = length;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        if kind != CLIENT_HELLO || length > MOST_BYTES {
            return HelloReading::NotHello;
        }
        match self.message.get(MESSAGE_HEADER..MESSAGE_HEADER + length) {
            None => HelloReading::Incomplete,
            Some(body) => {
                ClientHello::parse(body).map_or(HelloReading::NotHello, HelloReading::Hello)
            }
        }
    }
}

/// What is left to read of some bytes.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*taken))
    }

    /// What stands behind a length of one byte.
    fn short_list(&mut self) -> Option<&'a [u8]> {
        let n = *self.take(1)?.first()?;
        self.take(usize::from(n))
    }

    /// What stands behind a length of two bytes.
    fn list(&mut self) -> Option<&'a [u8]> {
        let n = self.number()?;
        self.take(usize::from(n))
    }
}

/// Pairs of bytes as numbers; `None` where one is left over.
fn numbers(bytes: &[u8]) -> Option<Vec<u16>> {
    let (pairs, rest) = bytes.as_chunks();
    let numbers = || pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
    rest.is_empty().then(numbers)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A ClientHello in as many records as there are parts.
    pub(in crate::edge) fn in_records(parts: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend_from_slice(&[HANDSHAKE, 3, 1]);
            bytes.extend_from_slice(&u16::try_from(part.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }

    /// The handshake message with this body.
    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[kind], &length[1..], body].concat()
    }

    /// A body with two ciphers and the extensions as given.
    fn body(extensions: &[u8]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend_from_slice(&[7; 32]);
        body.extend_from_slice(&[0, 0, 4, 0x1a, 0x1a, 0x13, 0x01, 1, 0]);
        if !extensions.is_empty() {
            body.extend_from_slice(&u16::try_from(extensions.len()).unwrap().to_be_bytes());
            body.extend_from_slice(extensions);
        }
        body
    }

    fn whole(bytes: &[u8]) -> HelloReading {
        HelloReader::default().read(bytes)
    }

    fn hello(extensions: &[u8]) -> HelloReading {
        whole(&in_records(&[&message(CLIENT_HELLO, &body(extensions))]))
    }

    #[test]
    fn a_hello_is_read_as_it_was_sent() {
        let check = |extensions: &[u8], expected: ClientHello| {
            assert_eq!(hello(extensions), HelloReading::Hello(expected));
        };
        let bare = ClientHello {
            version: 0x0303,
            ciphers: vec![0x1a1a, 0x1301],
            ..ClientHello::default()
        };
        check(&[], bare.clone());
        let with = |kind: u16| ClientHello {
            extensions: vec![kind],
            ..bare.clone()
        };
        check(&[0, 0x17, 0, 0], with(0x17));
        check(
            &[0, 0x2b, 0, 3, 2, 3, 4],
            ClientHello {
                supported_versions: vec![0x0304],
                ..with(0x2b)
            },
        );
        check(
            &[0, 0x0d, 0, 6, 0, 4, 4, 3, 8, 4],
            ClientHello {
                signature_algorithms: vec![0x0403, 0x0804],
                ..with(0x0d)
            },
        );
        check(
            &[0, 0x10, 0, 6, 0, 4, 2, b'h', b'2', 0],
            ClientHello {
                first_protocol: Some(b"h2".to_vec()),
                ..with(0x10)
            },
        );
        check(&[0, 0x10, 0, 2, 0, 0], with(0x10));
    }

    #[test]
    fn what_is_no_hello_is_told_at_once() {
        let check = |bytes: &[u8], expected: HelloReading| {
            let found = match whole(bytes) {
                HelloReading::Hello(_) => HelloReading::Hello(ClientHello::default()),
                other => other,
            };
            assert_eq!(found, expected, "{:?}", bytes.get(..12));
        };
        use HelloReading::{Incomplete, NotHello};
        let fine = message(CLIENT_HELLO, &body(&[]));
        check(
            &in_records(&[&fine]),
            HelloReading::Hello(ClientHello::default()),
        );
        check(b"GET / HTTP/1.1\r\n", NotHello);
        check(&[HANDSHAKE, 2], NotHello);
        check(&[], Incomplete);
        check(&[HANDSHAKE, 3, 1, 0], Incomplete);
        // An empty record, and one that is too long.
        check(&[HANDSHAKE, 3, 1, 0, 0], NotHello);
        check(&[HANDSHAKE, 3, 1, 0x40, 1], NotHello);
        check(&in_records(&[&message(2, &body(&[]))]), NotHello);
        // A message that says it is too long.
        check(&in_records(&[&[CLIENT_HELLO, 0, 0x40, 1]]), NotHello);
        check(&in_records(&[&[CLIENT_HELLO, 0, 0x40, 0]]), Incomplete);
        // Lists that end before or behind their ends.
        for cut in 0..body(&[]).len() {
            let cut = &body(&[])[..cut];
            check(&in_records(&[&message(CLIENT_HELLO, cut)]), NotHello);
        }
        for broken in [
            &[0][..],
            &[0, 0x2b, 0, 2, 1, 3],
            &[0, 0x0d, 0, 4, 0, 3, 4, 3],
        ] {
            let broken = body(broken);
            check(&in_records(&[&message(CLIENT_HELLO, &broken)]), NotHello);
        }
        let longer = [body(&[0, 0x17, 0, 0]), vec![0]].concat();
        check(&in_records(&[&message(CLIENT_HELLO, &longer)]), NotHello);
    }

    #[test]
    fn a_message_as_long_as_is_read_at_all() {
        let check = |n: usize, is_hello: bool| {
            let padding = u16::try_from(n).unwrap().to_be_bytes();
            let extension = [&[0, 0x15], &padding[..], &vec![0; n]].concat();
            let message = message(CLIENT_HELLO, &body(&extension));
            let (one, two) = message.split_at(10_000);
            let found = whole(&in_records(&[one, two]));
            assert_eq!(matches!(found, HelloReading::Hello(_)), is_hello, "{n}");
        };
        let most = MOST_BYTES - body(&[0, 0x15, 0, 0]).len();
        check(most, true);
        check(most + 1, false);
    }

    proptest! {
        #[test]
        fn cuts_into_records_and_segments_change_nothing(
            record_cut in 0usize..60,
            segment in 1usize..60,
        ) {
            let message = message(CLIENT_HELLO, &body(&[0, 0x2b, 0, 3, 2, 3, 4]));
            let (one, two) = message.split_at(record_cut.clamp(1, message.len() - 1));
            let bytes = in_records(&[one, two]);
            let mut reader = HelloReader::default();
            let mut found = HelloReading::Incomplete;
            for part in bytes.chunks(segment) {
                prop_assert_eq!(&found, &HelloReading::Incomplete);
                found = reader.read(part);
            }
            prop_assert_eq!(found, whole(&in_records(&[&message])));
        }

        #[test]
        fn no_bytes_are_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _whatever = whole(&bytes);
            let _whatever = whole(&in_records(&[&message(CLIENT_HELLO, &bytes)]));
            let _whatever = ClientHello::parse(&bytes);
        }
    }
}
