//! Who a request says it is. Secrets never get this far: a key is a public id and a keyed hash.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The kind of client that a tier or route expects. Declared by the operator, never guessed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientClass {
    /// A person with a browser: UI interaction is expected, a hosting network is not.
    Browser,
    /// A program: neither is evidence.
    Machine,
    /// A person with an app of the operator's.
    Mobile,
    /// Nothing is expected.
    #[default]
    Any,
}

/// An API key as botguard knows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyIdentity {
    /// What commands and other programs call it: see `public_key_id` in `edge::identity`.
    pub public_id: Arc<str>,
    /// What people are shown of it: see `shown_key` in `edge::identity`.
    pub shown: Arc<str>,
    /// Keyed hash of the whole key; equal keys have equal hashes within one hash-key generation.
    pub hash: KeyHash,
    /// Name of the first `[[tier]]` whose pattern matches, if any.
    pub tier: Option<Arc<str>>,
}

/// First 128 bits of HMAC-SHA-256 of an API key under the daemon's hash key. Prints as hex.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct KeyHash(pub u128);

impl std::fmt::Display for KeyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A session as botguard knows it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SessionIdentity {
    /// Keyed hash of the session's secret.
    pub hash: SessionHash,
}

/// First 128 bits of HMAC-SHA-256 of a session's secret under the daemon's hash key. Prints as hex.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct SessionHash(pub u128);

/// A user as botguard knows it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct UserIdentity {
    /// Keyed hash of the user's name or number.
    pub hash: UserHash,
    /// Who vouches for it.
    pub proof: UserProof,
}

/// First 128 bits of HMAC-SHA-256 of a user's name under the daemon's hash key. Prints as hex.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct UserHash(pub u128);

/// Who vouches for the user that a request names.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UserProof {
    /// The signature of the token that names it, checked against a configured key.
    Verified,
    /// Nobody: the request says so.
    Claimed,
}

/// How long ago the user proved who they are, by a verified token's `auth_time` (OpenID Connect
/// Core section 2; RFC 9470 section 5).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authentication {
    /// Time since then.
    pub age: Duration,
    /// Authentication context class reference, the `acr` claim, if the token has one.
    pub acr: Option<Arc<str>>,
}

/// What a request says of being a known crawler, by its User-Agent, and whether that is true.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Crawler {
    /// It does not say so.
    #[default]
    No,
    /// It says so, and nobody has looked it up yet.
    Unknown {
        /// Which one: `googlebot`.
        name: Arc<str>,
    },
    /// It is: its address is in the operator's published ranges, or its reverse name belongs to the
    /// operator and leads back to the address.
    Verified {
        /// Which one.
        name: Arc<str>,
    },
    /// It is not: its operator publishes ranges or names, and this address has none of them.
    False {
        /// Which one it claims to be.
        name: Arc<str>,
    },
}

impl std::fmt::Display for SessionHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl std::fmt::Display for UserHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
