//! The certificates of one listener, inside its TLS configuration and exchanged there: a handshake
//! that has begun keeps what it has, the next one gets the new. Connections, tickets and sockets do
//! not notice.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::by_name::{ByName, Cost, Entry};
use super::pem::{self, CertificateError, CertificateSettings, Named};

/// What a listener identifies itself by.
pub struct Certificates {
    current: ArcSwap<Current>,
}

/// Certificates that were read and are not in force yet.
pub struct Fresh(Arc<Current>);

struct Current {
    source: Source,
    table: ByName<Arc<CertifiedKey>>,
}

#[derive(Clone, Eq, PartialEq)]
enum Source {
    /// With paths made absolute.
    Files(Vec<CertificateSettings>),
    SelfSigned(Vec<String>),
}

impl Certificates {
    /// Those in the files; the first serves clients that ask for no name, or for one that none
    /// covers.
    ///
    /// Errors: [`CertificateError`], the configuration's fault.
    pub(super) fn from_files(files: Vec<CertificateSettings>) -> Result<Self, CertificateError> {
        Current::read(files).map(Self::from)
    }

    /// A new one for `names` that nobody has signed.
    ///
    /// Errors: [`CertificateError`], the configuration's fault.
    pub(super) fn self_signed(names: &[String]) -> Result<Self, CertificateError> {
        let made = pem::self_signed(names)?;
        Current::new(Source::SelfSigned(names.to_vec()), vec![made]).map(Self::from)
    }

    /// The files they come from; none if they were made here.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        match &self.current.load().source {
            Source::Files(files) => (files.iter())
                .flat_map(|files| [files.cert.clone(), files.key.clone()])
                .collect(),
            Source::SelfSigned(_) => Vec::new(),
        }
    }

    /// Reads the files anew; `None` where there are none. Nothing changes before
    /// [`Self::accept`].
    ///
    /// Errors: [`CertificateError`] of the first that cannot be used: the operator's fault, the
    /// old ones stay.
    pub fn read(&self) -> Result<Option<Fresh>, CertificateError> {
        let current = self.current.load();
        match &current.source {
            Source::Files(files) => {
                let read = Current::read(files.clone())?;
                Ok(Some(Fresh(Arc::new(read))))
            }
            Source::SelfSigned(_) => Ok(None),
        }
    }

    /// From the next handshake on, `fresh` are in force.
    pub fn accept(&self, fresh: Fresh) {
        self.current.store(fresh.0);
    }

    /// From the next handshake on, those of `other` are in force, as after a change of the
    /// configuration. What was made here for the same names stays: a client may know it.
    pub fn take_over(&self, other: &Self) {
        let other = other.current.load_full();
        let same_names = matches!(other.source, Source::SelfSigned(_))
            && other.source == self.current.load().source;
        if !same_names {
            self.current.store(other);
        }
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let can_verify = |pair: &Arc<CertifiedKey>| pair.key.choose_scheme(schemes).is_some();
        self.current.load().table.choose(name, can_verify).cloned()
    }
}

impl From<Current> for Certificates {
    fn from(current: Current) -> Self {
        Self {
            current: ArcSwap::from_pointee(current),
        }
    }
}

impl Current {
    fn read(files: Vec<CertificateSettings>) -> Result<Self, CertificateError> {
        let named = pem::load_all(&files)?;
        Self::new(Source::Files(files), named)
    }

    fn new(source: Source, named: Vec<Named>) -> Result<Self, CertificateError> {
        let entries = named.into_iter().map(|named| Entry {
            cost: match named.pair.key.algorithm() {
                SignatureAlgorithm::RSA => Cost::High,
                _ => Cost::Low,
            },
            certificate: named.pair,
            names: named.names,
        });
        let table = ByName::new(&entries.collect::<Vec<_>>()).ok_or(CertificateError::None)?;
        Ok(Self { source, table })
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificates({:?})", self.files())
    }
}

impl fmt::Debug for Fresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fresh")
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}
