//! Where an application listens, as the configuration writes it. Resolves no name, opens nothing.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use http::Uri;

/// One of `endpoints`: `http://HOST:PORT`, `https://HOST:PORT`, `h2c://HOST:PORT`, `unix:/PATH`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    text: String,
    protocol: Protocol,
    place: Place,
}

/// What is spoken to an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// HTTP/1.1, without TLS.
    Http1,
    /// HTTP/2 with prior knowledge (RFC 9113 section 3.3), without TLS.
    H2c,
    /// HTTP/2 or HTTP/1.1 over TLS, as ALPN (RFC 7301) settles it.
    Tls,
}

/// Where an endpoint is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// At an address.
    Address(SocketAddr),
    /// At every address of a name.
    Name {
        /// As written, without brackets.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// At a socket of this host's file system.
    Unix(PathBuf),
}

/// Text that is no endpoint. The configuration's fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EndpointError {
    /// It has no scheme that is known here, or more than host and port.
    #[error(
        "endpoint \"{0}\" is not understood; give http://HOST:PORT, https://HOST:PORT, \
         h2c://HOST:PORT or unix:/PATH"
    )]
    Malformed(String),
    /// `sun_path` of unix(7) has no room for it.
    #[error("endpoint \"{0}\": the path of a Unix socket is absolute, and has at most 107 bytes")]
    Path(String),
}

impl Endpoint {
    /// What is spoken.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Where it is.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// The host that a certificate has to be for, and that checks name; `localhost` for a Unix
    /// socket.
    #[must_use]
    pub fn host(&self) -> String {
        match &self.place {
            Place::Address(address) => address.ip().to_string(),
            Place::Name { host, .. } => host.clone(),
            Place::Unix(_) => "localhost".to_owned(),
        }
    }

    /// The authority of requests that botguard makes of its own accord.
    #[must_use]
    pub fn authority(&self) -> String {
        match &self.place {
            Place::Address(address) => address.to_string(),
            Place::Name { host, port } => format!("{host}:{port}"),
            Place::Unix(_) => "localhost".to_owned(),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let malformed = || EndpointError::Malformed(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let fits = path.len() <= MAX_SUN_PATH && !path.contains('\0');
            if !path.starts_with('/') || !fits {
                return Err(EndpointError::Path(text.to_owned()));
            }
            return Ok(Self {
                text: text.to_owned(),
                protocol: Protocol::Http1,
                place: Place::Unix(PathBuf::from(path)),
            });
        }
        let (protocol, default_port) = match text.split_once("://").map(|(scheme, _)| scheme) {
            Some("http") => (Protocol::Http1, 80),
            Some("h2c") => (Protocol::H2c, 80),
            Some("https") => (Protocol::Tls, 443),
            _ => return Err(malformed()),
        };
        let uri: Uri = text.parse().map_err(|_cause| malformed())?;
        let authority = uri.authority().ok_or_else(malformed)?;
        let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        if !is_bare || authority.as_str().contains('@') {
            return Err(malformed());
        }
        // By hand: `Authority::port` has none for one that is out of range.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => default_port,
            Some(rest) => (rest.strip_prefix(':'))
                .and_then(|port| port.parse().ok())
                .ok_or_else(malformed)?,
            None => return Err(malformed()),
        };
        let place = place(authority.host(), port).ok_or_else(malformed)?;
        Ok(Self {
            text: text.to_owned(),
            protocol,
            place,
        })
    }
}

/// Brackets are for an IPv6 address and nothing else (RFC 3986 section 3.2.2); `Uri` takes more.
fn place(host: &str, port: u16) -> Option<Place> {
    if port == 0 {
        return None;
    }
    let literal = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if let Some(literal) = literal {
        let ip: Ipv6Addr = literal.parse().ok()?;
        return Some(Place::Address(SocketAddr::new(ip.into(), port)));
    }
    if host.is_empty() || host.contains(['[', ']', ':']) {
        return None;
    }
    Some(host.parse::<Ipv4Addr>().map_or_else(
        |_name| Place::Name {
            host: host.to_owned(),
            port,
        },
        |ip| Place::Address(SocketAddr::new(ip.into(), port)),
    ))
}

/// As configured.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Bytes of `sun_path` without the final NUL; unix(7).
const MAX_SUN_PATH: usize = 107;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn endpoints_say_what_is_spoken_and_where() {
        let check = |text: &str, protocol: Protocol, place: Place, authority: &str| {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.protocol(), protocol, "{text}");
            assert_eq!(endpoint.place(), &place, "{text}");
            assert_eq!(endpoint.authority(), authority, "{text}");
            assert_eq!(endpoint.to_string(), text);
        };
        let at = |text: &str| Place::Address(text.parse().unwrap());
        let named = |host: &str, port| Place::Name {
            host: host.to_owned(),
            port,
        };
        let http1 = Protocol::Http1;
        check(
            "http://127.0.0.1:3000",
            http1,
            at("127.0.0.1:3000"),
            "127.0.0.1:3000",
        );
        check("http://[::1]:3000/", http1, at("[::1]:3000"), "[::1]:3000");
        check(
            "http://app.internal",
            http1,
            named("app.internal", 80),
            "app.internal:80",
        );
        check(
            "https://app:8443",
            Protocol::Tls,
            named("app", 8443),
            "app:8443",
        );
        check(
            "https://192.0.2.1",
            Protocol::Tls,
            at("192.0.2.1:443"),
            "192.0.2.1:443",
        );
        check(
            "h2c://app:50051",
            Protocol::H2c,
            named("app", 50051),
            "app:50051",
        );
        let path = Place::Unix(PathBuf::from("/run/app.sock"));
        check("unix:/run/app.sock", http1, path, "localhost");
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        let check = |text: &str| {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        };
        check("127.0.0.1:3000");
        check("ftp://a");
        check("http://");
        check("http://:80");
        check("http://a:");
        check("http://a:0");
        check("http://0[a]");
        check("http://[:]");
        check("http://[app]");
        check("http://[127.0.0.1]:80");
        check("http://a:65536");
        check("http://a/path");
        check("http://a/?q");
        check("http://user@a");
        check("HTTP://a");
        check("unix:run/app.sock");
        check("unix:");
        check("unix:/a\0b");
        check(&format!("unix:/{}", "a".repeat(107)));
    }

    proptest! {
        #[test]
        fn any_text_is_an_endpoint_or_refused(text in "((https?|h2c|x)://|unix:)?[a-z0-9.:@/\\[\\]-]{0,12}.{0,3}") {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string(), text);
                prop_assert!(endpoint.authority().parse::<http::uri::Authority>().is_ok());
            }
        }
    }
}
