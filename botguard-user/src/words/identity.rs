//! Who a request says it is. Secrets never get this far: a key is a public id and a keyed hash.

use std::sync::Arc;

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
