//! `[upstream.NAME]`: pooled connections to the application, tried in turn.
//!
//! A request is sent once. Only where no connection could be made, so that nothing was sent, is
//! the next endpoint tried. Bodies are never kept to be sent again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::body::UpstreamBody;
use super::signing_keys::{SigningKeys, SigningKeysError};
use crate::words::units::Span;

pub use super::headers::Forwarding;

/// `[upstream.NAME]`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamSettings {
    /// Where the application listens: `http://HOST:PORT`, used in turn.
    pub endpoints: Vec<String>,
    /// Health checks. Not acted on yet.
    #[serde(default)]
    pub health: Option<HealthSettings>,
    /// Whether `Botguard-Observe` headers that are signed with a key of `secret_file` are believed.
    #[serde(default)]
    pub observe: bool,
    /// File of one or two lines `kid:hex`, mode 0600: keys that botguard shares with the
    /// application. Read at the start.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// Which fields tell the application of the client's address, scheme and host: `x-forwarded`,
    /// `forwarded` (RFC 7239), or `both`.
    #[serde(default)]
    pub forwarding: Forwarding,
    /// Longest time to make a connection to one endpoint.
    #[serde(default = "five_seconds")]
    pub connect_timeout: Span,
    /// Longest time from the end of the request's body, or its last progress, to the first byte of
    /// the response.
    #[serde(default = "one_minute")]
    pub first_byte_timeout: Span,
}

/// `health` of an upstream.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HealthSettings {
    /// Path that answers 2xx while the application is well.
    pub path: String,
    /// Time between checks.
    pub interval: Span,
}

impl UpstreamSettings {
    /// The keys of `[upstream.name]` that are set but not acted on by this version, in words.
    #[must_use]
    pub fn warnings(&self, name: &str) -> Vec<String> {
        let health = (self.health.is_some())
            .then(|| format!("[upstream.{name}] health is not acted on by this version"));
        health.into_iter().collect()
    }
}

