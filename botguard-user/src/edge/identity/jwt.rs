//! `[identity.jwt]`: whether a JSON Web Token (RFC 7519) is what it says. Signatures are checked by
//! aws-lc-rs; the rest follows RFC 8725 (JWT best current practices).
//!
//! A public key and a secret are different types, each bound to its one algorithm, so that no token
//! can have a public key used as a secret (RFC 8725 section 3.1). A token that is not good says
//! nothing: it is counted by its [`TokenProblem`], and the request goes on without a user.

mod claims;
mod compact;
mod jwks;
mod keys;
mod object;
mod secret;
mod settings;
#[cfg(test)]
pub(crate) mod signer;

use std::sync::Arc;

use parking_lot::Mutex;

use self::claims::Claims;
use self::compact::Compact;
use self::keys::Keys;
pub use self::keys::{KeyProblem, TokenKeysError};
pub use self::settings::{Algorithm, JwtSettings};
use super::{IdentitySettings, KeyHasher};
use crate::words::bounded_map::BoundedMap;
use crate::words::clock::Wall;
use crate::words::data_file::{DataFile, file_name};
use crate::words::identity::{Authentication, UserHash, UserIdentity, UserProof};

/// Why a token says nothing. A metric label: few, and none from a client.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TokenProblem {
    /// Longer than [`MAX_TOKEN_BYTES`]; not looked at.
    TooLong,
    /// Not three parts of base64url, or not JSON objects with each name once, or a claim of another
    /// type than it has.
    Malformed,
    /// Its header asks for what is not understood (`crit`, RFC 7515 section 4.1.11).
    Critical,
    /// Its algorithm is none, or not among the allowed ones.
    Algorithm,
    /// No key of that algorithm has its `kid`.
    UnknownKey,
    /// The signature is another's.
    Signature,
    /// It has ended, or has no end and needs one.
    Expired,
    /// It is not valid yet, or was made in the future.
    NotYetValid,
    /// Another issuer's.
    Issuer,
    /// Made for another audience.
    Audience,
}

impl TokenProblem {
    /// Stable name, a metric label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Critical => "critical",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
        }
    }
}

/// What is longer is not looked at.
pub const MAX_TOKEN_BYTES: usize = 8 * 1_024;

/// Good tokens that are remembered: about 100 bytes each.
const MAX_REMEMBERED: usize = 16 * 1_024;

/// Settings, keys, and the good tokens of late.
#[derive(Debug)]
pub struct TokenVerifier {
    settings: JwtSettings,
    /// Those that name users.
    claims: Vec<String>,
    keys: Keys,
    /// By the token's keyed hash. Only good ones: garbage takes nobody's place.
    good: Mutex<BoundedMap<u128, Arc<GoodToken>>>,
}

/// What a good token says.
#[derive(Debug, Eq, PartialEq)]
pub struct GoodToken {
    proof: UserProof,
    /// By claim.
    users: Vec<(String, UserHash)>,
    times: claims::Times,
    authenticated: Option<Wall>,
    acr: Option<Arc<str>>,
}

impl TokenVerifier {
    /// Reads the key files that the settings name.
    ///
    /// Errors: [`TokenKeysError`], the file's or the configuration's fault; names file and key.
    pub fn load(identity: &IdentitySettings) -> Result<Self, TokenKeysError> {
        Ok(Self {
            settings: identity.jwt.clone(),
            claims: identity.claims().map(ToOwned::to_owned).collect(),
            keys: Keys::load(&identity.jwt)?,
            good: Mutex::new(BoundedMap::new(MAX_REMEMBERED)),
        })
    }

    /// Number of keys, secrets among them.
    #[must_use]
    pub const fn n_keys(&self) -> usize {
        self.keys.len()
    }

    /// The key set, with its age. The secret file is not shown.
    #[must_use]
    pub fn files(&self) -> Vec<DataFile> {
        let set = self.settings.keys.iter().map(|path| DataFile {
            kind: "jwks".to_owned(),
            name: file_name(path),
            n_entries: self.keys.public.len(),
            date: self.keys.date,
        });
        set.collect()
    }

    /// What a token says at `now`. A good one is checked once and then known again.
    ///
    /// Errors: why it says nothing.
    pub fn verify(
        &self,
        token: &str,
        hasher: &KeyHasher,
        now: Wall,
    ) -> Result<Arc<GoodToken>, TokenProblem> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenProblem::TooLong);
        }
        let hash = hasher.token(token);
        let known = self.good.lock().find(&hash).map(Arc::clone);
        let good = match known {
            Some(good) => good,
            None => {
                let good = Arc::new(self.check(token, hasher)?);
                // One that has ended is not remembered.
                good.times.check(&self.settings, now)?;
                self.good.lock().insert(hash, Arc::clone(&good));
                return Ok(good);
            }
        };
        good.times.check(&self.settings, now)?;
        Ok(good)
    }

    /// [`Self::verify`] for the way of a request: what is wrong with a token goes into a metric.
    pub(super) fn verify_counted(
        &self,
        token: &str,
        hasher: &KeyHasher,
        now: Wall,
    ) -> Option<Arc<GoodToken>> {
        let verified = self.verify(token, hasher, now);
        if let Err(problem) = &verified {
            let reason = problem.name();
            metrics::counter!("botguard_tokens_refused_total", "reason" => reason).increment(1);
        }
        verified.ok()
    }

    /// Everything but the times. Without keys a token is only read: it claims, and proves nothing.
    fn check(&self, token: &str, hasher: &KeyHasher) -> Result<GoodToken, TokenProblem> {
        let compact = Compact::parse(token)?;
        let algorithm = compact.algorithm(&self.settings)?;
        let proof = if self.keys.is_empty() {
            UserProof::Claimed
        } else {
            self.keys.verify(algorithm, &compact)?;
            UserProof::Verified
        };
        let claims = Claims::read(&compact.payload)?;
        claims.check_parties(&self.settings)?;
        Ok(GoodToken {
            proof,
            users: (self.claims.iter())
                .filter_map(|claim| Some((claim.clone(), hasher.user(&claims.user(claim)?))))
                .collect(),
            times: claims.times()?,
            authenticated: claims.time("auth_time")?,
            acr: claims.text("acr")?.map(Arc::from),
        })
    }
}

impl GoodToken {
    /// The user that a claim names.
    #[must_use]
    pub fn user(&self, claim: &str) -> Option<UserIdentity> {
        let (_, hash) = self.users.iter().find(|(name, _)| name == claim)?;
        Some(UserIdentity {
            hash: *hash,
            proof: self.proof,
        })
    }

    /// How long ago its user proved who they are, where a verified token says so. A time in the
    /// future is now: the issuer's clock is ahead.
    #[must_use]
    pub fn authentication(&self, now: Wall) -> Option<Authentication> {
        let authenticated = self.authenticated?;
        (self.proof == UserProof::Verified).then(|| Authentication {
            age: authenticated.until(now),
            acr: self.acr.clone(),
        })
    }
}

#[cfg(test)]
mod tests;
