//! Certificates from PEM files, or made on the spot, and the TLS configuration of a listener:
//! versions 1.2 and 1.3, ALPN for HTTP/2 and HTTP/1.1, resumption by tickets, and the certificate
//! whose names cover what the client asked for.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, ServerConfig};
use serde::{Deserialize, Serialize};

/// One entry of `certificate`. Paths are relative to the configuration file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateSettings {
    /// PEM file with the certificate and its chain, leaf first.
    pub cert: PathBuf,
    /// PEM file with the leaf's private key: PKCS #8, PKCS #1 or SEC1, not encrypted.
    pub key: PathBuf,
}

/// A certificate that cannot be used. The configuration's fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}; check the path and its permissions", file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file has no certificate.
    #[error("{} has no certificate; it must hold a PEM block `CERTIFICATE`", file.display())]
    NoCertificate {
        /// Which.
        file: PathBuf,
    },
    /// The file has no private key.
    #[error(
        "{} has no private key; it must hold an unencrypted PEM block `PRIVATE KEY`",
        file.display()
    )]
    NoKey {
        /// Which.
        file: PathBuf,
    },
    /// The file has a PEM block that cannot be decoded.
    #[error("{} is not valid PEM: {reason}; export it again", file.display())]
    Malformed {
        /// Which.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Key and certificate belong to different pairs.
    #[error("the key in {} does not belong to the certificate in {}; give the pair that was issued together", key.display(), cert.display())]
    KeyMismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// rustls cannot work with the pair.
    #[error("{} and {} cannot be used: {source}", cert.display(), key.display())]
    Unusable {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: Error,
    },
    /// No certificate can be made for the names.
    #[error(
        "cannot make a certificate for {names:?}: {source}; `self_signed` takes host names and addresses"
    )]
    SelfSigned {
        /// The names.
        names: Vec<String>,
        /// Why.
        source: rcgen::Error,
    },
    /// rustls refuses the configuration.
    #[error("cannot configure TLS: {0}")]
    Tls(#[from] Error),
}

/// TLS of a listener with the certificates in `settings`; the first serves clients that ask for
/// no name, or for one that none covers.
///
/// Errors: [`CertificateError`], the configuration's fault.
pub fn from_files(
    settings: &[CertificateSettings],
    base: &Path,
) -> Result<Arc<ServerConfig>, CertificateError> {
    let certificates = settings
        .iter()
        .map(|pair| load(&base.join(&pair.cert), &base.join(&pair.key)))
        .collect::<Result<_, _>>()?;
    configure(certificates)
}

/// TLS of a listener with a new certificate for `names` that nobody has signed.
///
/// Errors: [`CertificateError`], the configuration's fault.
pub fn self_signed(names: &[String]) -> Result<Arc<ServerConfig>, CertificateError> {
    let refuse = |source| CertificateError::SelfSigned {
        names: names.to_vec(),
        source,
    };
    let made = rcgen::generate_simple_self_signed(names).map_err(refuse)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let certificate = CertifiedKey::from_der(
        vec![made.cert.der().clone()],
        PrivateKeyDer::Pkcs8(key),
        &aws_lc_rs::default_provider(),
    )?;
    configure(vec![Arc::new(certificate)])
}

pub(super) fn load(cert: &Path, key: &Path) -> Result<Arc<CertifiedKey>, CertificateError> {
    let chain = CertificateDer::pem_slice_iter(&read(cert)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| malformed(cert, &error))?;
    if chain.is_empty() {
        return Err(CertificateError::NoCertificate {
            file: cert.to_owned(),
        });
    }
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => CertificateError::NoKey {
            file: key.to_owned(),
        },
        error => malformed(key, &error),
    })?;
    CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider())
        .map(Arc::new)
        .map_err(|source| match source {
            Error::InconsistentKeys(_) => CertificateError::KeyMismatch {
                cert: cert.to_owned(),
                key: key.to_owned(),
            },
            source => CertificateError::Unusable {
                cert: cert.to_owned(),
                key: key.to_owned(),
                source,
            },
        })
}

pub(super) fn read(file: &Path) -> Result<Vec<u8>, CertificateError> {
    std::fs::read(file).map_err(|source| CertificateError::Unreadable {
        file: file.to_owned(),
        source,
    })
}

pub(super) fn malformed(file: &Path, error: &rustls::pki_types::pem::Error) -> CertificateError {
    CertificateError::Malformed {
        file: file.to_owned(),
        reason: error.to_string(),
    }
}

fn configure(certificates: Vec<Arc<CertifiedKey>>) -> Result<Arc<ServerConfig>, CertificateError> {
    let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByName { certificates }));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(config))
}

/// Picks the first certificate that covers the name asked for, else the first of all.
struct ByName {
    /// Never empty: `listener` refuses a listener without certificates.
    certificates: Vec<Arc<CertifiedKey>>,
}

impl fmt::Debug for ByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ByName({})", self.certificates.len())
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello
            .server_name()
            .filter(|_| self.certificates.len() > 1)
            .and_then(|name| ServerName::try_from(name).ok())
            .and_then(|name| self.certificates.iter().find(|key| covers(key, &name)));
        named.or_else(|| self.certificates.first()).cloned()
    }
}

fn covers(certificate: &CertifiedKey, name: &ServerName<'_>) -> bool {
    certificate
        .end_entity_cert()
        .and_then(ParsedCertificate::try_from)
        .is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(directory: &Path, name: &str) -> (PathBuf, PathBuf) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let cert = directory.join(format!("{name}.cert.pem"));
        let key = directory.join(format!("{name}.key.pem"));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        (cert, key)
    }

    #[test]
    fn errors_name_the_file_and_the_mend() {
        let directory = tempfile::tempdir().unwrap();
        let (cert, key) = pair(directory.path(), "a.test");
        let (_, other_key) = pair(directory.path(), "b.test");
        let broken = directory.path().join("broken.pem");
        std::fs::write(
            &broken,
            "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
        )
        .unwrap();
        let missing = directory.path().join("missing.pem");
        let check = |cert: &Path, key: &Path, expected: Option<&str>| {
            let error = load(cert, key).err().map(|error| error.to_string());
            match (&error, expected) {
                (None, None) => {}
                (Some(error), Some(part)) => assert!(error.contains(part), "{error}"),
                _ => panic!("{error:?}, expected {expected:?}"),
            }
        };
        check(&cert, &key, None);
        check(&missing, &key, Some("missing.pem: No such file"));
        check(&key, &key, Some("a.test.key.pem has no certificate"));
        check(&cert, &cert, Some("a.test.cert.pem has no private key"));
        check(&broken, &key, Some("broken.pem is not valid PEM"));
        check(
            &cert,
            &other_key,
            Some("b.test.key.pem does not belong to the certificate in"),
        );
        check(directory.path(), &key, Some("cannot read"));
    }

    #[test]
    fn certificates_cover_their_names() {
        let directory = tempfile::tempdir().unwrap();
        let (cert, key) = pair(directory.path(), "a.test");
        let certificate = load(&cert, &key).unwrap();
        let check = |name: &str, expected: bool| {
            assert_eq!(
                covers(&certificate, &ServerName::try_from(name).unwrap()),
                expected
            );
        };
        check("a.test", true);
        check("b.test", false);
    }

    #[test]
    fn self_signed_takes_names_and_addresses() {
        assert!(self_signed(&["localhost".to_owned(), "127.0.0.1".to_owned()]).is_ok());
        let error = self_signed(&["schlüssel".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("schlüssel"), "{error}");
    }
}
