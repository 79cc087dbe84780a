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

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, header};

use super::identity::{
    self, IdentitySettings, KeyHasher, KeySource, RawKey, UserSource, find_token, is_token,
    shown_key,
};

/// Replaces secrets by what may be kept of them.
#[derive(Debug)]
pub struct Redactor<'a> {
    settings: &'a IdentitySettings,
    hasher: &'a KeyHasher,
}

impl<'a> Redactor<'a> {
    /// Treats what the sources of `settings` name as secret, beside what is so everywhere.
    #[must_use]
    pub const fn new(settings: &'a IdentitySettings, hasher: &'a KeyHasher) -> Self {
        Self { settings, hasher }
    }

    /// `[name, value]` of every header line. `query` only tells the API key and the session, so that
    /// a copy of them in another header is found.
    #[must_use]
    pub fn headers(&self, headers: &HeaderMap, query: &str) -> Vec<[String; 2]> {
        let known = self.known(headers, query);
        headers
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes());
                let value = self.without_copies(self.header(name, &value), &known);
                [name.as_str().to_owned(), value]
            })
            .collect()
    }

    /// The query string, still encoded as it was sent.
    #[must_use]
    pub fn query(&self, headers: &HeaderMap, query: &str) -> String {
        self.without_copies(self.parameters(query), &self.known(headers, query))
    }

    /// A decoded path. `headers` and `query` only tell the API key and the session.
    #[must_use]
    pub fn path(&self, headers: &HeaderMap, query: &str, path: &str) -> String {
        let path = match path.split_once(';') {
            Some((path, rest)) => format!("{path};{}", self.parameters(rest)),
            None => path.to_owned(),
        };
        self.without_copies(path, &self.known(headers, query))
    }

    fn known<'b>(&self, headers: &'b HeaderMap, query: &'b str) -> Known<'b> {
        Known {
            key: self.settings.api_key(headers, query),
            session: self.settings.session(headers, query),
        }
    }

    fn header(&self, name: &HeaderName, value: &str) -> String {
        if *name == header::AUTHORIZATION || *name == header::PROXY_AUTHORIZATION {
            return self.credentials(value);
        }
        if *name == header::COOKIE {
            return self.cookies(value);
        }
        if self.is_key_header(name) && !is_token(value.trim()) {
            return self.key(value);
        }
        if sounds_secret(name.as_str()) || self.is_identity_header(name) {
            return self.hash(value);
        }
        if *name == header::HOST {
            return without_user(value).to_owned();
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
        let pairs = value.split(';').map(|pair| match pair.split_once('=') {
            Some((name, secret)) => format!("{}={}", name.trim(), self.hash(secret.trim())),
            None => self.hash(pair.trim()),
        });
        pairs.collect::<Vec<_>>().join("; ")
    }

    /// `;` separates parameters too, to older readers.
    fn parameters(&self, query: &str) -> String {
        let parameters = query.split_inclusive(['&', ';']).map(|parameter| {
            let bare = parameter.trim_end_matches(['&', ';']);
            let separator = &parameter[bare.len()..];
            let Some((name, value)) = bare.split_once('=') else {
                return parameter.to_owned();
            };
            let decoded = identity::decode(value);
            // A URL in a parameter has parameters of its own.
            if self.is_secret_parameter(&identity::decode(name)) || self.url(&decoded) != decoded {
                format!("{name}={}{separator}", self.hash(&decoded))
            } else {
                parameter.to_owned()
            }
        });
        parameters.collect()
    }

    /// Anything that may be a URL: its query and fragment carry parameters (the fragment of OAuth a
    /// token), its authority a password.
    fn url(&self, url: &str) -> String {
        let (before, rest) = match url.find(['?', '#']) {
            Some(at) => url.split_at(at + 1),
            None => (url, ""),
        };
        let before = match before.split_once("://") {
            Some((scheme, after)) => {
                let end = after.find(['/', '?', '#']).unwrap_or(after.len());
                let (authority, path) = after.split_at(end);
                format!("{scheme}://{}{path}", without_user(authority))
            }
            None => before.to_owned(),
        };
        let parts = rest.split('#').map(|part| self.parameters(part));
        before + &parts.collect::<Vec<_>>().join("#")
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
    fn without_copies(&self, text: String, known: &Known<'_>) -> String {
        let mut text = self.without_tokens(text);
        if let Some(key) = &known.key {
            text = without(text, key.expose(), || self.key(key.expose()));
        }
        if let Some(session) = &known.session {
            text = without(text, session, || self.hash(session));
        }
        text
    }

    /// Tokens of any issuer: they hold names, and may be good elsewhere.
    fn without_tokens(&self, text: String) -> String {
        let replaced = self.tokens_replaced(&text);
        let decoded = identity::decode(replaced.as_deref().unwrap_or(&text));
        match self.tokens_replaced(&decoded) {
            Some(decoded) => decoded,
            None => replaced.unwrap_or(text),
        }
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
        format!("{}{}", shown_key(key), self.hash(key))
    }

    fn hash(&self, secret: &str) -> String {
        if secret.is_empty() {
            String::new()
        } else {
            format!("#{}", self.hasher.hash(secret))
        }
    }
}

/// Secrets of a request that are looked for everywhere.
struct Known<'a> {
    key: Option<RawKey<'a>>,
    session: Option<Cow<'a, str>>,
}

