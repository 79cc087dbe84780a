//! `[identity.jwt]` as it is written.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::source::KeySource;
use crate::words::units::Span;

/// `[identity.jwt]`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct JwtSettings {
    /// Where tokens are looked for: `bearer`, `header:NAME`, `query:NAME`, `cookie:NAME`. The first
    /// that looks like one is taken.
    pub source: Vec<KeySource>,
    /// JWK Set (RFC 7517) of public keys. Followed when it changes.
    pub keys: Option<PathBuf>,
    /// Secrets of HS256, up to two lines of `hex` or `kid:hex`; mode 0600, or it is refused.
    /// Followed when it changes.
    pub secret_file: Option<PathBuf>,
    /// The `iss` that tokens must have. Any by default.
    pub issuer: Option<String>,
    /// Tokens must have one of these in `aud`. Any by default.
    pub audience: Vec<String>,
    /// How far the issuer's clock may be from ours.
    pub leeway: Span,
    /// Which signatures are believed: `RS256`, `ES256`, `EdDSA`, and `HS256`, which needs a secret.
    /// By default the first three, and HS256 where there is a secret.
    pub algorithms: Option<Vec<Algorithm>>,
    /// Whether a token without `exp` is refused.
    pub require_expiry: bool,
}

impl Default for JwtSettings {
    fn default() -> Self {
        Self {
            source: vec![KeySource::Bearer],
            keys: None,
            secret_file: None,
            issuer: None,
            audience: Vec::new(),
            leeway: Span(Duration::from_secs(60)),
            algorithms: None,
            require_expiry: true,
        }
    }
}

impl JwtSettings {
    /// Whether any file of keys is named.
    #[must_use]
    pub const fn has_keys(&self) -> bool {
        self.keys.is_some() || self.secret_file.is_some()
    }

    /// Whether tokens may be signed so.
    pub(super) fn allows(&self, algorithm: Algorithm) -> bool {
        match &self.algorithms {
            Some(allowed) => allowed.contains(&algorithm),
            None => algorithm != Algorithm::Hs256 || self.secret_file.is_some(),
        }
    }
}

/// A signature algorithm of RFC 7518 section 3.1, or RFC 8037 (`EdDSA`, with Ed25519 only).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// HMAC with SHA-256.
    #[serde(rename = "HS256")]
    Hs256,
}

impl Algorithm {
    /// From its name in a header or key; upper and lower case are different.
    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::Rs256, Self::Es256, Self::EdDsa, Self::Hs256]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }

    /// As headers and keys write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
        }
    }
}
