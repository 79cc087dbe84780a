//! A certificate for the edge host, and a client configuration that trusts only it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use rustls::{ClientConfig, RootCertStore};

/// The name that clients ask for.
pub const SERVER_NAME: &str = "app.example.com";

/// A fresh self-signed certificate for [`SERVER_NAME`], as files.
#[derive(Debug)]
pub struct Certificate {
    /// PEM chain.
    pub chain: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
    trust: Arc<RootCertStore>,
}

impl Certificate {
    /// Makes one and writes it below `directory`.
    pub fn create(directory: &Path) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed([SERVER_NAME.to_owned()])?;
        let (chain, key) = (
            directory.join("fullchain.pem"),
            directory.join("privkey.pem"),
        );
        std::fs::write(&chain, made.cert.pem())?;
        std::fs::write(&key, made.signing_key.serialize_pem())?;
        let mut trust = RootCertStore::empty();
        trust.add(made.cert.der().clone())?;
        Ok(Self {
            chain,
            key,
            trust: Arc::new(trust),
        })
    }

    /// TLS of a client that trusts this certificate and offers `protocols` by ALPN.
    #[must_use]
    pub fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let mut config = ClientConfig::builder()
            .with_root_certificates(Arc::clone(&self.trust))
            .with_no_client_auth();
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Arc::new(config)
    }
}