fn is_header(sources: &[KeySource], name: &HeaderName) -> bool {
    let is_it = |source: &KeySource| matches!(source, KeySource::Header(header) if header == name);
    sources.iter().any(is_it)
}

/// A text without a secret and without encoded copies of it.
fn without(text: String, secret: &str, shown: impl Fn() -> String) -> String {
    if secret.len() < MIN_SEARCHED {
        return text;
    }
    let text = if text.contains(secret) {
        text.replace(secret, &shown())
    } else {
        text
    };
    let decoded = identity::decode(&text);
    if decoded.contains(secret) {
        return decoded.replace(secret, &shown());
    }
    text
}

/// Whether a parameter or header of this name holds a secret more often than not.
fn sounds_secret(name: &str) -> bool {
    let name: Cow<'_, str> = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    };
    SECRET_WORDS.iter().any(|word| name.contains(word))
        || name
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|part| SECRET_NAMES.contains(&part))
}

/// An authority without the user and password before its host.
#[must_use]
pub fn without_user(authority: &str) -> &str {
    authority
        .rsplit_once('@')
        .map_or(authority, |(_user, host)| host)
}

/// Registered schemes (IANA, HTTP Authentication Schemes), and two that are common beside them.
/// Anything else before a space could be a part of the secret.
fn is_scheme(text: &str) -> bool {
    const SCHEMES: [&str; 13] = [
        "apikey",
        "aws4-hmac-sha256",
        "basic",
        "bearer",
        "digest",
        "dpop",
        "gnap",
        "hoba",
        "mutual",
        "negotiate",
        "oauth",
        "scram-sha-256",
        "token",
    ];
    SCHEMES
        .iter()
        .any(|scheme| scheme.eq_ignore_ascii_case(text))
}

/// Sorted by how often they are seen. `code` is OAuth's authorisation code.
const SECRET_WORDS: [&str; 14] = [
    "token",
    "key",
    "secret",
    "passw",
    "code",
    "auth",
    "sess",
    "signature",
    "jwt",
    "cookie",
    "credential",
    "csrf",
    "bearer",
    "saml",
];

/// The same, too short to be looked for inside of other words.
const SECRET_NAMES: [&str; 8] = ["sid", "sig", "otp", "pin", "pwd", "pass", "dpop", "nonce"];

