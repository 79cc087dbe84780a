//! `[upstream.NAME]`: keys, defaults, and what is wrong with them. Opens no connection.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::endpoint::EndpointError;
use super::tls::TlsError;
use crate::edge::headers::Forwarding;
use crate::edge::signing_keys::SigningKeysError;
use crate::words::units::Span;

/// `[upstream.NAME]`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamSettings {
    /// Where the application listens: `http://HOST:PORT`, `https://HOST:PORT` (HTTP/2 or HTTP/1.1),
    /// `h2c://HOST:PORT` (HTTP/2 without TLS), `unix:/PATH` (HTTP/1.1). Each request goes to the
    /// less busy of two that are well.
    pub endpoints: Vec<String>,
    /// Checks that botguard makes by itself; without them an endpoint is only known to be down
    /// when no connection to it can be made.
    #[serde(default)]
    pub health: Option<HealthSettings>,
    /// When an endpoint that cannot be connected to is left alone for a while.
    #[serde(default)]
    pub eject: EjectSettings,
    /// How `https` endpoints are verified.
    #[serde(default)]
    pub tls: UpstreamTlsSettings,
    /// Whether `Botguard-Observe` headers that are signed with a key of `secret_file` are believed.
    #[serde(default)]
    pub observe: bool,
    /// File of one or two lines `kid:hex`, mode 0600: keys that botguard shares with the
    /// application. The first signs requests.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// Which fields tell the application of the client's address, scheme and host: `x-forwarded`,
    /// `forwarded` (RFC 7239), or `both`.
    #[serde(default)]
    pub forwarding: Forwarding,
    /// Longest time to make a connection to one endpoint, TLS and the settings of HTTP/2 included, and
    /// the wait for one that others make.
    #[serde(default = "five_seconds")]
    pub connect_timeout: Span,
    /// Longest time from the end of the request's body, or its last progress, to the first byte of
    /// the response.
    #[serde(default = "one_minute")]
    pub first_byte_timeout: Span,
    /// Longest time in which neither body makes progress.
    #[serde(default = "five_minutes")]
    pub idle_timeout: Span,
    /// Most requests at a time to one endpoint; with HTTP/2, whose connections carry 100 requests
    /// each or as many as the application allows, most connections. Without it there is no limit but
    /// the listener's.
    #[serde(default)]
    pub max_connections: Option<u32>,
    /// Longest time that a request waits for any endpoint where all have `max_connections`; then 503.
    #[serde(default = "one_second")]
    pub queue_timeout: Span,
    /// Connections that are kept for further requests.
    #[serde(default)]
    pub keep_alive: KeepAliveSettings,
    /// Time between look-ups of endpoints that are names.
    #[serde(default = "thirty_seconds")]
    pub resolve: Span,
}

/// `health` of an upstream.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HealthSettings {
    /// Path that answers 2xx while the application is well.
    pub path: String,
    /// Time between checks.
    pub interval: Span,
    /// Longest time for one check, connection included; `interval`, where not given.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// Checks in a row that an endpoint passes before it is well again.
    #[serde(default = "two")]
    pub healthy_after: u32,
    /// Checks in a row that an endpoint fails before it is down.
    #[serde(default = "three")]
    pub unhealthy_after: u32,
}

/// `eject` of an upstream.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EjectSettings {
    /// Connections in a row that could not be made.
    pub failures: u32,
    /// How long the endpoint is then left alone the first time; each further time, twice as long.
    pub time: Span,
    /// The longest of these times.
    pub max: Span,
}

impl Default for EjectSettings {
    fn default() -> Self {
        Self {
            failures: 3,
            time: one_second(),
            max: one_minute(),
        }
    }
}

/// `keep_alive` of an upstream.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeepAliveSettings {
    /// How long a connection may be without a request. Keep it below the application's own time,
    /// which then never closes under a request; Node's and Apache's is 5 s.
    pub idle: Span,
    /// Connections without a request that are kept for one address; 0 keeps none.
    pub connections: u32,
}

impl Default for KeepAliveSettings {
    fn default() -> Self {
        Self {
            idle: four_seconds(),
            connections: 256,
        }
    }
}

/// `tls` of an upstream. There is no key that switches verification off.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTlsSettings {
    /// PEM file of the authorities that are trusted instead of the system's.
    pub ca: Option<PathBuf>,
    /// The name that the certificate has to be for, instead of the endpoint's host.
    pub server_name: Option<String>,
    /// PEM file of the certificate that botguard shows, with its chain.
    pub client_cert: Option<PathBuf>,
    /// PEM file of its key.
    pub client_key: Option<PathBuf>,
}

impl UpstreamSettings {
    /// The keys of `[upstream.name]` that are set but not acted on by this version, in words.
    #[must_use]
    pub fn warnings(&self, name: &str) -> Vec<String> {
        let is_tls = (self.endpoints.iter()).any(|endpoint| endpoint.starts_with("https://"));
        let idle_tls = self.tls != UpstreamTlsSettings::default() && !is_tls;
        let warning = idle_tls.then(|| {
            format!("[upstream.{name}] tls has no effect: none of its endpoints is https")
        });
        warning.into_iter().collect()
    }

