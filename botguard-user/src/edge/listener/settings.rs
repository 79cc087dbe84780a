//! The keys of `[[listener]]`, checked and turned into what a listener works with.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BodyLimits, HeadLimits, Hosts, Limits, Prepared, ProxyProtocol, Upstreams};
use crate::edge::hosts::{HostPattern, UnknownHost};
use crate::edge::tls::{
    CertificateError, CertificateSettings, ClientCertificateSettings, Identity, MinTls, Terms, Tls,
};
use crate::words::units::{Size, Span};

/// One `[[listener]]`: an address that serves HTTPS and forwards to one upstream.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerSettings {
    /// Address and port to listen on. `[::]:443` takes IPv4 as well.
    pub bind: SocketAddr,
    /// Name of the `[upstream.NAME]` that gets the requests.
    pub upstream: String,
    /// Certificates by file; the first serves clients that ask for no name.
    #[serde(default)]
    pub certificate: Vec<CertificateSettings>,
    /// Instead of `certificate`: host names and addresses to make an unsigned certificate for.
    #[serde(default)]
    pub self_signed: Vec<String>,
    /// The oldest version of TLS, `"1.2"` or `"1.3"`.
    #[serde(default)]
    pub min_tls: MinTls,
    /// Which clients may connect, by certificate; without it any.
    #[serde(default)]
    pub client_certificates: Option<ClientCertificateSettings>,
    /// Whether connections begin with a PROXY protocol header, version 1 or 2. Then only the peers
    /// of `[trust] proxies` may connect; others are closed.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// Hosts that are served: names, or `*.NAME` for all below it. Without any, all are.
    #[serde(default)]
    pub hosts: Vec<HostPattern>,
    /// What becomes of a request for another host: `serve` or `refuse` (421). Counted in either
    /// case.
    #[serde(default)]
    pub unknown_host: UnknownHost,
    /// Longest TLS handshake, with the PROXY protocol header before it.
    #[serde(default = "ten_seconds")]
    pub handshake_timeout: Span,
    /// Longest time from the first byte of a request's head to its end, on HTTP/1.
    #[serde(default = "thirty_seconds")]
    pub header_timeout: Span,
    /// How long a connection may be idle, between requests or before the first; on HTTP/1, up to
    /// `header_timeout` longer.
    #[serde(default = "one_minute")]
    pub idle_timeout: Span,
    /// Longest time in which a client's connection takes none of what waits to be sent.
    #[serde(default = "one_minute")]
    pub send_timeout: Span,
    /// Longest wait for the next bytes of a request's body, until the response begins.
    #[serde(default = "thirty_seconds")]
    pub body_timeout: Span,
    /// Fewest bytes a second of a request's body, on average over the time that is waited for it,
    /// `body_timeout` of it left aside, until the response begins.
    #[serde(default = "five_hundred_bytes")]
    pub min_body_rate: Size,
    /// Largest body that is looked into for the user of a login, on routes that say where it stands;
    /// at most 1MiB, and `"0B"` for none. Copied as it passes, not held back; a larger one passes
    /// unread.
    #[serde(default = "sixty_four_kib")]
    pub inspect_body: Size,
    /// Largest target of a request; at most `max_header_size`. More is answered 414.
    #[serde(default = "eight_kib")]
    pub max_uri_length: Size,
    /// Header lines of a request, at most 1000. More is answered 431.
    #[serde(default = "one_hundred")]
    pub max_headers: usize,
    /// How long a WebSocket may carry nothing, in either direction, before it is closed.
    #[serde(default = "one_hour")]
    pub tunnel_timeout: Span,
    /// Largest head of a request; at least 8 KiB. More is answered 431.
    #[serde(default = "sixty_four_kib")]
    pub max_header_size: Size,
    /// Connections of this listener at once; more wait in the kernel's backlog.
    #[serde(default = "ten_thousand")]
    pub max_connections: usize,
    /// Connections from one source, an address of IPv4 or a /64 of IPv6, at once, trusted proxies
    /// excepted; more are closed. Clients whose address PROXY protocol tells count likewise.
    #[serde(default = "five_hundred")]
    pub max_connections_per_source: usize,
    /// TLS handshakes of this listener at once; more connections are closed. Connections that say
    /// nothing count too, so a number that a few sources can fill lets these shut others out.
    #[serde(default = "ten_thousand")]
    pub max_handshakes: usize,
}

impl ListenerSettings {
    /// Whether TLS is to be as `other` says, but for the certificates. Who is let in by a
    /// certificate of its own is looked at anew: a session of the old kind must not be resumed.
    pub(super) fn has_tls_of(&self, other: &Self) -> bool {
        self.min_tls == other.min_tls
            && self.client_certificates.is_none()
            && other.client_certificates.is_none()
    }
}

/// A `[[listener]]` that cannot be served. The configuration's fault.
#[derive(Debug, thiserror::Error)]
#[error("[[listener]] bind = \"{bind}\": {problem}")]
pub struct ListenerError {
    bind: SocketAddr,
    #[source]
    problem: Box<ListenerProblem>,
}

