//! `[identity]`: where a request carries its API key, and what is kept of it: a public id and a
//! keyed hash. The key itself goes no further than this module and the tiers' patterns.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use http::{HeaderMap, HeaderName, header};
use serde::{Deserialize, Serialize};

use crate::words::identity::{KeyHash, KeyIdentity};

/// `[identity]`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdentitySettings {
    /// Where an API key is looked for, in this order: `header:NAME`, `bearer`, `query:NAME`,
    /// `cookie:NAME`. The first hit wins.
    pub api_key: Vec<KeySource>,
    /// Where a session is looked for. Not acted on yet.
    pub session: Vec<String>,
    /// Where a user is looked for. Not acted on yet.
    pub user: Vec<String>,
}

impl IdentitySettings {
    /// The keys that are set but not acted on by this version, in words.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        [("session", &self.session), ("user", &self.user)]
            .into_iter()
            .filter(|(_, sources)| !sources.is_empty())
            .map(|(key, _)| format!("[identity] {key} is not acted on by this version"))
            .collect()
    }

    /// The key of a request, decoded, from the first source that has one that is not empty.
    #[must_use]
    pub fn api_key<'a>(&self, headers: &'a HeaderMap, query: &'a str) -> Option<RawKey<'a>> {
        self.api_key
            .iter()
            .find_map(|source| source.find(headers, query))
            .map(RawKey)
    }

    /// The header in which a script can send a key, with what stands before it there.
    #[must_use]
    pub fn first_header(&self) -> Option<(HeaderName, &'static str)> {
        self.api_key.iter().find_map(|source| match source {
            KeySource::Header(name) => Some((name.clone(), "")),
            KeySource::Bearer => Some((header::AUTHORIZATION, "Bearer ")),
            KeySource::Query(_) | KeySource::Cookie(_) => None,
        })
    }
}

/// One place where an API key may be.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum KeySource {
    /// `header:NAME`.
    Header(HeaderName),
    /// `bearer`: the `Authorization` header with the scheme `Bearer` (RFC 6750 section 2.1).
    Bearer,
    /// `query:NAME`.
    Query(String),
    /// `cookie:NAME`.
    Cookie(String),
}

/// Text that names no key source. The configuration's fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not a place for a key; write header:NAME, bearer, query:NAME or cookie:NAME")]
pub struct KeySourceError(String);

impl KeySource {
    fn find<'a>(&self, headers: &'a HeaderMap, query: &'a str) -> Option<Cow<'a, str>> {
        let found = match self {
            Self::Header(name) => text(headers, name).map(Cow::Borrowed),
            Self::Bearer => text(headers, &header::AUTHORIZATION).and_then(|value| {
                let (scheme, key) = value.split_once(' ')?;
                scheme
                    .eq_ignore_ascii_case("bearer")
                    .then(|| Cow::Borrowed(key.trim()))
            }),
            Self::Query(name) => parameters(query)
                .find(|(parameter, _)| decode(parameter) == *name)
                .map(|(_, value)| decode(value)),
            Self::Cookie(name) => headers
                .get_all(header::COOKIE)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(';'))
                .filter_map(|pair| pair.split_once('='))
                .find(|(cookie, _)| cookie.trim() == name)
                .map(|(_, value)| Cow::Borrowed(value.trim())),
        };
        found.filter(|key| !key.is_empty())
    }
}

impl TryFrom<String> for KeySource {
    type Error = KeySourceError;

    fn try_from(text: String) -> Result<Self, KeySourceError> {
        let source = match text.split_once(':') {
            None if text == "bearer" => Some(Self::Bearer),
            Some(("header", name)) => HeaderName::from_bytes(name.as_bytes())
                .ok()
                .map(Self::Header),
            Some(("query", name)) if !name.is_empty() => Some(Self::Query(name.to_owned())),
            Some(("cookie", name)) if !name.is_empty() => Some(Self::Cookie(name.to_owned())),
            _ => None,
        };
        source.ok_or(KeySourceError(text))
    }
}

impl From<KeySource> for String {
    fn from(source: KeySource) -> Self {
        match source {
            KeySource::Header(name) => format!("header:{name}"),
            KeySource::Bearer => "bearer".to_owned(),
            KeySource::Query(name) => format!("query:{name}"),
            KeySource::Cookie(name) => format!("cookie:{name}"),
        }
    }
}

/// An API key as it was sent. Does not print.
pub struct RawKey<'a>(Cow<'a, str>);

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

