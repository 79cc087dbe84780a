//! Headers and query strings as the audit record may hold them: secrets replaced by what
//! identifies them without giving them away. Pure.
//!
//! A secret is known by the name that it goes by; the API key and the session of the request also by
//! themselves, wherever they stand, and a JSON Web Token by its looks. Another secret that is a
//! segment of a path under no name cannot be told from any other.
//!
//! `Authorization` keeps its scheme, cookies keep their names, an API key becomes what people are
//! shown of it and its hash (`xyz1…#<hash>`), everything else secret becomes its hash (`#<hash>`):
//! sessions, tokens, and what a header says of a user.
//! Names are lower case, and in wire order except that lines of one name stand together (what the
//! `http` crate keeps).
//!
//! Every request comes through here, so what holds no secret, which is nearly everything, is told
//! by one look at its bytes (`marks`) and is not copied.

mod marks;
mod names;

use std::borrow::Cow;
use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, header};
use memchr::memmem::Finder;

use self::marks::Marks;
use self::names::{is_scheme, sounds_secret};
use super::identity::{
    self, IdentitySettings, KeyHasher, KeySource, Secrets, UserSource, find_token, is_token,
    shown_key,
};
use crate::words::header_lines::HeaderLines;
use crate::words::identity::KeyIdentity;

/// Replaces secrets by what may be kept of them.
#[derive(Debug)]
pub struct Redactor<'a> {
    settings: &'a IdentitySettings,
    hasher: &'a KeyHasher,
    key: Option<Sought<'a>>,
    /// What is kept of that key, if it is known already.
    identity: Option<&'a KeyIdentity>,
    session: Option<Sought<'a>>,
}

/// A secret that is looked for everywhere.
struct Sought<'a> {
    secret: &'a str,
    finder: Finder<'a>,
}

impl<'a> Redactor<'a> {
    /// Treats what the sources of `settings` name as secret, beside what is so everywhere, and the
    /// request's own `secrets` wherever they stand. `identity` is of the key among them.
    #[must_use]
    pub fn new(
        (settings, hasher): (&'a IdentitySettings, &'a KeyHasher),
        secrets: &'a Secrets<'_>,
        identity: Option<&'a KeyIdentity>,
    ) -> Self {
        Self {
            settings,
            hasher,
            identity,
            key: (secrets.key.as_ref()).and_then(|key| Sought::new(key.expose())),
            session: secrets.session.as_deref().and_then(Sought::new),
        }
    }

