//! `client_certificates`: which clients may connect at all, by the authorities that signed for them.
//! Who a client is beyond that is not this module's matter.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use serde::{Deserialize, Serialize};

use super::pem::{CertificateError, authorities};

/// The key `client_certificates` of a `[[listener]]`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificateSettings {
    /// PEM file of the authorities that sign for clients.
    pub ca: PathBuf,
    /// Whether a client without a certificate is refused. One with a certificate that none of `ca`
    /// has signed, or that has ended, is refused in any case.
    #[serde(default = "yes")]
    pub required: bool,
}

/// Judges clients by `settings`, whose path is relative to `base`.
///
/// Errors: [`CertificateError`], the configuration's fault.
pub(super) fn verifier(
    settings: &ClientCertificateSettings,
    base: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, CertificateError> {
    let file = base.join(&settings.ca);
    let authorities = Arc::new(authorities(&file)?);
    let builder = WebPkiClientVerifier::builder_with_provider(authorities, Arc::clone(provider));
    let builder = match settings.required {
        true => builder,
        false => builder.allow_unauthenticated(),
    };
    let built = builder.build();
    built.map_err(|source| CertificateError::Verifier { file, source })
}

const fn yes() -> bool {
    true
}