#[derive(Debug, thiserror::Error)]
enum ListenerProblem {
    #[error("no certificate; give `certificate` or `self_signed`")]
    NoCertificate,
    #[error("both `certificate` and `self_signed`; give one of them")]
    TwoCertificates,
    #[error("there is no [upstream.{0}]; add it, or name another")]
    UnknownUpstream(String),
    #[error("{key} = {value} is out of range; give {mend}")]
    OutOfRange {
        key: &'static str,
        value: String,
        mend: &'static str,
    },
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// Checks the settings and loads certificates, relative to `base`, without binding anything.
///
/// Errors: [`ListenerError`] for the first listener that cannot be served.
pub fn prepare(
    settings: &[ListenerSettings],
    upstreams: &Upstreams,
    base: &Path,
) -> Result<Vec<Prepared>, ListenerError> {
    settings
        .iter()
        .map(|listener| {
            prepare_one(listener, upstreams, base).map_err(|problem| ListenerError {
                bind: listener.bind,
                problem: Box::new(problem),
            })
        })
        .collect()
}

fn prepare_one(
    settings: &ListenerSettings,
    upstreams: &Upstreams,
    base: &Path,
) -> Result<Prepared, ListenerProblem> {
    let upstream = upstreams
        .named(&settings.upstream)
        .ok_or_else(|| ListenerProblem::UnknownUpstream(settings.upstream.clone()))?;
    let limits = limits(settings)?;
    let identity = match (&*settings.certificate, &*settings.self_signed) {
        ([], []) => return Err(ListenerProblem::NoCertificate),
        ([], names) => Identity::SelfSigned(names),
        (files, []) => Identity::Files(files),
        (_, _) => return Err(ListenerProblem::TwoCertificates),
    };
    let tls = Tls::new(&Terms {
        identity,
        min_tls: settings.min_tls,
        client_certificates: settings.client_certificates.as_ref(),
        base,
    })?;
    Ok(Prepared {
        bind: settings.bind,
        settings: settings.clone(),
        upstream,
        tls,
        limits,
        hosts: Arc::new(Hosts::new(settings.hosts.clone(), settings.unknown_host)),
    })
}

fn limits(settings: &ListenerSettings) -> Result<Limits, ListenerProblem> {
    let span = |key, span: Span| {
        if span.0.is_zero() {
            Err(ListenerProblem::OutOfRange {
                key,
                value: span.to_string(),
                mend: "a time above 0",
            })
        } else {
            Ok(span.0)
        }
    };
    let count = |key, count: usize| {
        // The upper bound is that of tokio's semaphores.
        if (1..=MAX_CONNECTIONS).contains(&count) {
            Ok(count)
        } else {
            Err(ListenerProblem::OutOfRange {
                key,
                value: count.to_string(),
                mend: "a number from 1 to 10000000",
            })
        }
    };
    let head_bytes = usize::try_from(settings.max_header_size.0)
        .ok()
        .filter(|bytes| HEADER_BYTES.contains(bytes))
        .ok_or_else(|| ListenerProblem::OutOfRange {
            key: "max_header_size",
            value: settings.max_header_size.to_string(),
            mend: "a size from 8KiB to 400KiB",
        })?;
    let uri_bytes = usize::try_from(settings.max_uri_length.0)
        .ok()
        .filter(|bytes| URI_BYTES.contains(bytes) && *bytes <= head_bytes)
        .ok_or_else(|| ListenerProblem::OutOfRange {
            key: "max_uri_length",
            value: settings.max_uri_length.to_string(),
            mend: "a size from 256B to 63KiB, not above max_header_size",
        })?;
    if !HEADER_LINES.contains(&settings.max_headers) {
        return Err(ListenerProblem::OutOfRange {
            key: "max_headers",
            value: settings.max_headers.to_string(),
            mend: "a number from 10 to 1000",
        });
    }
    if settings.min_body_rate.0 == 0 {
        return Err(ListenerProblem::OutOfRange {
            key: "min_body_rate",
            value: settings.min_body_rate.to_string(),
            mend: "bytes a second, as in \"500B\"",
        });
    }
    let inspect_body = usize::try_from(settings.inspect_body.0)
        .ok()
        .filter(|bytes| *bytes <= MAX_INSPECT_BYTES)
        .ok_or_else(|| ListenerProblem::OutOfRange {
            key: "inspect_body",
            value: settings.inspect_body.to_string(),
            mend: "a size up to 1MiB",
        })?;
    Ok(Limits {
        inspect_body,
        handshake_timeout: span("handshake_timeout", settings.handshake_timeout)?,
        header_timeout: span("header_timeout", settings.header_timeout)?,
        idle_timeout: span("idle_timeout", settings.idle_timeout)?,
        send_timeout: span("send_timeout", settings.send_timeout)?,
        tunnel_timeout: span("tunnel_timeout", settings.tunnel_timeout)?,
        body: BodyLimits {
            timeout: span("body_timeout", settings.body_timeout)?,
            min_rate: settings.min_body_rate.0,
        },
        head: HeadLimits {
            head_bytes,
            uri_bytes,
            fields: settings.max_headers,
        },
        max_handshakes: count("max_handshakes", settings.max_handshakes)?,
        proxy_protocol: if settings.proxy_protocol {
            ProxyProtocol::Required
        } else {
            ProxyProtocol::Off
        },
        max_connections: count("max_connections", settings.max_connections)?,
        max_connections_per_source: count(
            "max_connections_per_source",
            settings.max_connections_per_source,
        )?,
    })
}

const MAX_CONNECTIONS: usize = 10_000_000;

/// Of each login at once.
const MAX_INSPECT_BYTES: usize = 1_024 * 1_024;

/// hyper refuses read buffers below 8 KiB, and gives up at about 400 KiB by itself.
const HEADER_BYTES: std::ops::RangeInclusive<usize> = 8 * 1_024..=400 * 1_024;

/// hyper gives up just below 64 KiB by itself.
const URI_BYTES: std::ops::RangeInclusive<usize> = 256..=63 * 1_024;

/// No browser gets by with fewer than ten; the upper bound is for what they cost.
const HEADER_LINES: std::ops::RangeInclusive<usize> = 10..=1_000;

const fn ten_seconds() -> Span {
    Span(Duration::from_secs(10))
}

const fn thirty_seconds() -> Span {
    Span(Duration::from_secs(30))
}

const fn one_minute() -> Span {
    Span(Duration::from_secs(60))
}

const fn one_hour() -> Span {
    Span(Duration::from_secs(3_600))
}

const fn sixty_four_kib() -> Size {
    Size(64 * 1_024)
}

const fn eight_kib() -> Size {
    Size(8 * 1_024)
}

const fn five_hundred_bytes() -> Size {
    Size(500)
}

const fn one_hundred() -> usize {
    100
}

const fn ten_thousand() -> usize {
    10_000
}

const fn five_hundred() -> usize {
    500
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked_and_errors_name_the_mend() {
        let upstreams = toml::from_str("app = { endpoints = ['http://127.0.0.1:3000'] }").unwrap();
        let upstreams = Upstreams::new(&upstreams).unwrap();
        let check = |lines: &str, expected: Option<&str>| {
            let text = format!("bind = '127.0.0.1:0'\nupstream = 'app'\n{lines}");
            let settings: ListenerSettings = toml::from_str(&text).unwrap();
            let error = prepare(&[settings], &upstreams, Path::new("/nowhere"))
                .err()
                .map(|error| error.to_string());
            match (&error, expected) {
                (None, None) => {}
                (Some(error), Some(part)) => {
                    assert!(error.starts_with("[[listener]] bind = \"127.0.0.1:0\""));
                    assert!(error.contains(part), "{error}");
                }
                _ => panic!("{error:?}, expected {expected:?}"),
            }
        };
        let own = "self_signed = ['localhost']\n";
        check(own, None);
        check(&format!("{own}proxy_protocol = false"), None);
        check(&format!("{own}proxy_protocol = true"), None);
        check(
            &format!("{own}hosts = ['a.example', '*.b.example']\nunknown_host = 'refuse'"),
            None,
        );
        check(
            &format!("{own}max_uri_length = '16KiB'\nmax_header_size = '8KiB'"),
            Some("not above max_header_size"),
        );
        check(&format!("{own}max_uri_length = '63KiB'"), None);
        check(&format!("{own}max_uri_length = '64KiB'"), Some("63KiB"));
        check(&format!("{own}inspect_body = '0B'"), None);
        check(&format!("{own}inspect_body = '1MiB'"), None);
        check(&format!("{own}inspect_body = '2MiB'"), Some("up to 1MiB"));
        check(&format!("{own}max_headers = 5"), Some("from 10 to 1000"));
        check(
            &format!("{own}min_body_rate = '0B'"),
            Some("bytes a second"),
        );
        check(&format!("{own}body_timeout = '0s'"), Some("body_timeout"));
        check("", Some("no certificate"));
        check(
            &format!("{own}certificate = [{{ cert = 'a', key = 'b' }}]"),
            Some("give one of them"),
        );
        check(
            "certificate = [{ cert = 'a', key = 'b' }]",
            Some("/nowhere/a"),
        );
        check(
            &format!("{own}max_connections = 0"),
            Some("max_connections = 0"),
        );
        check(&format!("{own}max_header_size = '1KiB'"), Some("from 8KiB"));
        check(
            &format!("{own}header_timeout = '0s'"),
            Some("header_timeout"),
        );
    }

    #[test]
    fn an_unknown_upstream_is_named() {
        let settings = "bind = '127.0.0.1:0'\nupstream = 'other'\nself_signed = ['localhost']";
        let settings: ListenerSettings = toml::from_str(settings).unwrap();
        let upstreams = Upstreams::new(&std::collections::BTreeMap::new()).unwrap();
        let error = prepare(&[settings], &upstreams, Path::new("/")).unwrap_err();
        assert!(error.to_string().contains("no [upstream.other]"), "{error}");
    }
}
