//! One-use tokens: minted here, bound to who asked, spent once. Pure: time and randomness are
//! arguments.
//!
//! A token is base64url of `expires (8) ‖ nonce (16) ‖ HMAC-SHA-256 (32)`. What it is bound to is
//! under the MAC and not in the token, so that a token for another is as invalid as a forged one.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ipnet::IpNet;

use crate::words::clock::Monotonic;
use crate::words::identity::KeyHash;
use crate::words::spent::{Spent, SpentError};

/// Mints and spends tokens.
pub struct Tokens {
    key: hmac::Key,
    spent: Spent,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

/// Whom a token is for. All of it must be the same when it is spent.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Binding {
    /// The API key, if there is one.
    pub key: Option<KeyHash>,
    /// What the client looks like.
    pub fingerprint: u64,
    /// /24 or /64: people roam within, not beyond it.
    pub network: IpNet,
}

/// A token that does not count. Blame: the client, except [`Self::Full`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenError {
    /// Not a token's form.
    #[error("the token is malformed")]
    Malformed,
    /// Not minted here, or for another key, client or network.
    #[error("the token was not minted for this client")]
    Foreign,
    /// Older than [`LIFETIME`].
    #[error("the token has expired")]
    Expired,
    /// Spent before.
    #[error("the token was spent before")]
    Spent,
    /// More tokens are spent than can be remembered. Blame: internal.
    #[error("too many tokens are spent at the moment")]
    Full,
}

impl TokenError {
    /// A metric label.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Foreign => "foreign",
            Self::Expired => "expired",
            Self::Spent => "replayed",
            Self::Full => "full",
        }
    }
}

impl From<SpentError> for TokenError {
    fn from(error: SpentError) -> Self {
        match error {
            SpentError::Before => Self::Spent,
            SpentError::Full => Self::Full,
        }
    }
}

/// How long a token can be spent.
pub const LIFETIME: Duration = Duration::from_secs(600);

impl Tokens {
    /// Mints under `secret`, of which no earlier process may know: what it spent is forgotten.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self::with_capacity(secret, SPENT_CAPACITY)
    }

    fn with_capacity(secret: &[u8; 32], spent: usize) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            spent: Spent::new(LIFETIME, spent),
        }
    }

    /// A new token. `nonce` must be random: two equal ones are one token.
    #[must_use]
    pub fn mint(&self, now: Monotonic, binding: &Binding, nonce: [u8; 16]) -> String {
        let expires = now.after(LIFETIME).as_nanoseconds();
        let mut token = Vec::with_capacity(TOKEN_BYTES);
        token.extend_from_slice(&expires.to_be_bytes());
        token.extend_from_slice(&nonce);
        let tag = hmac::sign(&self.key, &message(&token, binding));
        token.extend_from_slice(tag.as_ref());
        URL_SAFE_NO_PAD.encode(token)
    }

    /// Spends a token.
    ///
    /// Errors: [`TokenError`]; the token does not count. When the memory of spent tokens is full,
    /// none counts until the oldest have expired: a replayed event would excuse a robot, a refused
    /// one only fails to excuse a person.
    pub fn spend(
        &mut self,
        now: Monotonic,
        token: &str,
        binding: &Binding,
    ) -> Result<(), TokenError> {
        let token = URL_SAFE_NO_PAD
            .decode(token)
            .map_err(|_cause| TokenError::Malformed)?;
        let (signed, tag) = token
            .split_at_checked(SIGNED_BYTES)
            .filter(|_| token.len() == TOKEN_BYTES)
            .ok_or(TokenError::Malformed)?;
        hmac::verify(&self.key, &message(signed, binding), tag)
            .map_err(|_cause| TokenError::Foreign)?;
        let (expires, nonce) = signed
            .split_first_chunk::<8>()
            .and_then(|(expires, rest)| Some((expires, rest.first_chunk::<16>()?)))
            .ok_or(TokenError::Malformed)?;
        if now.as_nanoseconds() >= u64::from_be_bytes(*expires) {
            return Err(TokenError::Expired);
        }
        let nonce = u128::from_be_bytes(*nonce);
        self.spent.insert(now, nonce).map_err(Into::into)
    }
}

fn message(signed: &[u8], binding: &Binding) -> Vec<u8> {
    let mut message = Vec::with_capacity(96);
    message.extend_from_slice(b"botguard ui token 1\0");
    message.extend_from_slice(signed);
    message.extend_from_slice(&binding.fingerprint.to_be_bytes());
    message.push(binding.network.prefix_len());
    match binding.network.network() {
        IpAddr::V4(ip) => message.extend_from_slice(&ip.to_ipv6_mapped().octets()),
        IpAddr::V6(ip) => message.extend_from_slice(&ip.octets()),
    }
    // Last, since it may be absent; everything before it has a fixed length.
    if let Some(KeyHash(hash)) = binding.key {
        message.extend_from_slice(&hash.to_be_bytes());
    }
    message
}

