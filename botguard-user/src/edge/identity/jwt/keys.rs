//! The keys that tokens are checked with, and which of them a token gets.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::ParsedPublicKey;

use super::compact::Compact;
use super::settings::{Algorithm, JwtSettings};
use super::{TokenProblem, jwks, secret};
use crate::words::clock::Wall;

/// A file of keys that cannot be used. The file's fault, or the configuration's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenKeysError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The key set is no key set.
    #[error(
        "{}: is not a JWK Set: {problem}; expected {{\"keys\": [{{\"kty\": …}}]}} (RFC 7517)",
        path.display()
    )]
    NotASet {
        /// The file.
        path: PathBuf,
        /// What is wrong, without what stands in it.
        problem: String,
    },
    /// One of its keys cannot be used.
    #[error("{}: keys[{index}]: {problem}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Which, from 0.
        index: usize,
        /// What is wrong with it.
        problem: KeyProblem,
    },
    /// Others can read the secrets.
    #[error("{}: has mode {mode:04o}, so others can read it; `chmod 600` it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A line of the secret file.
    #[error("{}:{line}: {problem}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// HS256 without a secret.
    #[error("[identity.jwt] algorithms: HS256 needs a secret; set secret_file, or leave HS256 out")]
    NoSecret,
}

/// What is wrong with a key.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyProblem {
    /// A member is missing, or not base64url.
    #[error("`{0}` is missing or not text as RFC 7518 section 6 has it; get the set anew")]
    Member(&'static str),
    /// A secret among public keys.
    #[error("is a symmetric key (kty oct); take it out and put it into secret_file")]
    Symmetric,
    /// A private key among public keys.
    #[error("holds the private part (`d`); publish and configure only the public one")]
    Private,
    /// Its algorithm is not among the allowed ones.
    #[error(
        "is for {0}, which is not allowed; take it out, or name it in [identity.jwt] algorithms if it is one of RS256, ES256, EdDSA"
    )]
    NotAllowed(String),
    /// Its algorithm does not fit its type.
    #[error("is of type {kty} but for {alg}; take it out, or get the set anew")]
    Mismatch {
        /// Key type.
        kty: String,
        /// Algorithm.
        alg: String,
    },
    /// Too short to be safe, or too long.
    #[error("has {0} bits; RS256 needs 2048 to 8192 (RFC 7518 section 3.3)")]
    Bits(usize),
    /// Not a key of its kind.
    #[error("is no valid key of its kind; get the set anew")]
    Invalid,
    /// Two keys have one name.
    #[error("has the kid of keys[{0}]; give each key its own")]
    SameId(usize),
    /// Tokens could not say which of two is meant.
    #[error("has no kid, and there are several keys for {0}; give each its own")]
    Nameless(&'static str),
}

/// All keys.
pub(super) struct Keys {
    pub(super) public: Vec<PublicKey>,
    /// When the set was last modified.
    pub(super) date: Option<Wall>,
    pub(super) secrets: Vec<Secret>,
}

/// A public key with its one algorithm.
pub(super) struct PublicKey {
    pub(super) id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: ParsedPublicKey,
}

/// A secret of HS256, and of nothing else.
pub(super) struct Secret {
    pub(super) id: Option<String>,
    pub(super) key: hmac::Key,
}

impl Keys {
    pub(super) fn load(settings: &JwtSettings) -> Result<Self, TokenKeysError> {
        let (public, date) = match &settings.keys {
            Some(path) => {
                let (content, date) = read(path)?;
                (jwks::parse(path, &content, settings)?, Some(date))
            }
            None => (Vec::new(), None),
        };
        let secrets = match &settings.secret_file {
            Some(path) => secret::parse(path, &read_secret(path)?)?,
            None => Vec::new(),
        };
        let wants_hs256 =
            (settings.algorithms.iter().flatten()).any(|algorithm| *algorithm == Algorithm::Hs256);
        if wants_hs256 && secrets.is_empty() {
            return Err(TokenKeysError::NoSecret);
        }
        Ok(Self {
            public,
            date,
            secrets,
        })
    }

    pub(super) const fn len(&self) -> usize {
        self.public.len() + self.secrets.len()
    }

    /// Whether none is configured, so that nothing can be proved.
    pub(super) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Errors: there is no key for it, or its signature is not that key's.
    pub(super) fn verify(
        &self,
        algorithm: Algorithm,
        token: &Compact<'_>,
    ) -> Result<(), TokenProblem> {
        let id = token.key_id()?;
        let is_signed = if algorithm == Algorithm::Hs256 {
            // Secrets often go without a name: then any token may be theirs.
            let mut fitting = (self.secrets.iter())
                .filter(|secret| id.is_none() || secret.id.is_none() || secret.id.as_deref() == id)
                .peekable();
            fitting.peek().ok_or(TokenProblem::UnknownKey)?;
            fitting.any(|secret| hmac::verify(&secret.key, token.signed, &token.signature).is_ok())
        } else {
            let key = self.public(algorithm, id)?;
            let verified = key.key.verify_sig(token.signed, &token.signature);
            verified.is_ok()
        };
        is_signed.then_some(()).ok_or(TokenProblem::Signature)
    }

    /// The key of that name; without a name, the only one there is for the algorithm.
    fn public(&self, algorithm: Algorithm, id: Option<&str>) -> Result<&PublicKey, TokenProblem> {
        let mut fitting = (self.public.iter())
            .filter(|key| key.algorithm == algorithm)
            .filter(|key| id.is_none() || key.id.as_deref() == id);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            _ => Err(TokenProblem::UnknownKey),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.len())
    }
}

fn read(path: &Path) -> Result<(Vec<u8>, Wall), TokenKeysError> {
    let mut file = File::open(path).map_err(at(path))?;
    let modified = file.metadata().and_then(|metadata| metadata.modified());
    let modified = modified.map_err(at(path))?.duration_since(UNIX_EPOCH);
    let mut content = Vec::new();
    file.read_to_end(&mut content).map_err(at(path))?;
    // A file from before 1970 is as old as can be shown.
    let date = Wall::from_unix_ms(0).after(modified.unwrap_or_default());
    Ok((content, date))
}

/// Mode and content of the same file, even if another is put in its place meanwhile.
fn read_secret(path: &Path) -> Result<String, TokenKeysError> {
    let mut file = File::open(path).map_err(at(path))?;
    let mode = file.metadata().map_err(at(path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(TokenKeysError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(at(path))?;
    Ok(text)
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> TokenKeysError {
    let path = path.to_owned();
    move |source| TokenKeysError::Read { path, source }
}
