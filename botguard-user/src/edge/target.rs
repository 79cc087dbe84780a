//! What a request asks for, in the one form that policy, log and upstream agree on: a canonical
//! authority and a decoded, dot-normalised path. What could be read in two ways is refused, not
//! guessed: a filter and an application that disagree about a path are a hole.

use std::net::SocketAddr;

use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Method, StatusCode, Version, header};

use super::framing::{HeadLimits, Violation};
use crate::words::address;
use crate::words::route::{AmbiguousPath, normalise_path};

/// Authority and path of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// Lower case, without a default port.
    pub authority: String,
    /// Decoded; starts with `/`, has no empty or dot segments.
    pub path: String,
}

/// A request that has no single meaning. The client's fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TargetError {
    /// The path can be read in two ways.
    #[error(transparent)]
    Path(#[from] AmbiguousPath),
    /// No authority, several, or one that is not a host and port.
    #[error("the request names no single valid host; send one Host header or :authority")]
    Authority,
    /// CONNECT and TRACE have no place before an application.
    #[error("the method {0} is not served here")]
    Method(Method),
    /// Where it ends, or what its lines are, can be read in two ways; or it is too much or too
    /// slow.
    #[error(transparent)]
    Framing(#[from] Violation),
    /// A secret that may be there only once: botguard would judge by the first, and the application
    /// may take the last.
    #[error("the request has more than one {0}; send one")]
    Doubled(String),
    /// A host that the listener does not serve, with `unknown_host = "refuse"`.
    #[error("the host of the request is not served here")]
    UnknownHost,
}

impl TargetError {
    /// 400, 405, 408, 414, 421 or 431.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Path(_) | Self::Authority | Self::Doubled(_) => StatusCode::BAD_REQUEST,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Framing(violation) => violation.status(),
            Self::UnknownHost => StatusCode::MISDIRECTED_REQUEST,
        }
    }

    /// The label `reason` of `botguard_requests_refused_total`.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Path(_) => "path",
            Self::Authority => "authority",
            Self::Method(_) => "method",
            Self::Framing(violation) => violation.label(),
            Self::Doubled(_) => "doubled_secret",
            Self::UnknownHost => "unknown_host",
        }
    }
}

impl Target {
    /// Reads the head of a request that came to `local`. The limits are HTTP/1's, held here for
    /// HTTP/2 as well.
    ///
    /// Errors: [`TargetError`], the client's fault; answer with its status.
    pub fn of(parts: &Parts, limits: &HeadLimits, local: SocketAddr) -> Result<Self, TargetError> {
        if parts.method == Method::CONNECT || parts.method == Method::TRACE {
            return Err(TargetError::Method(parts.method.clone()));
        }
        if n_fields(&parts.headers) > limits.fields {
            return Err(Violation::TooManyFields.into());
        }
        // h2 refuses lengths that differ only.
        let lengths = parts.headers.get_all(header::CONTENT_LENGTH).iter();
        if lengths.count() > 1 {
            return Err(Violation::ContentLengths.into());
        }
        if parts.version == Version::HTTP_2 && list_bytes(parts) > limits.head_bytes {
            return Err(Violation::HeadTooLarge.into());
        }
        let path_and_query = parts.uri.path_and_query();
        if path_and_query.is_some_and(|target| target.as_str().len() > limits.uri_bytes) {
            return Err(Violation::UriTooLong.into());
        }
        Ok(Self {
            authority: authority(parts, local)?,
            path: normalise_path(parts.uri.path())?,
        })
    }
}

/// The size of a head as RFC 9113 section 6.5.2 has it: names, values, and 32 bytes for each field.
fn list_bytes(parts: &Parts) -> usize {
    const PSEUDO: [&str; 4] = [":method", ":scheme", ":authority", ":path"];
    let uri = &parts.uri;
    let pseudo = [
        parts.method.as_str().len(),
        uri.scheme_str().map_or(0, str::len),
        uri.authority()
            .map_or(0, |authority| authority.as_str().len()),
        uri.path_and_query()
            .map_or(0, |target| target.as_str().len()),
    ];
    let names = PSEUDO.iter().map(|name| name.len() + FIELD_BYTES);
    let fields =
        (parts.headers.iter()).map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES);
    pseudo.into_iter().chain(names).chain(fields).sum()
}

const FIELD_BYTES: usize = 32;

/// A browser may send each cookie in a field of its own over HTTP/2, where all of them are one
/// field (RFC 9113 section 8.2.3); how long they are is limited with the head. Lines of HTTP/1
/// were counted as they came.
fn n_fields(headers: &HeaderMap) -> usize {
    let crumbs = headers.get_all(header::COOKIE).iter().count();
    headers.len() - crumbs.saturating_sub(1)
}

