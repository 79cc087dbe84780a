//! Certificates and keys from PEM files, or made on the spot; each with the names it is for, so that
//! nothing is parsed while a client waits. Which one a client gets is `by_name`'s matter.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, RootCertStore};
use serde::{Deserialize, Serialize};
use webpki::EndEntityCert;

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
    /// There is none at all.
    #[error("no certificate; give `certificate` or `self_signed`")]
    None,
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
    /// A certificate in the file cannot be trusted as an authority.
    #[error("{} has a certificate that cannot be an authority: {source}", file.display())]
    NotAnAuthority {
        /// Which.
        file: PathBuf,
        /// Why.
        source: Error,
    },
    /// The certificate's names cannot be read.
    #[error("the names in {} cannot be read: {source}; have it issued again", cert.display())]
    Names {
        /// The certificate's file.
        cert: PathBuf,
        /// Why.
        source: webpki::Error,
    },
    /// The authorities cannot judge clients.
    #[error("{} cannot be used to verify clients: {source}", file.display())]
    Verifier {
        /// The authorities' file.
        file: PathBuf,
        /// Why.
        source: rustls::server::VerifierBuilderError,
    },
    /// rustls refuses the configuration.
    #[error("cannot configure TLS: {0}")]
    Tls(#[from] Error),
}

/// A certificate with its key, and the DNS names that it is for, in lower case. Without names it
/// serves only where no name counts.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) pair: Arc<CertifiedKey>,
    pub(super) names: Vec<String>,
}

/// The pairs of `settings`, in their order.
///
/// Errors: [`CertificateError`] of the first that cannot be used.
pub(super) fn load_all(settings: &[CertificateSettings]) -> Result<Vec<Named>, CertificateError> {
    (settings.iter())
        .map(|files| load(&files.cert, &files.key))
        .collect()
}

/// A new certificate for `names` that nobody has signed.
///
/// Errors: [`CertificateError::SelfSigned`], the configuration's fault.
pub(super) fn self_signed(names: &[String]) -> Result<Named, CertificateError> {
    let refuse = |source| CertificateError::SelfSigned {
        names: names.to_vec(),
        source,
    };
    let made = rcgen::generate_simple_self_signed(names).map_err(refuse)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let pair = CertifiedKey::from_der(
        vec![made.cert.der().clone()],
        PrivateKeyDer::Pkcs8(key),
        &aws_lc_rs::default_provider(),
    )?;
    Ok(Named {
        pair: Arc::new(pair),
        names: names.iter().map(|name| name.to_ascii_lowercase()).collect(),
    })
}

/// The authorities in a PEM file.
///
/// Errors: [`CertificateError`], the configuration's fault.
pub(in crate::edge) fn authorities(file: &Path) -> Result<RootCertStore, CertificateError> {
    let mut authorities = RootCertStore::empty();
    for certificate in chain(file)? {
        let added = authorities.add(certificate);
        added.map_err(|source| CertificateError::NotAnAuthority {
            file: file.to_owned(),
            source,
        })?;
    }
    Ok(authorities)
}

/// A certificate with its chain and its key.
///
/// Errors: [`CertificateError`], the configuration's fault.
pub(in crate::edge) fn pair(
    cert: &Path,
    key: &Path,
) -> Result<Arc<CertifiedKey>, CertificateError> {
    load(cert, key).map(|named| named.pair)
}

fn load(cert: &Path, key: &Path) -> Result<Named, CertificateError> {
    let chain = chain(cert)?;
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => CertificateError::NoKey {
            file: key.to_owned(),
        },
        error => malformed(key, &error),
    })?;
    let names = names(&chain).map_err(|source| CertificateError::Names {
        cert: cert.to_owned(),
        source,
    })?;
    let pair = CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider());
    pair.map(|pair| Named {
        pair: Arc::new(pair),
        names,
    })
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

/// All certificates of a file; at least one.
fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let chain = CertificateDer::pem_slice_iter(&read(file)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| malformed(file, &error))?;
    if chain.is_empty() {
        return Err(CertificateError::NoCertificate {
            file: file.to_owned(),
        });
    }
    Ok(chain)
}

/// The `dNSName`s of the leaf's subjectAltName (RFC 6125 section 6.4: the common name is not one).
fn names(chain: &[CertificateDer<'_>]) -> Result<Vec<String>, webpki::Error> {
    let Some(leaf) = chain.first() else {
        return Ok(Vec::new());
    };
    let leaf = EndEntityCert::try_from(leaf)?;
    Ok(leaf
        .valid_dns_names()
        .map(str::to_ascii_lowercase)
        .collect())
}

fn read(file: &Path) -> Result<Vec<u8>, CertificateError> {
    std::fs::read(file).map_err(|source| CertificateError::Unreadable {
        file: file.to_owned(),
        source,
    })
}

fn malformed(file: &Path, error: &rustls::pki_types::pem::Error) -> CertificateError {
    CertificateError::Malformed {
        file: file.to_owned(),
        reason: error.to_string(),
    }
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
    fn self_signed_takes_names_and_addresses() {
        assert!(self_signed(&["localhost".to_owned(), "127.0.0.1".to_owned()]).is_ok());
        let error = self_signed(&["schlüssel".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("schlüssel"), "{error}");
    }

    #[test]
    fn names_are_those_of_the_subject_alternative_name() {
        let check = |given: &[&str], expected: &[&str]| {
            let given: Vec<String> = given.iter().map(|&name| name.to_owned()).collect();
            let made = rcgen::generate_simple_self_signed(given).unwrap();
            assert_eq!(names(&[made.cert.der().clone()]).unwrap(), expected);
        };
        check(&["a.test", "*.A.test"], &["a.test", "*.a.test"]);
        check(&["127.0.0.1"], &[]);
        check(&["127.0.0.1", "b.test"], &["b.test"]);
        assert!(names(&[CertificateDer::from(vec![0x30, 0x00])]).is_err());
    }
}