    /// The files that it names, to be made absolute.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let tls = &mut self.tls;
        [
            &mut self.secret_file,
            &mut tls.ca,
            &mut tls.client_cert,
            &mut tls.client_key,
        ]
        .into_iter()
        .filter_map(Option::as_mut)
    }

    pub(super) fn check(&self) -> Result<(), UpstreamProblem> {
        if self.endpoints.is_empty() {
            return Err(UpstreamProblem::NoEndpoint);
        }
        let health = self.health.as_ref();
        let above_zero = [
            ("connect_timeout", self.connect_timeout.0.is_zero()),
            ("first_byte_timeout", self.first_byte_timeout.0.is_zero()),
            ("idle_timeout", self.idle_timeout.0.is_zero()),
            ("max_connections", self.max_connections == Some(0)),
            ("keep_alive.idle", self.keep_alive.idle.0.is_zero()),
            ("resolve", self.resolve.0.is_zero()),
            ("eject.failures", self.eject.failures == 0),
            ("eject.time", self.eject.time.0.is_zero()),
            (
                "health.interval",
                health.is_some_and(|health| health.interval.0.is_zero()),
            ),
            (
                "health.timeout",
                health.is_some_and(|health| health.timeout.is_some_and(|time| time.0.is_zero())),
            ),
            (
                "health.healthy_after",
                health.is_some_and(|health| health.healthy_after == 0),
            ),
            (
                "health.unhealthy_after",
                health.is_some_and(|health| health.unhealthy_after == 0),
            ),
        ];
        if let Some((key, _)) = above_zero.into_iter().find(|(_, is_zero)| *is_zero) {
            return Err(UpstreamProblem::Zero(key));
        }
        if self.eject.max < self.eject.time {
            return Err(UpstreamProblem::EjectOrder);
        }
        if let Some(health) = health {
            let path = health.path.parse::<http::uri::PathAndQuery>();
            if !health.path.starts_with('/') || path.is_err() {
                return Err(UpstreamProblem::HealthPath(health.path.clone()));
            }
        }
        Ok(())
    }
}

/// An `[upstream.NAME]` that cannot be used. The configuration's fault.
#[derive(Debug, thiserror::Error)]
#[error("[upstream.{name}]: {problem}")]
pub struct UpstreamError {
    pub(super) name: String,
    #[source]
    pub(super) problem: UpstreamProblem,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum UpstreamProblem {
    #[error("endpoints is empty; give at least one, as in \"http://127.0.0.1:3000\"")]
    NoEndpoint,
    #[error("endpoint \"{0}\" stands there twice; leave one out")]
    Doubled(String),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("{0} must be above 0")]
    Zero(&'static str),
    #[error("eject.max is below eject.time; times grow from the one to the other")]
    EjectOrder,
    #[error(
        "health.path \"{0}\" is not a path; give one that begins with a slash, as in \"/healthz\""
    )]
    HealthPath(String),
    #[error("observe = true needs a key that the application signs with; set secret_file")]
    NoKeys,
    #[error(transparent)]
    Keys(#[from] SigningKeysError),
    #[error(transparent)]
    Tls(#[from] Box<TlsError>),
}

const fn one_second() -> Span {
    Span(Duration::from_secs(1))
}

/// Below the 5 s of Node, Apache and uvicorn: what is not sent a second time, as a POST, must not
/// meet a connection that is being closed. Whoever is asked more often than that keeps its
/// connections anyway, and another costs a round trip.
const fn four_seconds() -> Span {
    Span(Duration::from_secs(4))
}

const fn five_seconds() -> Span {
    Span(Duration::from_secs(5))
}

const fn thirty_seconds() -> Span {
    Span(Duration::from_secs(30))
}

const fn one_minute() -> Span {
    Span(Duration::from_secs(60))
}

/// Envoy's `stream_idle_timeout`; nginx's 60 s end event streams that are merely quiet.
const fn five_minutes() -> Span {
    Span(Duration::from_secs(300))
}

const fn two() -> u32 {
    2
}

const fn three() -> u32 {
    3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_effect_is_named() {
        let check = |lines: &str, expected: &[&str]| {
            let settings: UpstreamSettings = toml::from_str(lines).unwrap();
            assert_eq!(settings.warnings("app"), expected);
        };
        check(
            "endpoints = ['http://a', 'https://b']\ntls = { ca = 'x' }",
            &[],
        );
        check("endpoints = ['http://a']", &[]);
        check(
            "endpoints = ['http://a']\ntls = { ca = 'x' }",
            &["[upstream.app] tls has no effect: none of its endpoints is https"],
        );
    }

    #[test]
    fn verification_cannot_be_switched_off() {
        for key in ["verify = false", "insecure = true", "skip_verify = true"] {
            let lines = format!("endpoints = ['https://a']\ntls = {{ {key} }}");
            let error = toml::from_str::<UpstreamSettings>(&lines).unwrap_err();
            assert!(error.to_string().contains("unknown field"), "{error}");
        }
    }
}