    /// Every header line.
    #[must_use]
    pub fn headers(&self, headers: &HeaderMap) -> HeaderLines {
        let mut lines = HeaderLines::with_capacity(headers.len(), LINE_BYTES * headers.len());
        for (name, value) in headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            lines.push(
                name.as_str(),
                &self.without_copies(self.header(name, &value)),
            );
        }
        lines
    }

    /// The query string, still encoded as it was sent.
    #[must_use]
    pub fn query<'b>(&self, query: &'b str) -> Cow<'b, str> {
        self.without_copies(self.parameters(query))
    }

    /// A decoded path.
    #[must_use]
    pub fn path<'b>(&self, path: &'b str) -> Cow<'b, str> {
        let path = match path.split_once(';') {
            Some((path, rest)) => Cow::Owned(format!("{path};{}", self.parameters(rest))),
            None => Cow::Borrowed(path),
        };
        self.without_copies(path)
    }

    fn header<'b>(&self, name: &HeaderName, value: &'b str) -> Cow<'b, str> {
        if *name == header::AUTHORIZATION || *name == header::PROXY_AUTHORIZATION {
            return Cow::Owned(self.credentials(value));
        }
        if *name == header::COOKIE {
            return Cow::Owned(self.cookies(value));
        }
        if self.is_key_header(name) && !is_token(value.trim()) {
            return Cow::Owned(self.key(value));
        }
        if sounds_secret(name.as_str()) || self.is_identity_header(name) {
            return Cow::Owned(self.hash(value));
        }
        if *name == header::HOST {
            return Cow::Borrowed(without_user(value));
        }
        self.url(value)
    }

    /// `Scheme #hash`; without a scheme that is registered, all of it may be the secret.
    fn credentials(&self, value: &str) -> String {
        match value.trim().split_once(' ') {
            Some((scheme, secret)) if is_scheme(scheme) => {
                let secret = secret.trim();
                let secret = if self.settings.api_key.contains(&KeySource::Bearer)
                    && scheme.eq_ignore_ascii_case("bearer")
                    && !is_token(secret)
                {
                    self.key(secret)
                } else {
                    self.hash(secret)
                };
                format!("{scheme} {secret}")
            }
            _ => self.hash(value),
        }
    }

    fn cookies(&self, value: &str) -> String {
        let mut redacted = String::with_capacity(value.len() + LINE_BYTES);
        for (place, pair) in value.split(';').enumerate() {
            if place > 0 {
                redacted.push_str("; ");
            }
            match pair.split_once('=') {
                Some((name, secret)) => {
                    redacted.push_str(name.trim());
                    redacted.push('=');
                    self.push_hash(&mut redacted, secret.trim());
                }
                None => self.push_hash(&mut redacted, pair.trim()),
            }
        }
        redacted
    }

    /// `;` separates parameters too, to older readers.
    fn parameters<'b>(&self, query: &'b str) -> Cow<'b, str> {
        let mut redacted = String::new();
        // Of the query, as far as it is in `redacted`.
        let mut copied = 0;
        let mut at = 0;
        for parameter in query.split_inclusive(['&', ';']) {
            let from = at;
            at += parameter.len();
            let bare = parameter.trim_end_matches(['&', ';']);
            let Some((name, value)) = bare.split_once('=') else {
                continue;
            };
            let decoded = identity::decode(value);
            // A URL in a parameter has parameters of its own.
            if self.is_secret_parameter(&identity::decode(name)) || self.url(&decoded) != decoded {
                redacted.push_str(&query[copied..=from + name.len()]);
                self.push_hash(&mut redacted, &decoded);
                copied = from + bare.len();
            }
        }
        if copied == 0 {
            return Cow::Borrowed(query);
        }
        Cow::Owned(redacted + &query[copied..])
    }

    /// Anything that may be a URL: its query and fragment carry parameters (the fragment of OAuth a
    /// token), its authority a password.
    fn url<'b>(&self, url: &'b str) -> Cow<'b, str> {
        if !Marks::of(url).may_be_url() {
            return Cow::Borrowed(url);
        }
        let (before, rest) = match url.find(['?', '#']) {
            Some(at) => url.split_at(at + 1),
            None => (url, ""),
        };
        let mut redacted = String::with_capacity(url.len());
        match before.split_once("://") {
            Some((scheme, after)) => {
                let end = after.find(['/', '?', '#']).unwrap_or(after.len());
                let (authority, path) = after.split_at(end);
                redacted.push_str(scheme);
                redacted.push_str("://");
                redacted.push_str(without_user(authority));
                redacted.push_str(path);
            }
            None => redacted.push_str(before),
        }
        for (place, part) in rest.split('#').enumerate() {
            if place > 0 {
                redacted.push('#');
            }
            redacted.push_str(&self.parameters(part));
        }
        Cow::Owned(redacted)
    }

    fn is_key_header(&self, name: &HeaderName) -> bool {
        is_header(&self.settings.api_key, name)
    }

    /// A header that carries a session, a token or a user's name.
    fn is_identity_header(&self, name: &HeaderName) -> bool {
        is_header(&self.settings.api_key, name)
            || is_header(&self.settings.session, name)
            || is_header(&self.settings.jwt.source, name)
            || (self.settings.user.iter())
                .any(|source| matches!(source, UserSource::Header(user) if user == name))
    }

    fn is_secret_parameter(&self, name: &str) -> bool {
        let is_it = |source: &KeySource| matches!(source, KeySource::Query(key) if key == name);
        let IdentitySettings {
            api_key,
            session,
            jwt,
            user: _,
        } = self.settings;
        let mut sources = api_key.iter().chain(session).chain(&jwt.source);
        sounds_secret(name) || sources.any(is_it)
    }

    /// A secret may have been pasted where nobody expects it.
    fn without_copies<'b>(&self, text: Cow<'b, str>) -> Cow<'b, str> {
        let mut text = self.without_tokens(text);
        if let Some(key) = &self.key {
            text = key.without(text, || self.key(key.secret));
        }
        if let Some(session) = &self.session {
            text = session.without(text, || self.hash(session.secret));
        }
        text
    }

    /// Tokens of any issuer: they hold names, and may be good elsewhere.
    fn without_tokens<'b>(&self, text: Cow<'b, str>) -> Cow<'b, str> {
        let marks = Marks::of(&text);
        if !marks.may_hold_token() {
            return text;
        }
        let replaced = self.tokens_replaced(&text);
        if marks.has_escape()
            && let decoded = identity::decode(replaced.as_deref().unwrap_or(&text))
            && let Some(decoded) = self.tokens_replaced(&decoded)
        {
            return Cow::Owned(decoded);
        }
        replaced.map_or(text, Cow::Owned)
    }

    /// `None` where there are none.
    fn tokens_replaced(&self, text: &str) -> Option<String> {
        let mut rest = text;
        let mut replaced = String::new();
        while let Some(found) = find_token(rest) {
            replaced.push_str(&rest[..found.start]);
            replaced.push_str(&self.hash(&rest[found.clone()]));
            rest = &rest[found.end..];
        }
        (rest.len() < text.len()).then(|| replaced + rest)
    }

    fn key(&self, key: &str) -> String {
        if let (Some(known), Some(identity)) = (&self.key, self.identity)
            && known.secret == key
        {
            return format!("{}#{}", identity.shown, identity.hash);
        }
        let mut shown = shown_key(key);
        self.push_hash(&mut shown, key);
        shown
    }

    fn hash(&self, secret: &str) -> String {
        let mut hash = String::new();
        self.push_hash(&mut hash, secret);
        hash
    }

    fn push_hash(&self, text: &mut String, secret: &str) {
        if !secret.is_empty() {
            let _infallible: std::fmt::Result = write!(text, "#{}", self.hasher.hash(secret));
        }
    }
}

