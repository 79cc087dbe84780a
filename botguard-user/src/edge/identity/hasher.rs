//! What is kept of secrets: public ids, which show a part, and keyed hashes, which show nothing. Not
//! here: where secrets are found (`source`).

use std::borrow::Cow;
use std::fmt;
use std::hash::Hasher as _;
use std::sync::Arc;

use aws_lc_rs::hmac;
use http::{HeaderMap, header};
use siphasher::sip::SipHasher24;

use crate::edge::ja4::Ja4;
use crate::words::identity::{KeyHash, KeyIdentity, SessionHash, UserHash};

/// An API key as it was sent. Does not print.
pub struct RawKey<'a>(pub(super) Cow<'a, str>);

impl RawKey<'_> {
    /// The secret itself: to be hashed or matched, never kept.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RawKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawKey")
    }
}

/// Turns secrets into what may be kept of them. Each kind has a key of its own, so that a session
/// and an API key of the same text have nothing in common.
pub struct KeyHasher {
    api_keys: hmac::Key,
    sessions: hmac::Key,
    users: hmac::Key,
    tokens: hmac::Key,
    /// Keyed; copied for each.
    fingerprints: SipHasher24,
}

impl fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHasher")
    }
}

impl KeyHasher {
    /// Hashes under the daemon's hash key.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        // By another function than the hashes themselves, none of which is then a part of a key.
        let root = hmac::Key::new(hmac::HMAC_SHA512, secret);
        let key_for = |kind: &str| {
            let key = hmac::sign(&root, kind.as_bytes());
            hmac::Key::new(hmac::HMAC_SHA256, key.as_ref())
        };
        let sip_key = first_16_bytes(&hmac::sign(&root, b"fingerprint"));
        Self {
            api_keys: hmac::Key::new(hmac::HMAC_SHA256, secret),
            sessions: key_for("session"),
            users: key_for("user"),
            tokens: key_for("token"),
            fingerprints: SipHasher24::new_with_key(&sip_key),
        }
    }

    /// Hash of an API key, or of any secret in a record.
    #[must_use]
    pub fn hash(&self, secret: &str) -> KeyHash {
        KeyHash(first_128_bits(&self.api_keys, secret))
    }

    /// What is kept of a session's secret.
    #[must_use]
    pub fn session(&self, secret: &str) -> SessionHash {
        SessionHash(first_128_bits(&self.sessions, secret))
    }

    /// What is kept of a user's name or number: the same, whoever names it.
    #[must_use]
    pub fn user(&self, name: &str) -> UserHash {
        UserHash(first_128_bits(&self.users, name))
    }

    /// By what a token is known again.
    pub(super) fn token(&self, token: &str) -> u128 {
        first_128_bits(&self.tokens, token)
    }

    /// What is kept of a key. `tier` names the tier whose pattern the raw key matches.
    pub fn identify(
        &self,
        key: &RawKey<'_>,
        tier: impl Fn(&str) -> Option<Arc<str>>,
    ) -> KeyIdentity {
        KeyIdentity {
            public_id: Arc::from(public_key_id(key.expose())),
            shown: Arc::from(shown_key(key.expose())),
            hash: self.hash(key.expose()),
            tier: tier(key.expose()),
        }
    }

    /// What a client looks like for as long as it is the same: its `User-Agent`, and what lasts of
    /// its JA4, so that a resumed connection looks no different. Absent and empty are different.
    ///
    /// SipHash-2-4, which is made for short keyed hashes of 64 bits (Aumasson and Bernstein 2012):
    /// unlike the others this is needed for each request, and hides nothing that its record does
    /// not show.
    #[must_use]
    pub fn fingerprint(&self, headers: &HeaderMap, ja4: Option<&Ja4>) -> u64 {
        let mut hasher = self.fingerprints;
        if let Some(agent) = headers.get(header::USER_AGENT) {
            hasher.write(b"user-agent\0");
            hasher.write(agent.as_bytes());
        }
        if let Some(ja4) = ja4 {
            // No field has a zero byte, and neither part has one.
            for part in ja4.lasting() {
                hasher.write(b"\0");
                hasher.write(part.as_bytes());
            }
        }
        hasher.finish()
    }
}

/// A key's public id: up to the first 12 characters after the last `_`, never more than a third
/// of the key.
#[must_use]
pub fn public_key_id(key: &str) -> String {
    let tail = key.rsplit('_').next().unwrap_or(key);
    let most = (key.chars().count() / 3).min(12);
    tail.chars().take(most).collect()
}