/// Turns secrets into what may be kept of them.
pub struct KeyHasher(hmac::Key);

impl fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHasher")
    }
}

impl KeyHasher {
    /// Hashes under the daemon's hash key.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// First 128 bits of HMAC-SHA-256.
    #[must_use]
    pub fn hash(&self, secret: &str) -> KeyHash {
        let tag = hmac::sign(&self.0, secret.as_bytes());
        let mut first = [0; 16];
        // A tag of SHA-256 has 32 bytes.
        first.copy_from_slice(&tag.as_ref()[..16]);
        KeyHash(u128::from_be_bytes(first))
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

    /// What a client looks like: for now, its `User-Agent`. Absent and empty are different.
    #[must_use]
    pub fn fingerprint(&self, headers: &HeaderMap) -> u64 {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(b"fingerprint\0");
        if let Some(agent) = headers.get(header::USER_AGENT) {
            context.update(b"user-agent\0");
            context.update(agent.as_bytes());
        }
        let tag = context.sign();
        let mut first = [0; 8];
        first.copy_from_slice(&tag.as_ref()[..8]);
        u64::from_be_bytes(first)
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

/// Parameters of a query string as sent: name and value, still encoded.
pub(super) fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split('&')
        .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
}

/// Decodes `+` and percent escapes (application/x-www-form-urlencoded). Broken escapes stay.
pub(super) fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escape {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
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
    fn the_first_source_with_a_key_wins() {
        let settings: IdentitySettings = toml::from_str(
            "api_key = ['header:X-Api-Key', 'bearer', 'query:api_key', 'cookie:key']",
        )
        .unwrap();
        let check = |fields: &[(&str, &str)], query: &str, expected: Option<&str>| {
            let headers = map(fields);
            let key = settings.api_key(&headers, query);
            assert_eq!(
                key.as_ref().map(RawKey::expose),
                expected,
                "{fields:?} {query}"
            );
        };
        check(
            &[("x-api-key", "k1"), ("authorization", "Bearer k2")],
            "api_key=k3",
            Some("k1"),
        );
        check(&[("authorization", "Bearer k2")], "api_key=k3", Some("k2"));
        check(&[("authorization", "bearer  k2 ")], "", Some("k2"));
        check(
            &[("authorization", "Basic k2")],
            "a=b&api_key=k%333",
            Some("k33"),
        );
        check(&[("cookie", "a=b; key=k4")], "", Some("k4"));
        check(&[("cookie", "a=b"), ("cookie", "key=k4")], "", Some("k4"));
        check(&[("x-api-key", "")], "api%5Fkey=k3", Some("k3"));
        check(&[("cookie", "monkey=k4")], "xapi_key=k3", None);
        check(&[], "", None);
    }

    #[test]
    fn sources_survive_a_round_trip_and_others_are_refused() {
        let check = |text: &str, expected: bool| {
            let source = KeySource::try_from(text.to_owned());
            assert_eq!(source.is_ok(), expected, "{text}");
            if let Ok(source) = source {
                assert_eq!(String::from(source), text);
            }
        };
        check("header:x-api-key", true);
        check("bearer", true);
        check("query:key", true);
        check("cookie:key", true);
        check("header:", false);
        check("header:a b", false);
        check("query:", false);
        check("jwt:sub", false);
        check("x-api-key", false);
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
    fn hashes_are_keyed_and_repeatable() {
        let one = KeyHasher::new(&[1; 32]);
        let other = KeyHasher::new(&[2; 32]);
        assert_eq!(one.hash("k"), KeyHasher::new(&[1; 32]).hash("k"));
        assert_ne!(one.hash("k"), one.hash("l"));
        assert_ne!(one.hash("k"), other.hash("k"));
        let curl = map(&[("user-agent", "curl/8")]);
        assert_eq!(one.fingerprint(&curl), one.fingerprint(&curl));
        assert_ne!(one.fingerprint(&curl), other.fingerprint(&curl));
        assert_ne!(
            one.fingerprint(&map(&[])),
            one.fingerprint(&map(&[("user-agent", "")]))
        );
    }

    #[test]
    fn what_is_not_acted_on_is_named() {
        let settings: IdentitySettings =
            toml::from_str("api_key = ['bearer']\nsession = ['cookie:session']").unwrap();
        assert_eq!(
            settings.warnings(),
            ["[identity] session is not acted on by this version"]
        );
    }
}