/// RFC 9112 section 3.2.2: the authority of an absolute target wins over `Host`. RFC 9113 section
/// 8.3.1: `:authority` and `Host` of one request must agree. HTTP/1.0 need not name a host (RFC 9112
/// section 3.2), and balancers' checks do not: then it is the address that they came to, as RFC 9112
/// section 3.3 suggests.
fn authority(parts: &Parts, local: SocketAddr) -> Result<String, TargetError> {
    let host = host_header(&parts.headers)?;
    let authority = match (parts.uri.authority(), host) {
        (Some(target), Some(host)) if parts.version == Version::HTTP_2 => {
            if canonical(target)? == canonical(&host)? {
                host
            } else {
                return Err(TargetError::Authority);
            }
        }
        (Some(target), _) => target.clone(),
        (None, Some(host)) => host,
        (None, None) if parts.version == Version::HTTP_10 => {
            let local = SocketAddr::new(address::canonical(local.ip()), local.port());
            Authority::try_from(local.to_string()).map_err(|_cause| TargetError::Authority)?
        }
        (None, None) => return Err(TargetError::Authority),
    };
    canonical(&authority)
}

fn host_header(headers: &HeaderMap) -> Result<Option<Authority>, TargetError> {
    let mut values = headers.get_all(header::HOST).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(TargetError::Authority);
    }
    first
        .map(|value| Authority::try_from(value.as_bytes()))
        .transpose()
        .map_err(|_cause| TargetError::Authority)
}

fn canonical(authority: &Authority) -> Result<String, TargetError> {
    if authority.as_str().contains('@') {
        return Err(TargetError::Authority);
    }
    let host = authority.host();
    let name = host.strip_suffix('.').unwrap_or(host);
    // Only the root of the DNS has an empty label (RFC 1035 section 2.3.1): without it, nothing may
    // be left that an application could take for another name, or for none.
    if name.split('.').any(str::is_empty) {
        return Err(TargetError::Authority);
    }
    let mut canonical = name.to_ascii_lowercase();
    let port = port(&authority.as_str()[host.len()..])?;
    if port != DEFAULT_PORT {
        canonical.push(':');
        canonical.push_str(&port.to_string());
    }
    Ok(canonical)
}

/// Of what follows a host: nothing, or `:` and digits or none (RFC 3986 section 3.2.3).
fn port(rest: &str) -> Result<u16, TargetError> {
    let digits = match rest.strip_prefix(':') {
        Some(digits) => digits,
        None if rest.is_empty() => "",
        None => return Err(TargetError::Authority),
    };
    match digits {
        "" => Ok(DEFAULT_PORT),
        // `parse` would take a sign as well.
        _ if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            (digits.parse()).map_err(|_too_large| TargetError::Authority)
        }
        _ => Err(TargetError::Authority),
    }
}

