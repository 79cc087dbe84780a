//! Places of a request where a key, a session, a token or a user's name may be, as the configuration
//! writes them.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, header};
use serde::{Deserialize, Serialize};

use super::encoded::{decode, parameters};

/// One place where a key, session or token may be.
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

/// Text that names no such place. The configuration's fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not a place for a secret; write header:NAME, bearer, query:NAME or cookie:NAME")]
pub struct KeySourceError(String);

impl KeySource {
    /// What stands there, decoded; nothing where it is empty.
    pub(in crate::edge) fn find<'a>(
        &self,
        headers: &'a HeaderMap,
        query: &'a str,
    ) -> Option<Cow<'a, str>> {
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

impl KeySource {
    /// Whether it stands there more than once, so that two readers may take two of them. Of cookies
    /// there may be several: browsers send those of all paths.
    pub(super) fn is_doubled(&self, headers: &HeaderMap, query: &str) -> bool {
        match self {
            Self::Header(name) => headers.get_all(name).iter().nth(1).is_some(),
            Self::Bearer => (headers.get_all(header::AUTHORIZATION).iter())
                .nth(1)
                .is_some(),
            Self::Query(name) => parameters(query)
                .filter(|(parameter, _)| decode(parameter) == *name)
                .nth(1)
                .is_some(),
            Self::Cookie(_) => false,
        }
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

/// Where a request names its user.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum UserSource {
    /// `jwt:CLAIM`: a claim of the token that `[identity.jwt]` tells how to check.
    Jwt(String),
    /// `header:NAME`: claimed, since anybody can send it.
    Header(HeaderName),
}

/// Text that names no such place. The configuration's fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not a place for a user; write jwt:CLAIM as in jwt:sub, or header:NAME")]
pub struct UserSourceError(String);

impl UserSource {
    /// The user that a header claims.
    pub(super) fn claimed<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        match self {
            Self::Header(name) => text(headers, name).filter(|user| !user.is_empty()),
            Self::Jwt(_) => None,
        }
    }
}

impl TryFrom<String> for UserSource {
    type Error = UserSourceError;

    fn try_from(text: String) -> Result<Self, UserSourceError> {
        let source = match text.split_once(':') {
            Some(("jwt", claim)) if !claim.is_empty() => Some(Self::Jwt(claim.to_owned())),
            Some(("header", name)) => HeaderName::from_bytes(name.as_bytes())
                .ok()
                .map(Self::Header),
            _ => None,
        };
        source.ok_or(UserSourceError(text))
    }
}

impl From<UserSource> for String {
    fn from(source: UserSource) -> Self {
        match source {
            UserSource::Jwt(claim) => format!("jwt:{claim}"),
            UserSource::Header(name) => format!("header:{name}"),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn users_are_named_by_claims_and_headers() {
        let check = |text: &str, expected: bool| {
            let source = UserSource::try_from(text.to_owned());
            assert_eq!(source.is_ok(), expected, "{text}");
            match source {
                Ok(source) => assert_eq!(String::from(source), text),
                Err(error) => assert!(error.to_string().contains("write jwt:CLAIM"), "{error}"),
            }
        };
        check("jwt:sub", true);
        check("jwt:https://a.test/user", true);
        check("header:x-user", true);
        check("jwt:", false);
        check("header:a b", false);
        check("cookie:user", false);
        check("sub", false);
    }
}