/// A key as people are shown it: what stands before its public id, the id, and `…`; as in
/// `sk_pub_xyz123kd92mv…`.
///
/// A `_` may belong to the secret, so the part before the id is left out where both together would
/// be more than half of the key.
#[must_use]
pub fn shown_key(key: &str) -> String {
    let id = public_key_id(key);
    let prefix = key.rfind('_').map_or("", |last| &key[..=last]);
    if 2 * (prefix.chars().count() + id.chars().count()) <= key.chars().count() {
        format!("{prefix}{id}…")
    } else {
        format!("{id}…")
    }
}

/// First 128 bits of HMAC-SHA-256.
fn first_128_bits(key: &hmac::Key, text: &str) -> u128 {
    u128::from_be_bytes(first_16_bytes(&hmac::sign(key, text.as_bytes())))
}

fn first_16_bytes(tag: &hmac::Tag) -> [u8; 16] {
    let mut first = [0; 16];
    // A tag of SHA-256 has 32 bytes, one of SHA-512 has 64.
    first.copy_from_slice(&tag.as_ref()[..16]);
    first
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_more_than_half_of_a_key_is_shown(key in "[a-c_é]{1,60}") {
            let shown = shown_key(&key);
            let shown = shown.strip_suffix('…').unwrap();
            prop_assert!(key.contains(shown));
            prop_assert!(2 * shown.chars().count() <= key.chars().count());
        }
    }

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn public_ids_show_at_most_a_third() {
        let check = |key: &str, expected: &str| assert_eq!(public_key_id(key), expected, "{key}");
        check("sk_pub_xyz123", "xyz1");
        check("sk_live_0123456789abcdef0123456789abcdef", "0123456789ab");
        check("0123456789", "012");
        check("ab", "");
        check("trailing_", "");
        check("ключ_ключключ", "ключ");
    }

    #[test]
    fn keys_are_shown_by_prefix_and_id_up_to_a_half() {
        let check = |key: &str, expected: &str| assert_eq!(shown_key(key), expected, "{key}");
        check(
            "sk_pub_xyz123kd92mvbq07trw4ynlcze518jqa3",
            "sk_pub_xyz123kd92mv…",
        );
        check(
            "sk_live_0123456789abcdef0123456789abcdef",
            "sk_live_0123456789ab…",
        );
        // Half of 39 is not enough for 8 + 12.
        check("sk_live_0123456789abcdef0123456789abcde", "0123456789ab…");
        check("sk_pub_xyz123", "xyz1…");
        check("0123456789", "012…");
        check("secretsecretsecretsecret_ab", "ab…");
        check("trailing_secret_", "…");
        check("_", "…");
        check("ab", "…");
        check("ключ_ключключключ", "ключк…");
    }

    #[test]
    fn a_client_is_known_again_when_it_resumes_and_by_its_tls() {
        let hasher = KeyHasher::new(&[1; 32]);
        let curl = map(&[("user-agent", "curl/8")]);
        let look = |client: &str, place| {
            let prints = crate::edge::prints::Prints::captured(client, place, &curl);
            hasher.fingerprint(&curl, prints.ja4())
        };
        assert_eq!(look("h2load", 0), look("h2load", 1));
        assert_eq!(look("wrk", 0), look("wrk", 1));
        let all = [
            hasher.fingerprint(&curl, None),
            look("h2load", 0),
            look("wrk", 0),
            look("chromium", 0),
        ];
        for (n, one) in all.iter().enumerate() {
            assert!(!all[..n].contains(one), "{n}");
        }
    }

    #[test]
    fn hashes_are_keyed_and_repeatable() {
        let one = KeyHasher::new(&[1; 32]);
        let other = KeyHasher::new(&[2; 32]);
        assert_eq!(one.hash("k"), KeyHasher::new(&[1; 32]).hash("k"));
        assert_ne!(one.hash("k"), one.hash("l"));
        assert_ne!(one.hash("k"), other.hash("k"));
        // A session, a user and a key of one text are strangers.
        let all = [
            one.hash("k").0,
            one.session("k").0,
            one.user("k").0,
            one.token("k"),
        ];
        for (n, hash) in all.iter().enumerate() {
            assert!(!all[..n].contains(hash), "{n}");
        }
        assert_ne!(one.session("k"), other.session("k"));
        assert_ne!(one.user("k"), other.user("k"));
        let curl = map(&[("user-agent", "curl/8")]);
        assert_eq!(one.fingerprint(&curl, None), one.fingerprint(&curl, None));
        assert_ne!(one.fingerprint(&curl, None), other.fingerprint(&curl, None));
        assert_ne!(
            one.fingerprint(&map(&[]), None),
            one.fingerprint(&map(&[("user-agent", "")]), None)
        );
    }
}