/// Of `https`.
const DEFAULT_PORT: u16 = 443;

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        head_bytes: 1_000,
        uri_bytes: 16,
        fields: 2,
    };

    fn of(parts: &Parts) -> Result<Target, TargetError> {
        Target::of(parts, &LIMITS, "192.0.2.80:8443".parse().unwrap())
    }

    #[test]
    fn authorities() {
        let check = |version, uri: &str, hosts: &[&str], expected: Option<&str>| {
            let mut request = Request::builder().version(version).uri(uri);
            for host in hosts {
                request = request.header(header::HOST, *host);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let authority = of(&parts).ok().map(|target| target.authority);
            assert_eq!(authority.as_deref(), expected, "{uri} {hosts:?}");
        };
        check(Version::HTTP_11, "/", &["Example.COM"], Some("example.com"));
        check(Version::HTTP_11, "/", &["a.test:443"], Some("a.test"));
        check(Version::HTTP_11, "/", &["a.test:8443"], Some("a.test:8443"));
        check(
            Version::HTTP_11,
            "/",
            &["[2001:DB8::1]:8443"],
            Some("[2001:db8::1]:8443"),
        );
        check(
            Version::HTTP_11,
            "https://a.test/",
            &["b.test"],
            Some("a.test"),
        );
        check(Version::HTTP_2, "https://a.test/", &[], Some("a.test"));
        check(
            Version::HTTP_2,
            "https://a.test/",
            &["A.test"],
            Some("a.test"),
        );
        check(Version::HTTP_2, "https://a.test/", &["b.test"], None);
        check(Version::HTTP_11, "/", &[], None);
        check(Version::HTTP_11, "/", &["a.test", "a.test"], None);
        check(Version::HTTP_11, "/", &["user@a.test"], None);
        check(Version::HTTP_11, "/", &["a.test:99999"], None);
        check(Version::HTTP_11, "/", &["a test"], None);
        // One dot is the root of the DNS; a label is never empty.
        check(Version::HTTP_11, "/", &["a.test.:443"], Some("a.test"));
        check(
            Version::HTTP_11,
            "/",
            &["a_b.c-d.test"],
            Some("a_b.c-d.test"),
        );
        check(Version::HTTP_11, "/", &["."], None);
        check(Version::HTTP_11, "/", &["..:443"], None);
        check(Version::HTTP_11, "/", &["a.test.."], None);
        check(Version::HTTP_11, "/", &["a..test"], None);
        check(Version::HTTP_11, "/", &[".a.test"], None);
        check(Version::HTTP_2, "https://./", &[], None);
        // Behind the host there is a port or nothing.
        check(Version::HTTP_11, "/", &["[::1]"], Some("[::1]"));
        check(Version::HTTP_11, "/", &["[::1]:443"], Some("[::1]"));
        check(Version::HTTP_11, "/", &["[::1]evil"], None);
        check(Version::HTTP_11, "/", &["[::1].a.test"], None);
        check(Version::HTTP_11, "/", &["a.test:"], Some("a.test"));
        check(Version::HTTP_11, "/", &["a.test:0443"], Some("a.test"));
        check(
            Version::HTTP_11,
            "/",
            &["a.test:08443"],
            Some("a.test:8443"),
        );
        check(Version::HTTP_11, "/", &["a.test:+443"], None);
        check(Version::HTTP_11, "/", &["a.test:-1"], None);
    }

    #[test]
    fn http10_without_a_host_asks_for_the_address_that_it_came_to() {
        let check = |version, host: Option<&str>, local: &str, expected: Option<&str>| {
            let mut request = Request::builder().version(version).uri("/");
            if let Some(host) = host {
                request = request.header(header::HOST, host);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let target = Target::of(&parts, &LIMITS, local.parse().unwrap());
            let authority = target.ok().map(|target| target.authority);
            assert_eq!(
                authority.as_deref(),
                expected,
                "{version:?} {host:?} {local}"
            );
        };
        let (old, local) = (Version::HTTP_10, "192.0.2.80:8443");
        check(old, None, local, Some("192.0.2.80:8443"));
        check(old, None, "192.0.2.80:443", Some("192.0.2.80"));
        check(old, None, "[2001:db8::1]:443", Some("[2001:db8::1]"));
        check(old, None, "[::ffff:192.0.2.80]:443", Some("192.0.2.80"));
        check(old, Some("a.test"), local, Some("a.test"));
        check(old, Some("."), local, None);
        check(old, Some(""), local, None);
        check(Version::HTTP_11, None, local, None);
        check(Version::HTTP_2, None, local, None);
    }

    #[test]
    fn heads_of_any_version_are_limited() {
        let check = |uri: &str, headers: usize, expected: Option<Violation>| {
            let mut request = Request::builder().version(Version::HTTP_2).uri(uri);
            for _ in 0..headers {
                request = request.header("a", "b");
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let error = of(&parts).err();
            assert_eq!(error, expected.map(TargetError::Framing), "{uri} {headers}");
        };
        check("https://a.test/23456789?bcdefg", 2, None);
        check(
            "https://a.test/23456789?bcdefgh",
            2,
            Some(Violation::UriTooLong),
        );
        check("https://a.test/", 3, Some(Violation::TooManyFields));
        // Four pseudo-headers and a field, of which the last value is what is left.
        let large = |bytes: usize| {
            let request = Request::builder().version(Version::HTTP_2);
            let request = request
                .uri("https://a.test/")
                .header("a", "b".repeat(bytes));
            let (parts, ()) = request.body(()).unwrap().into_parts();
            of(&parts).err()
        };
        let others = 5 * 32 + 7 + 3 + 7 + 5 + 10 + 6 + 5 + 1 + 1;
        assert_eq!(large(1_000 - others), None);
        let expected = Some(TargetError::Framing(Violation::HeadTooLarge));
        assert_eq!(large(1_001 - others), expected);
    }

    #[test]
    fn crumbs_of_cookies_are_one_field() {
        let check = |crumbs: usize, others: usize, is_too_much: bool| {
            let mut request = Request::builder()
                .version(Version::HTTP_2)
                .uri("https://a.test/");
            for _ in 0..crumbs {
                request = request.header(header::COOKIE, "a=b");
            }
            for _ in 0..others {
                request = request.header("a", "b");
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let error = of(&parts).err();
            let expected = is_too_much.then(|| Violation::TooManyFields.into());
            assert_eq!(error, expected, "{crumbs} {others}");
        };
        check(0, 2, false);
        check(1, 1, false);
        check(15, 0, false);
        check(15, 1, false);
        check(1, 2, true);
        check(15, 2, true);
        check(0, 3, true);
    }

    #[test]
    fn methods_that_make_no_sense_here() {
        let check = |method: Method, served: bool| {
            let (parts, ()) = Request::builder()
                .method(method)
                .uri("/")
                .header(header::HOST, "a.test")
                .body(())
                .unwrap()
                .into_parts();
            assert_eq!(of(&parts).is_ok(), served);
        };
        check(Method::TRACE, false);
        check(Method::CONNECT, false);
        check(Method::OPTIONS, true);
        check(Method::PATCH, true);
    }
}