const SIGNED_BYTES: usize = 8 + 16;
const TOKEN_BYTES: usize = SIGNED_BYTES + 32;

/// About 400 events a second, sustained, in at most 2 × 9 MiB.
const SPENT_CAPACITY: usize = 1 << 18;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    fn at(s: u64) -> Monotonic {
        Monotonic::from_boot(Duration::from_secs(s))
    }

    fn binding() -> Binding {
        Binding {
            key: Some(KeyHash(1)),
            fingerprint: 2,
            network: "192.0.2.0/24".parse().unwrap(),
        }
    }

    #[test]
    fn a_token_is_spent_once_and_by_its_own_client() {
        let check = |changed: &dyn Fn(&mut Binding), now, expected: Result<(), TokenError>| {
            let mut tokens = Tokens::new(&SECRET);
            let token = tokens.mint(at(1_000), &binding(), [3; 16]);
            let mut other = binding();
            changed(&mut other);
            assert_eq!(tokens.spend(now, &token, &other), expected, "{other:?}");
            if expected.is_ok() {
                assert_eq!(tokens.spend(now, &token, &other), Err(TokenError::Spent));
            } else {
                // A refusal spends nothing.
                assert_eq!(tokens.spend(at(1_000), &token, &binding()), Ok(()));
            }
        };
        check(&|_| {}, at(1_000), Ok(()));
        check(&|_| {}, at(1_599), Ok(()));
        check(&|_| {}, at(1_600), Err(TokenError::Expired));
        let foreign = Err(TokenError::Foreign);
        check(&|other| other.key = None, at(1_000), foreign);
        check(&|other| other.key = Some(KeyHash(9)), at(1_000), foreign);
        check(&|other| other.fingerprint = 9, at(1_000), foreign);
        check(
            &|other| other.network = "192.0.3.0/24".parse().unwrap(),
            at(1_000),
            foreign,
        );
        check(
            &|other| other.network = "192.0.2.0/25".parse().unwrap(),
            at(1_000),
            foreign,
        );
        check(
            &|other| other.network = "2001:db8::/64".parse().unwrap(),
            at(1_000),
            foreign,
        );
    }

    #[test]
    fn a_spent_token_stays_spent_until_it_has_expired() {
        for minted in [1_001, 1_150, 1_599] {
            let mut tokens = Tokens::new(&SECRET);
            // The generation begins with this one, and ends in the middle of the next one's life.
            let first = tokens.mint(at(1_000), &binding(), [1; 16]);
            assert_eq!(tokens.spend(at(1_000), &first, &binding()), Ok(()));
            let token = tokens.mint(at(minted), &binding(), [3; 16]);
            assert_eq!(tokens.spend(at(minted), &token, &binding()), Ok(()));
            for s in minted..minted + 1_300 {
                // Others keep the generations turning.
                let nonce = u128::from(s).to_be_bytes();
                let other = tokens.mint(at(s), &binding(), nonce);
                assert_eq!(tokens.spend(at(s), &other, &binding()), Ok(()));
                assert!(tokens.spend(at(s), &token, &binding()).is_err(), "{s}");
            }
            assert!(tokens.spent.n_remembered() <= 1_300);
        }
    }

    #[test]
    fn a_full_memory_refuses_until_the_oldest_expire() {
        let mut tokens = Tokens::with_capacity(&SECRET, 2);
        let mut spend = |s, nonce| {
            let token = tokens.mint(at(s), &binding(), [nonce; 16]);
            tokens.spend(at(s), &token, &binding())
        };
        assert_eq!(spend(1_000, 1), Ok(()));
        assert_eq!(spend(1_000, 2), Ok(()));
        assert_eq!(spend(1_000, 3), Err(TokenError::Full));
        assert_eq!(spend(1_000, 1), Err(TokenError::Spent));
        assert_eq!(spend(1_600, 4), Ok(()));
    }

    #[test]
    fn another_process_s_tokens_are_foreign() {
        let token = Tokens::new(&[8; 32]).mint(at(1_000), &binding(), [3; 16]);
        let spent = Tokens::new(&SECRET).spend(at(1_000), &token, &binding());
        assert_eq!(spent, Err(TokenError::Foreign));
    }

    proptest! {
        /// No changed token is worth anything.
        #[test]
        fn tampering_is_noticed(byte in 0..TOKEN_BYTES, flip in 1_u8..) {
            let mut tokens = Tokens::new(&SECRET);
            let token = tokens.mint(at(1_000), &binding(), [3; 16]);
            let mut bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
            bytes[byte] ^= flip;
            let changed = URL_SAFE_NO_PAD.encode(&bytes);
            prop_assert_eq!(tokens.spend(at(1_000), &changed, &binding()), Err(TokenError::Foreign));
        }

        /// Whatever is sent as a token, the answer is an error.
        #[test]
        fn garbage_is_refused(garbage in "\\PC{0,100}") {
            prop_assert!(Tokens::new(&SECRET).spend(at(1_000), &garbage, &binding()).is_err());
        }
    }
}
