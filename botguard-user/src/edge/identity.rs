//! `[identity]`: where a request carries its API key, its session and its user's name, and what is
//! kept of them: a public id and keyed hashes. Secrets go no further than this module, `redact`,
//! and the tiers' patterns.
//!
//! Nothing here refuses a request: a token that is not good names nobody, and the application
//! decides what that means.

mod encoded;
mod hasher;
pub mod jwt;
mod source;
mod token_text;

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, header};
use serde::{Deserialize, Serialize};

pub(super) use self::encoded::decode;
pub use self::hasher::{KeyHasher, RawKey, public_key_id, shown_key};
use self::jwt::{JwtSettings, TokenVerifier};
pub use self::source::{KeySource, KeySourceError, UserSource, UserSourceError};
pub use self::token_text::{find_token, is_token};
use crate::words::clock::Wall;
use crate::words::identity::{Authentication, SessionIdentity, UserIdentity, UserProof};

/// `[identity]`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdentitySettings {
    /// Where an API key is looked for, in this order: `header:NAME`, `bearer`, `query:NAME`,
    /// `cookie:NAME`. The first hit wins.
    pub api_key: Vec<KeySource>,
    /// Where a session is looked for, in the same words. The first hit wins.
    pub session: Vec<KeySource>,
    /// Where a user is named: `jwt:CLAIM`, `header:NAME`. The first hit wins. What a header says is
    /// counted for a user only once the application has accepted it.
    pub user: Vec<UserSource>,
    /// `[identity.jwt]`: how the tokens of `jwt:CLAIM` are checked.
    pub jwt: JwtSettings,
}

/// What a request identifies itself by, in the clear: for hashes, tiers, and whoever has to keep it
/// out of records. Found once a request.
#[derive(Default)]
pub struct Secrets<'a> {
    /// Its API key.
    pub key: Option<RawKey<'a>>,
    /// Its session.
    pub session: Option<Cow<'a, str>>,
}

/// Who a request says it is, beside its API key.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Visitor {
    /// Its session.
    pub session: Option<SessionIdentity>,
    /// Its user.
    pub user: Option<UserIdentity>,
    /// When that user last proved who they are, by the verified token that names them.
    pub authentication: Option<Authentication>,
}

impl std::fmt::Debug for Secrets<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

impl IdentitySettings {
    /// What the settings ask for that will not be as it looks, in words.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        match (self.has_token_users(), self.jwt.has_keys()) {
            (true, false) => vec![
                "[identity] user: nobody vouches for the users of jwt: sources without keys; set \
                 [identity.jwt] keys or secret_file"
                    .to_owned(),
            ],
            (false, true) => vec![
                "[identity] jwt: has keys that nothing is checked with; add jwt:sub to user"
                    .to_owned(),
            ],
            _ => Vec::new(),
        }
    }

    /// The key of a request, decoded, from the first source that has one that is not empty. A token
    /// where tokens are looked for is none.
    #[must_use]
    pub fn api_key<'a>(&self, headers: &'a HeaderMap, query: &'a str) -> Option<RawKey<'a>> {
        self.api_key
            .iter()
            .find_map(|source| {
                let key = source.find(headers, query)?;
                let is_for_users = self.has_token_users() && self.jwt.source.contains(source);
                (!is_for_users || !is_token(&key)).then_some(key)
            })
            .map(RawKey)
    }

    /// The session's secret, likewise.
    #[must_use]
    pub fn session<'a>(&self, headers: &'a HeaderMap, query: &'a str) -> Option<Cow<'a, str>> {
        (self.session.iter()).find_map(|source| source.find(headers, query))
    }

    /// Both of them.
    #[must_use]
    pub fn secrets<'a>(&self, headers: &'a HeaderMap, query: &'a str) -> Secrets<'a> {
        Secrets {
            key: self.api_key(headers, query),
            session: self.session(headers, query),
        }
    }

    /// The first place of a key, session or token where a request has more than one: botguard goes
    /// by the first, an application maybe by the last.
    #[must_use]
    pub fn doubled(&self, headers: &HeaderMap, query: &str) -> Option<&KeySource> {
        [&self.api_key, &self.session, &self.jwt.source]
            .into_iter()
            .flatten()
            .find(|source| source.is_doubled(headers, query))
    }

    /// Session and user of a request that has this session's secret. `now` judges the token.
    #[must_use]
    pub fn visitor(
        &self,
        (headers, query): (&HeaderMap, &str),
        session: Option<&str>,
        (hasher, verifier): (&KeyHasher, &TokenVerifier),
        now: Wall,
    ) -> Visitor {
        let session = session.map(|secret| SessionIdentity {
            hash: hasher.session(secret),
        });
        let token = self
            .token(headers, query)
            .and_then(|token| verifier.verify_counted(&token, hasher, now));
        for source in &self.user {
            let claimed = source.claimed(headers);
            if let Some(name) = claimed {
                let user = Some(UserIdentity {
                    hash: hasher.user(name),
                    proof: UserProof::Claimed,
                });
                return Visitor {
                    session,
                    user,
                    authentication: None,
                };
            }
            if let (UserSource::Jwt(claim), Some(token)) = (source, &token)
                && let Some(user) = token.user(claim)
            {
                return Visitor {
                    session,
                    user: Some(user),
                    authentication: token.authentication(now),
                };
            }
        }
        Visitor {
            session,
            ..Visitor::default()
        }
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

    /// The claims that name users.
    pub(super) fn claims(&self) -> impl Iterator<Item = &str> {
        self.user.iter().filter_map(|source| match source {
            UserSource::Jwt(claim) => Some(claim.as_str()),
            UserSource::Header(_) => None,
        })
    }

    fn has_token_users(&self) -> bool {
        self.claims().next().is_some()
    }

    /// The first token where tokens are looked for, if anybody asks for one.
    fn token<'a>(&self, headers: &'a HeaderMap, query: &'a str) -> Option<Cow<'a, str>> {
        let mut sources = self.jwt.source.iter();
        let token = sources.find_map(|source| {
            let text = source.find(headers, query)?;
            is_token(&text).then_some(text)
        });
        token.filter(|_| self.has_token_users())
    }
}

#[cfg(test)]
mod tests;