/// Shorter secrets would be found in words.
const MIN_SEARCHED: usize = 6;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings() -> IdentitySettings {
        toml::from_str(
            "api_key = ['header:x-app', 'bearer', 'query:app', 'cookie:app']\n\
             session = ['cookie:visit', 'header:x-visit', 'query:visit']\n\
             user = ['jwt:sub', 'header:x-who']\n\
             jwt = { source = ['bearer', 'header:x-ticket', 'query:ticket', 'cookie:ticket'] }",
        )
        .unwrap()
    }

    const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";

    fn check(name: &str, value: &str, expected: &str) {
        let (settings, hasher) = (settings(), KeyHasher::new(&[7; 32]));
        let mut headers = HeaderMap::new();
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.insert(&name, value.parse().unwrap());
        let redacted = Redactor::new(&settings, &hasher).headers(&headers, "");
        // `{secret}` stands for the hash of `secret`.
        let expected = ["0123456789", "s3cret", "dXNlcg==", "dark"]
            .into_iter()
            .fold(expected.to_owned(), |text, secret| {
                text.replace(&format!("{{{secret}}}"), &hasher.hash(secret).to_string())
            })
            .replace("{token}", &hasher.hash(TOKEN).to_string());
        assert_eq!(redacted, [[name.as_str().to_owned(), expected]]);
    }

    #[test]
    fn secrets_are_replaced_and_the_rest_stays() {
        check("accept", "*/*", "*/*");
        check("user-agent", "curl/8.5", "curl/8.5");
        check("x-app", "0123456789", "012…#{0123456789}");
        check(
            "authorization",
            "Bearer 0123456789",
            "Bearer 012…#{0123456789}",
        );
        check("authorization", "Basic dXNlcg==", "Basic #{dXNlcg==}");
        check("authorization", "s3cret", "#{s3cret}");
        check("cookie", "a=s3cret; theme=", "a=#{s3cret}; theme=");
        check("cookie", "s3cret", "#{s3cret}");
        check("set-cookie", "s3cret", "#{s3cret}");
        check("x-forwarded-access-authorization", "s3cret", "#{s3cret}");
        check("dpop", "s3cret", "#{s3cret}");
        check("host", "user:s3cret@a.test", "a.test");
        check("referer", "https://u:s3cret@a.test/x", "https://a.test/x");
        check(
            "x-original-url",
            "/a?b=1&token=s3cret",
            "/a?b=1&token=#{s3cret}",
        );
        check("x-address", "me@a.test", "me@a.test");
        check("x-visit", "s3cret", "#{s3cret}");
        check("x-who", "s3cret", "#{s3cret}");
        check("x-whom", "carol", "carol");
        check("x-ticket", "s3cret", "#{s3cret}");
        check("x-csrf-token", "s3cret", "#{s3cret}");
        check("referer", "https://a.test/p?q=1", "https://a.test/p?q=1");
        check(
            "referer",
            "https://a.test/p?q=1&code=s3cret#access_token=s3cret",
            "https://a.test/p?q=1&code=#{s3cret}#access_token=#{s3cret}",
        );
    }

    #[test]
    fn tokens_are_found_by_their_looks() {
        check(
            "authorization",
            &format!("Bearer {TOKEN}"),
            "Bearer #{token}",
        );
        check(
            "authorization",
            &format!("bearer  {TOKEN}"),
            "bearer #{token}",
        );
        check("x-app", TOKEN, "#{token}");
        check(
            "cookie",
            &format!("a={TOKEN}; theme=dark"),
            "a=#{token}; theme=#{dark}",
        );
        check("x-debug", &format!("got {TOKEN}!"), "got #{token}!");
        check(
            "referer",
            &format!("https://a.test/{TOKEN}/x?page=2"),
            "https://a.test/#{token}/x?page=2",
        );
        check("x-debug", &format!("{TOKEN},{TOKEN}"), "#{token},#{token}");
        let encoded = TOKEN.replace('.', "%2E");
        check("x-debug", &format!("a/{encoded}"), "a/#{token}");
        check("x-debug", "eyes.on.me", "eyes.on.me");
    }

    #[test]
    fn copies_of_a_session_are_found() {
        let (settings, hasher) = (settings(), KeyHasher::new(&[7; 32]));
        let redactor = Redactor::new(&settings, &hasher);
        let mut headers = HeaderMap::new();
        headers.insert("cookie", "a=b; visit=0123456789".parse().unwrap());
        headers.insert("x-copy", "<0123456789>".parse().unwrap());
        let hash = format!("#{}", hasher.hash("0123456789"));
        let copy = redactor.headers(&headers, "")[1][1].clone();
        assert_eq!(copy, format!("<{hash}>"));
        let query = redactor.query(&headers, "page=2&x=0123456789&y=01234567%38%39");
        assert_eq!(query, format!("page=2&x={hash}&y={hash}"));
        let path = redactor.path(&headers, "", "/visits/0123456789");
        assert_eq!(path, format!("/visits/{hash}"));
        assert_eq!(
            redactor.query(&HeaderMap::new(), "x=0123456789"),
            "x=0123456789"
        );
        assert_eq!(
            redactor.query(&HeaderMap::new(), "visit=0123456789"),
            format!("visit={hash}")
        );
        // What a header says of a user is a name, which may stand in any path.
        headers.insert("x-who", "carol-the-great".parse().unwrap());
        assert_eq!(
            redactor.path(&headers, "", "/u/carol-the-great"),
            "/u/carol-the-great"
        );
    }

    #[test]
    fn queries() {
        let (settings, hasher) = (settings(), KeyHasher::new(&[7; 32]));
        let check = |query: &str, expected: &str| {
            let redacted = Redactor::new(&settings, &hasher).query(&HeaderMap::new(), query);
            let hash = format!("#{}", hasher.hash("s3cret"));
            assert_eq!(redacted, expected.replace("{}", &hash), "{query}");
        };
        check("", "");
        check("cursor=abc&limit=50", "cursor=abc&limit=50");
        check("a=1&Access_Token=s3cret&b", "a=1&Access_Token={}&b");
        check("pass%77ord=s3cret", "pass%77ord={}");
        check("token=s3%63ret", "token={}");
        check("password=", "password=");
        check("a=1;password=s3cret;b=2", "a=1;password={};b=2");
        check("pwd=s3cret&sid=s3cret&inside=1", "pwd={}&sid={}&inside=1");
        check(
            "Authorization=s3cret&PHPSESSID=s3cret",
            "Authorization={}&PHPSESSID={}",
        );
    }

    #[test]
    fn paths() {
        let (settings, hasher) = (settings(), KeyHasher::new(&[7; 32]));
        let mut headers = HeaderMap::new();
        headers.insert("x-app", "0123456789".parse().unwrap());
        let check = |path: &str, expected: &str| {
            let redacted = Redactor::new(&settings, &hasher).path(&headers, "", path);
            let key = format!("012…#{}", hasher.hash("0123456789"));
            let secret = format!("#{}", hasher.hash("s3cret"));
            let expected = expected.replace("{key}", &key).replace("{}", &secret);
            assert_eq!(redacted, expected, "{path}");
        };
        check("/users/7", "/users/7");
        check("/keys/0123456789/use", "/keys/{key}/use");
        check("/keys/01234567%38%39", "/keys/{key}");
        check("/users;jsessionid=s3cret", "/users;jsessionid={}");
        check("/users;page=2", "/users;page=2");
    }

    #[test]
    fn an_encoded_copy_of_the_key_is_found() {
        let (settings, hasher) = (settings(), KeyHasher::new(&[7; 32]));
        let redactor = Redactor::new(&settings, &hasher);
        let key = format!("012…#{}", hasher.hash("0123456789"));
        let query = "a=%301234%356789&app=0123456789";
        let redacted = redactor.query(&HeaderMap::new(), query);
        assert!(redacted.starts_with(&format!("a={key}&")), "{redacted}");
        let mut headers = HeaderMap::new();
        headers.insert("referer", "/0123456789?a=01234567%38%39".parse().unwrap());
        headers.insert("x-app", "0123456789".parse().unwrap());
        let redacted = redactor.headers(&headers, "");
        assert_eq!(redacted[0][1], format!("/{key}?a={key}"));
        let query = "next=%2Flogin%3Ftoken%3Ds3cret";
        let redacted = redactor.query(&HeaderMap::new(), query);
        let value = hasher.hash("/login?token=s3cret");
        assert_eq!(redacted, format!("next=#{value}"));
        let plain = "next=%2Flogin%3Fpage%3D2";
        assert_eq!(redactor.query(&HeaderMap::new(), plain), plain);
    }

    proptest! {
        /// A secret in any of the places for secrets never comes out, however it is dressed.
        #[test]
        fn a_canary_never_comes_out(
            canary in "[a-zA-Z0-9]{16,40}",
            place in 0_usize..20,
            noise in "[a-z]{0,8}",
        ) {
            let (settings, hasher) = (settings(), KeyHasher::new(&[7; 32]));
            let mut headers = HeaderMap::new();
            let mut query = String::new();
            let mut put = |name: &'static str, value: String| {
                headers.append(name, value.parse().unwrap());
            };
            match place {
                0 => put("x-app", canary.clone()),
                1 => put("authorization", format!("Bearer {canary}")),
                2 => put("authorization", format!("{canary} {noise}")),
                3 => put("authorization", format!("Digest {noise}, {canary}")),
                4 => put("cookie", format!("{noise}={canary}; b={canary}")),
                5 => put("cookie", canary.clone()),
                6 => put("proxy-authorization", format!("Basic {canary}")),
                7 => put("x-auth-token", format!("{noise}{canary}")),
                8 => put("referer", format!("https://a.test/?{noise}=1&api_key={canary}")),
                9 => query = format!("app={canary}&copy={canary}"),
                10 => {
                    put("x-app", canary.clone());
                    put("x-copy", format!("{noise} {canary}"));
                }
                11 => query = format!("{noise}=1&client_secret={canary}"),
                12 => put("x-visit", canary.clone()),
                13 => {
                    put("cookie", format!("{noise}=1; visit={canary}"));
                    put("x-copy", format!("{noise} {canary}"));
                    query = format!("{noise}={canary}");
                }
                14 => query = format!("visit={canary}&copy={canary}"),
                15 => put("x-who", canary.clone()),
                16 => put("authorization", format!("Bearer eyJ0eXAiOiJKV1Qi.{canary}.{noise}")),
                17 => put("x-copy", format!("{noise} eyJ0eXAiOiJKV1Qi.{noise}.{canary}")),
                18 => query = format!("{noise}=eyJ0eXAiOiJKV1Qi%2e{canary}%2E{noise}"),
                _ => put("cookie", format!("ticket=eyJ0eXAiOiJKV1Qi.{canary}.{canary}")),
            }
            let redactor = Redactor::new(&settings, &hasher);
            let output = format!(
                "{:?} {}",
                redactor.headers(&headers, &query),
                redactor.query(&headers, &query)
            );
            prop_assert!(!output.contains(&canary), "{}", output);
        }
    }
}