impl<'a> Sought<'a> {
    /// `None` where it is so short that it would be found in words.
    fn new(secret: &'a str) -> Option<Self> {
        (secret.len() >= MIN_SEARCHED).then(|| Self {
            secret,
            finder: Finder::new(secret.as_bytes()),
        })
    }

    /// A text without the secret and without encoded copies of it.
    fn without<'b>(&self, text: Cow<'b, str>, shown: impl Fn() -> String) -> Cow<'b, str> {
        if text.len() < self.secret.len() {
            return text;
        }
        let text = match self.is_in(&text) {
            true => Cow::Owned(text.replace(self.secret, &shown())),
            false => text,
        };
        if let Cow::Owned(decoded) = identity::decode(&text)
            && self.is_in(&decoded)
        {
            return Cow::Owned(decoded.replace(self.secret, &shown()));
        }
        text
    }

    fn is_in(&self, text: &str) -> bool {
        self.finder.find(text.as_bytes()).is_some()
    }
}

impl std::fmt::Debug for Sought<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sought")
    }
}

fn is_header(sources: &[KeySource], name: &HeaderName) -> bool {
    let is_it = |source: &KeySource| matches!(source, KeySource::Header(header) if header == name);
    sources.iter().any(is_it)
}

/// An authority without the user and password before its host.
#[must_use]
pub fn without_user(authority: &str) -> &str {
    authority
        .rsplit_once('@')
        .map_or(authority, |(_user, host)| host)
}

/// Shorter secrets would be found in words.
const MIN_SEARCHED: usize = 6;

/// A line's usual length.
const LINE_BYTES: usize = 48;

#[cfg(test)]
mod tests;
