//! The TLS configuration of a listener: versions, ALPN for HTTP/2 and HTTP/1.1, resumption by
//! tickets, client certificates, and the [`Certificates`] that it serves with, which can be exchanged
//! while it does.
//!
//! **Tickets.** Each listener has keys of its own, so that a session begun at a listener that asks for
//! no client certificate is never resumed at one that does. rustls makes a new key every six hours
//! and honours the one before it; exchanging certificates leaves them alone.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::TLS13;
use rustls::{ServerConfig, SupportedProtocolVersion};
use serde::{Deserialize, Serialize};

mod by_name;
mod certificates;
mod client;
mod pem;

#[cfg(test)]
mod tests;

pub use certificates::{Certificates, Fresh};
pub use client::ClientCertificateSettings;
pub use pem::{CertificateError, CertificateSettings};
pub(super) use pem::{authorities, pair};

/// The key `min_tls`: the oldest version that a listener speaks.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum MinTls {
    /// TLS 1.2 (RFC 5246) and 1.3. There is nothing older.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// Only TLS 1.3 (RFC 8446).
    #[serde(rename = "1.3")]
    Tls13,
}

impl MinTls {
    const fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => rustls::ALL_VERSIONS,
            Self::Tls13 => TLS13_ONLY,
        }
    }
}

const TLS13_ONLY: &[&SupportedProtocolVersion] = &[&TLS13];

/// What a listener's settings say of TLS. Paths are relative to `base`.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// What the listener identifies itself by.
    pub identity: Identity<'a>,
    /// The oldest version.
    pub min_tls: MinTls,
    /// Which clients may connect; without it any.
    pub client_certificates: Option<&'a ClientCertificateSettings>,
    /// Directory of the configuration file.
    pub base: &'a Path,
}

/// Where a listener's certificates come from.
#[derive(Clone, Copy, Debug)]
pub enum Identity<'a> {
    /// From files; at least one pair.
    Files(&'a [CertificateSettings]),
    /// Made here, for these names, signed by nobody.
    SelfSigned(&'a [String]),
}

/// TLS of one listener, ready to serve.
#[derive(Clone, Debug)]
pub struct Tls {
    /// For the acceptor.
    pub config: Arc<ServerConfig>,
    /// What `config` serves with.
    pub certificates: Arc<Certificates>,
}

impl Tls {
    /// By `terms`, reading all files that they name.
    ///
    /// Errors: [`CertificateError`], the configuration's fault.
    pub fn new(terms: &Terms<'_>) -> Result<Self, CertificateError> {
        let certificates = Arc::new(match terms.identity {
            Identity::Files(files) => {
                let absolute = files.iter().map(|files| CertificateSettings {
                    cert: terms.base.join(&files.cert),
                    key: terms.base.join(&files.key),
                });
                Certificates::from_files(absolute.collect())?
            }
            Identity::SelfSigned(names) => Certificates::self_signed(names)?,
        });
        let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
        let verifier = (terms.client_certificates)
            .map(|settings| client::verifier(settings, terms.base, &provider))
            .transpose()?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(terms.min_tls.versions())?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&certificates) as _);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        Ok(Self {
            config: Arc::new(config),
            certificates,
        })
    }

    /// The same, serving with other certificates.
    pub(super) fn serving_with(self, certificates: &Arc<Certificates>) -> Self {
        let mut config = ServerConfig::clone(&self.config);
        config.cert_resolver = Arc::clone(certificates) as _;
        Self {
            config: Arc::new(config),
            certificates: Arc::clone(certificates),
        }
    }
}