/// An `[upstream.NAME]` that cannot be used. The configuration's fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("[upstream.{name}]: {problem}")]
pub struct UpstreamError {
    name: String,
    #[source]
    problem: UpstreamProblem,
}

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
enum UpstreamProblem {
    #[error("endpoints is empty; give at least one, as in \"http://127.0.0.1:3000\"")]
    NoEndpoint,
    #[error("endpoint \"{0}\" is not yet supported by this version; give http://HOST:PORT")]
    NotYet(String),
    #[error("endpoint \"{0}\" is not a URL of scheme, host and port; give http://HOST:PORT")]
    Malformed(String),
    #[error("{0} must be above 0")]
    ZeroTimeout(&'static str),
    #[error("observe = true needs a key that the application signs with; set secret_file")]
    NoKeys,
    #[error(transparent)]
    Keys(#[from] SigningKeysError),
}

/// All upstreams by name.
#[derive(Clone, Debug)]
pub struct Upstreams(BTreeMap<String, Arc<Upstream>>);

impl Upstreams {
    /// Checks the settings; makes no connection.
    ///
    /// Errors: [`UpstreamError`] for the first that cannot be used.
    pub fn new(settings: &BTreeMap<String, UpstreamSettings>) -> Result<Self, UpstreamError> {
        let upstreams = settings.iter().map(|(name, settings)| {
            Upstream::new(settings)
                .map(|upstream| (name.clone(), Arc::new(upstream)))
                .map_err(|problem| UpstreamError {
                    name: name.clone(),
                    problem,
                })
        });
        upstreams.collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn named(&self, name: &str) -> Option<Arc<Upstream>> {
        self.0.get(name).map(Arc::clone)
    }
}

/// One application behind one or more endpoints.
#[derive(Debug)]
pub(super) struct Upstream {
    endpoints: Vec<Authority>,
    next: AtomicUsize,
    client: Client<HttpConnector, UpstreamBody>,
    first_byte_timeout: Duration,
    forwarding: Forwarding,
    /// `None` where `Botguard-Observe` is not believed.
    observers: Option<SigningKeys>,
}

/// Why there is no response. Blame: the upstream, unless another is named.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpstreamFailure {
    #[error("no connection to the application")]
    Unreachable(#[source] ClientError),
    #[error("connecting to the application took too long")]
    ConnectTimeout(#[source] ClientError),
    #[error("the application broke off before its response")]
    Broken(#[source] ClientError),
    #[error("the application did not respond in time")]
    FirstByteTimeout,
    /// Blame: the client.
    #[error("the request's body stopped arriving")]
    ClientStalled,
    /// Blame: the client.
    #[error("the request's body broke off, or is not framed as HTTP")]
    ClientBroke,
}

impl Upstream {
    fn new(settings: &UpstreamSettings) -> Result<Self, UpstreamProblem> {
        if settings.endpoints.is_empty() {
            return Err(UpstreamProblem::NoEndpoint);
        }
        if settings.connect_timeout.0.is_zero() {
            return Err(UpstreamProblem::ZeroTimeout("connect_timeout"));
        }
        if settings.first_byte_timeout.0.is_zero() {
            return Err(UpstreamProblem::ZeroTimeout("first_byte_timeout"));
        }
        // Read also where nothing is observed: a file that is exposed is not noticed too early.
        let keys = (settings.secret_file.as_deref())
            .map(SigningKeys::load)
            .transpose()?;
        if settings.observe && keys.is_none() {
            return Err(UpstreamProblem::NoKeys);
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(settings.connect_timeout.0));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_SIZE)
            .build(connector);
        Ok(Self {
            endpoints: settings
                .endpoints
                .iter()
                .map(|text| endpoint(text))
                .collect::<Result<_, _>>()?,
            next: AtomicUsize::new(0),
            client,
            first_byte_timeout: settings.first_byte_timeout.0,
            forwarding: settings.forwarding,
            observers: keys.filter(|_| settings.observe),
        })
    }

    pub(super) const fn forwarding(&self) -> Forwarding {
        self.forwarding
    }

    /// The keys of which one signs what is believed of this application, if anything is.
    pub(super) const fn observers(&self) -> Option<&SigningKeys> {
        self.observers.as_ref()
    }

    /// Sends a request with its final headers and waits for the head of the response.
    pub(super) async fn send(
        &self,
        head: Parts,
        body: UpstreamBody,
    ) -> Result<Response<Incoming>, UpstreamFailure> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut tried = 1;
        loop {
            // `endpoints` is never empty, so the remainder is defined and in range.
            let endpoint = &self.endpoints[first.wrapping_add(tried) % self.endpoints.len()];
            let request = address(&head, endpoint, body.clone());
            match self.first_byte(request, &body).await {
                Err(UpstreamFailure::Unreachable(_) | UpstreamFailure::ConnectTimeout(_))
                    if tried < self.endpoints.len() =>
                {
                    tried += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn first_byte(
        &self,
        request: Request<UpstreamBody>,
        body: &UpstreamBody,
    ) -> Result<Response<Incoming>, UpstreamFailure> {
        let mut response = self.client.request(request);
        let mut seen = None;
        loop {
            if let Ok(outcome) = timeout(self.first_byte_timeout, &mut response).await {
                return outcome.map_err(|error| {
                    if body.bytes().is_broken() {
                        UpstreamFailure::ClientBroke
                    } else {
                        failure(error)
                    }
                });
            }
            // While the body makes progress, as in a long upload, there is nothing to answer yet.
            let progress = Some((body.bytes().count(), body.bytes().has_ended()));
            if progress == seen || matches!(progress, Some((0, true))) {
                return Err(if body.bytes().has_ended() {
                    UpstreamFailure::FirstByteTimeout
                } else {
                    UpstreamFailure::ClientStalled
                });
            }
            seen = progress;
        }
    }
}

fn failure(error: ClientError) -> UpstreamFailure {
    if !error.is_connect() {
        return UpstreamFailure::Broken(error);
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(io) = current.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::TimedOut
        {
            return UpstreamFailure::ConnectTimeout(error);
        }
        cause = current.source();
    }
    UpstreamFailure::Unreachable(error)
}

/// The path goes on as it was sent, so that the application sees what a signature covers.
fn address(head: &Parts, endpoint: &Authority, body: UpstreamBody) -> Request<UpstreamBody> {
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(endpoint.clone());
    uri.path_and_query = Some(
        head.uri
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/")),
    );
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    // Scheme, authority and path are all there, which is all that can be wrong.
    *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = head.headers.clone();
    request
}

fn endpoint(text: &str) -> Result<Authority, UpstreamProblem> {
    let malformed = || UpstreamProblem::Malformed(text.to_owned());
    let not_yet = ["https:", "unix:", "h2c:"];
    if not_yet.iter().any(|scheme| text.starts_with(scheme)) {
        return Err(UpstreamProblem::NotYet(text.to_owned()));
    }
    let uri = text.parse::<Uri>().map_err(|_cause| malformed())?;
    let plain = uri.scheme() == Some(&Scheme::HTTP) && uri.path() == "/" && uri.query().is_none();
    uri.authority()
        .filter(|authority| plain && !authority.as_str().contains('@'))
        .cloned()
        .ok_or_else(malformed)
}

/// Below the 75 s of nginx and the 60 s of most load balancers; a connection that an application
/// closes earlier is noticed, and a request that was not yet written is sent on another.
const POOL_IDLE: Duration = Duration::from_secs(30);

/// Idle connections kept for one endpoint.
const POOL_SIZE: usize = 256;

const fn five_seconds() -> Span {
    Span(Duration::from_secs(5))
}

const fn one_minute() -> Span {
    Span(Duration::from_secs(60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_checked() {
        let check = |lines: &str, expected: Option<&str>| {
            let settings: UpstreamSettings = toml::from_str(lines).unwrap();
            let error = Upstreams::new(&BTreeMap::from([("app".to_owned(), settings)]))
                .err()
                .map(|error| error.to_string());
            match (&error, expected) {
                (None, None) => {}
                (Some(error), Some(part)) => {
                    assert!(error.starts_with("[upstream.app]: "), "{error}");
                    assert!(error.contains(part), "{error}");
                }
                _ => panic!("{error:?}, expected {expected:?}"),
            }
        };
        check("endpoints = ['http://127.0.0.1:3000']", None);
        check(
            "endpoints = ['http://[::1]:3000/', 'http://app.internal']",
            None,
        );
        check("endpoints = []", Some("endpoints is empty"));
        check(
            "endpoints = ['https://127.0.0.1']",
            Some("not yet supported"),
        );
        check(
            "endpoints = ['unix:/run/app.sock']",
            Some("not yet supported"),
        );
        check("endpoints = ['127.0.0.1:3000']", Some("not a URL"));
        check("endpoints = ['http://a/path']", Some("not a URL"));
        check("endpoints = ['http://user@a']", Some("not a URL"));
        check(
            "endpoints = ['http://a']\nconnect_timeout = '0s'",
            Some("connect_timeout"),
        );
        check(
            "endpoints = ['http://a']\nobserve = true",
            Some("set secret_file"),
        );
        check(
            "endpoints = ['http://a']\nsecret_file = '/nonexistent/secret'",
            Some("cannot be read"),
        );
    }

    #[test]
    fn what_is_not_acted_on_is_named() {
        let check = |lines: &str, expected: &[&str]| {
            let text = format!("endpoints = ['http://a']\n{lines}");
            let settings: UpstreamSettings = toml::from_str(&text).unwrap();
            assert_eq!(settings.warnings("app"), expected);
        };
        check("observe = false", &[]);
        check(
            "health = { path = '/healthz', interval = '5s' }\nobserve = true",
            &["[upstream.app] health is not acted on by this version"],
        );
    }
}
