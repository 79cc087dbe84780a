//! TLS to the application: who is trusted, and what is offered. The certificate is always
//! verified, and there is no way around it.

use std::sync::Arc;

use ::aws_lc_rs::digest::{SHA256, digest};
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};

use super::settings::UpstreamTlsSettings;
use crate::edge::tls::{self, CertificateError};

/// How to speak TLS to the endpoints of one upstream.
#[derive(Clone, Debug)]
pub(super) struct ClientTls {
    /// Offers HTTP/2 and HTTP/1.1.
    pub(super) any: Arc<ClientConfig>,
    /// Offers HTTP/1.1 alone, which upgrades need.
    pub(super) http1: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    pub(super) files: FilesDigest,
}

/// What the files of `tls` held just before they were read. One that changed in between is found
/// to differ by the next reload, though it does not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct FilesDigest([Option<[u8; 32]>; 3]);

impl FilesDigest {
    fn of(settings: &UpstreamTlsSettings) -> Self {
        let files = [&settings.ca, &settings.client_cert, &settings.client_key];
        Self(files.map(|file| {
            // One that cannot be read is found so when it is read in earnest.
            let held = std::fs::read(file.as_ref()?).ok()?;
            digest(&SHA256, &held).as_ref().try_into().ok()
        }))
    }
}

/// `tls` of an upstream that cannot be used. The configuration's fault, or the host's.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    /// A file of it.
    #[error("tls: {0}")]
    File(#[from] CertificateError),
    /// The host has none.
    #[error("no authorities are installed here; install Debian's `ca-certificates`, or set tls.ca")]
    NoAuthorities,
    /// Only one of the two is given.
    #[error("tls.client_cert and tls.client_key belong together; give both, or neither")]
    HalfAPair,
    /// Neither a host name nor an address.
    #[error("\"{0}\" is no name that a certificate could be for; set tls.server_name")]
    ServerName(String),
    /// The cryptography does not support the versions that we ask for. The build's fault.
    #[error("TLS cannot be set up: {0}")]
    Unusable(rustls::Error),
}

impl ClientTls {
    /// Reads the files.
    ///
    /// Errors: [`TlsError`].
    pub(super) fn load(settings: &UpstreamTlsSettings) -> Result<Self, TlsError> {
        let files = FilesDigest::of(settings);
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unusable)?
            .with_root_certificates(authorities(settings)?);
        let mut config = match (&settings.client_cert, &settings.client_key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(cert), Some(key)) => {
                let pair = SingleCertAndKey::from(tls::pair(cert, key)?);
                let pair: Arc<dyn ResolvesClientCert> = Arc::new(pair);
                builder.with_client_cert_resolver(pair)
            }
            _ => return Err(TlsError::HalfAPair),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let http1 = Arc::new(config.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let server_name = settings.server_name.as_deref().map(server_name);
        Ok(Self {
            any: Arc::new(config),
            http1,
            server_name: server_name.transpose()?,
            files,
        })
    }

    /// The name that the certificate of an endpoint at `host` has to be for.
    ///
    /// Errors: [`TlsError::ServerName`].
    pub(super) fn server_name(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        self.server_name
            .clone()
            .map_or_else(|| server_name(host), Ok)
    }
}

fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(host.to_owned()).map_err(|_cause| TlsError::ServerName(host.to_owned()))
}

fn authorities(settings: &UpstreamTlsSettings) -> Result<RootCertStore, TlsError> {
    if let Some(file) = &settings.ca {
        return Ok(tls::authorities(file)?);
    }
    let mut roots = RootCertStore::empty();
    // Some of a system's are in forms that nobody reads any more; the others are good.
    let found = rustls_native_certs::load_native_certs();
    let (added, _ignored) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(TlsError::NoAuthorities);
    }
    Ok(roots)
}
