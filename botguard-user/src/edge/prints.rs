//! The prints of a client: of its connection (`ja4`, `http2_fingerprint`) and of each request
//! (`header_shape`), and what they come to by the tables of `families`.
//!
//! They are of whoever holds the connection. Behind a proxy that names its clients by a header field
//! that is the proxy, which then has prints in the record, and its clients have none in the facts.

use std::io;
use std::sync::{Arc, OnceLock};

use http::{HeaderMap, header};

use super::client_hello::{ClientHello, HelloReader, HelloReading};
use super::gate::RequestHead;
use super::header_shape::{HeaderShape, Presence};
use super::http2_fingerprint::{OpeningReader, OpeningReading};
use super::ja4::Ja4;
use super::tap::{Ear, Wants};
use crate::engine::prints::{Fields, Look, PrintFacts};
use crate::words::address::{ClientAddress, Via};

mod families;

/// What one connection shows of its client.
#[derive(Debug, Default)]
pub(super) struct ConnectionPrints {
    tls: OnceLock<(Ja4, Look)>,
    http2: OnceLock<(Arc<str>, Look)>,
}

impl ConnectionPrints {
    /// Notes how the client began TLS. Only the first is kept.
    fn greeted(&self, hello: &ClientHello) {
        let ja4 = Ja4::of(hello);
        let look = families::of_tls(&ja4, hello.has_grease());
        // Each ear is taken off after it has told one thing.
        let _kept = self.tls.set((ja4, look));
    }

    /// Notes how the client opened HTTP/2. Only the first is kept.
    fn opened(&self, fingerprint: String) {
        let look = families::of_http2(&fingerprint);
        let _kept = self.http2.set((fingerprint.into(), look));
    }

    /// With the fields of a request.
    pub(super) fn with(&self, headers: &HeaderMap) -> Prints {
        Prints {
            tls: self.tls.get().cloned(),
            http2: self.http2.get().cloned(),
            fields: Some((HeaderShape::of(headers), Presence::of(headers))),
        }
    }
}

/// Hears a ClientHello, before TLS.
pub(super) struct HelloEar {
    reader: HelloReader,
    prints: Arc<ConnectionPrints>,
}

impl HelloEar {
    pub(super) fn new(prints: &Arc<ConnectionPrints>) -> Self {
        Self {
            reader: HelloReader::default(),
            prints: Arc::clone(prints),
        }
    }
}

impl Ear for HelloEar {
    fn hear(&mut self, bytes: &[u8]) -> io::Result<Wants> {
        match self.reader.read(bytes) {
            HelloReading::Incomplete => return Ok(Wants::More),
            HelloReading::Hello(hello) => self.prints.greeted(&hello),
            HelloReading::NotHello => {}
        }
        Ok(Wants::NoMore)
    }
}

/// Hears the opening of HTTP/2, after TLS.
pub(super) struct OpeningEar {
    reader: OpeningReader,
    prints: Arc<ConnectionPrints>,
}

impl OpeningEar {
    pub(super) fn new(prints: &Arc<ConnectionPrints>) -> Self {
        Self {
            reader: OpeningReader::default(),
            prints: Arc::clone(prints),
        }
    }
}

impl Ear for OpeningEar {
    fn hear(&mut self, bytes: &[u8]) -> io::Result<Wants> {
        match self.reader.read(bytes) {
            OpeningReading::Incomplete => return Ok(Wants::More),
            OpeningReading::Fingerprint(fingerprint) => self.prints.opened(fingerprint),
            OpeningReading::None => {}
        }
        Ok(Wants::NoMore)
    }
}

/// What a request and its connection show of the client. Nothing by default.
#[derive(Clone, Debug, Default)]
pub struct Prints {
    tls: Option<(Ja4, Look)>,
    http2: Option<(Arc<str>, Look)>,
    fields: Option<(HeaderShape, Presence)>,
}

/// Of a request that came over no connection.
pub static NO_PRINTS: Prints = Prints {
    tls: None,
    http2: None,
    fields: None,
};

impl Prints {
    /// JA4 of the connection.
    #[must_use]
    pub fn ja4(&self) -> Option<&Ja4> {
        self.tls.as_ref().map(|(ja4, _look)| ja4)
    }

    /// The HTTP/2 fingerprint of the connection; none over HTTP/1.
    #[must_use]
    pub fn http2(&self) -> Option<&str> {
        self.http2
            .as_ref()
            .map(|(fingerprint, _look)| &**fingerprint)
    }

    /// The shape of the request's header.
    #[must_use]
    pub fn header_shape(&self) -> Option<HeaderShape> {
        self.fields.map(|(shape, _presence)| shape)
    }

    /// JA4, where the connection is the client's own.
    #[must_use]
    pub fn ja4_of(&self, client: &ClientAddress) -> Option<&Ja4> {
        self.ja4().filter(|_ja4| is_own_connection(client))
    }
}

/// What the prints of a request say of its client.
#[must_use]
pub fn facts(head: &RequestHead<'_>) -> PrintFacts {
    if !is_own_connection(&head.client) {
        return PrintFacts::default();
    }
    let headers = &head.parts.headers;
    let user_agent = headers.get(header::USER_AGENT);
    let user_agent = user_agent.and_then(|value| value.to_str().ok());
    let claim = user_agent.and_then(families::claim);
    let Prints { tls, http2, fields } = head.prints;
    let fields = match (&claim, fields) {
        (Some(claim), Some((_shape, presence))) if !is_websocket(head) => claim.fields(*presence),
        _ => Fields::Unknown,
    };
    PrintFacts {
        claim: claim.map(|claim| claim.browser),
        tls: tls.as_ref().map_or(Look::Unknown, |(_ja4, look)| *look),
        http2: http2.as_ref().map_or(Look::Unknown, |(_text, look)| *look),
        fields,
    }
}

/// A proxy that passes TCP on passes TLS on as well; one that speaks HTTP has a connection of its
/// own.
const fn is_own_connection(client: &ClientAddress) -> bool {
    matches!(client.via(), Via::Peer | Via::ProxyProtocol)
}

/// Browsers ask for these without the fields that they send elsewhere.
fn is_websocket(head: &RequestHead<'_>) -> bool {
    head.parts.headers.contains_key(header::UPGRADE) || head.parts.method == http::Method::CONNECT
}

#[cfg(test)]
mod tests;
