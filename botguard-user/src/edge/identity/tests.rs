//! Which source wins, and whom a request names.

use serde_json::json;

use super::jwt::signer::{OTHER, OURS};
use super::*;

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
    let settings: IdentitySettings =
        toml::from_str("api_key = ['header:X-Api-Key', 'bearer', 'query:api_key', 'cookie:key']")
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

const NOW: u64 = 1_795_600_000;

/// Settings, with our keys where they name any; the directory has them.
fn load(text: &str) -> (IdentitySettings, TokenVerifier) {
    let mut settings: IdentitySettings = toml::from_str(text).unwrap();
    let directory = tempfile::tempdir().unwrap();
    if let Some(keys) = &mut settings.jwt.keys {
        *keys = directory.path().join("keys.json");
        std::fs::write(keys, OURS.set().to_string()).unwrap();
    }
    let verifier = TokenVerifier::load(&settings).unwrap();
    (settings, verifier)
}

#[test]
fn a_token_is_no_api_key_where_users_have_tokens() {
    let token = OURS.token(&json!({"alg": "EdDSA"}), &json!({"sub": "alice"}));
    let check = |text: &str, fields: &[(&str, &str)], expected: Option<&str>| {
        let settings: IdentitySettings = toml::from_str(text).unwrap();
        let headers = map(fields);
        let key = settings.api_key(&headers, "app=k3");
        assert_eq!(key.as_ref().map(RawKey::expose), expected, "{text}");
    };
    let bearer = format!("Bearer {token}");
    let sent = [("authorization", bearer.as_str())];
    check("api_key = ['bearer']", &sent, Some(&token));
    check(
        "api_key = ['bearer']\nuser = ['header:x-user']",
        &sent,
        Some(&token),
    );
    check("api_key = ['bearer']\nuser = ['jwt:sub']", &sent, None);
    check(
        "api_key = ['bearer', 'query:app']\nuser = ['jwt:sub']",
        &sent,
        Some("k3"),
    );
    let key = [("authorization", "Bearer k2")];
    check("api_key = ['bearer']\nuser = ['jwt:sub']", &key, Some("k2"));
    let elsewhere = "api_key = ['bearer']\nuser = ['jwt:sub']\njwt = { source = ['cookie:t'] }";
    check(elsewhere, &sent, Some(&token));
}

#[test]
fn sessions_and_users_come_from_the_first_source_that_has_one() {
    let (settings, verifier) = load(
        "session = ['cookie:session', 'header:x-session']\n\
         user = ['jwt:sub', 'header:x-user', 'jwt:email']\n\
         [jwt]\nkeys = 'keys.json'\nsource = ['bearer', 'query:token']",
    );
    let hasher = KeyHasher::new(&[7; 32]);
    let now = Wall::from_unix_ms(NOW * 1_000);
    let check = |fields: &[(&str, &str)],
                 query: &str,
                 session: Option<&str>,
                 user: Option<(&str, UserProof)>,
                 age: Option<u64>| {
        let headers = map(fields);
        let secret = settings.session(&headers, query);
        let found = settings.visitor(
            (&headers, query),
            secret.as_deref(),
            (&hasher, &verifier),
            now,
        );
        let expected = session.map(|secret| hasher.session(secret));
        assert_eq!(found.session.map(|it| it.hash), expected, "{fields:?}");
        let expected = user.map(|(name, proof)| (hasher.user(name), proof));
        assert_eq!(
            found.user.map(|it| (it.hash, it.proof)),
            expected,
            "{fields:?}"
        );
        assert_eq!(
            found.authentication.map(|it| it.age.as_secs()),
            age,
            "{fields:?}"
        );
    };
    let claims = json!({"sub": "alice", "exp": NOW + 60, "auth_time": NOW - 30});
    let good = OURS.token(&json!({"alg": "ES256"}), &claims);
    let forged = OTHER.token(&json!({"alg": "ES256"}), &claims);
    let mail = json!({"email": "b@a.test", "exp": NOW + 60, "auth_time": NOW - 30});
    let mail = OURS.token(&json!({"alg": "ES256"}), &mail);
    let bearer = |token: &str| format!("Bearer {token}");
    let verified = Some(("alice", UserProof::Verified));
    let claimed = Some(("carol", UserProof::Claimed));

    check(&[], "", None, None, None);
    check(
        &[("cookie", "session=s1; a=b"), ("x-session", "s2")],
        "",
        Some("s1"),
        None,
        None,
    );
    check(
        &[("cookie", "session="), ("x-session", "s2")],
        "",
        Some("s2"),
        None,
        None,
    );
    check(
        &[("authorization", &bearer(&good))],
        "",
        None,
        verified,
        Some(30),
    );
    check(&[], &format!("token={good}"), None, verified, Some(30));
    check(
        &[("authorization", "Bearer key")],
        &format!("token={good}"),
        None,
        verified,
        Some(30),
    );
    // A token that proves nothing names nobody, and does not stop the next source.
    check(&[("authorization", &bearer(&forged))], "", None, None, None);
    let both = [
        ("authorization", bearer(&forged)),
        ("x-user", "carol".to_owned()),
    ];
    let both = both.each_ref().map(|(name, value)| (*name, value.as_str()));
    check(&both, "", None, claimed, None);
    let both = [
        ("authorization", bearer(&good)),
        ("x-user", "carol".to_owned()),
    ];
    let both = both.each_ref().map(|(name, value)| (*name, value.as_str()));
    check(&both, "", None, verified, Some(30));
    // Who proved it is not whom the header names.
    let both = [
        ("authorization", bearer(&mail)),
        ("x-user", "carol".to_owned()),
    ];
    let both = both.each_ref().map(|(name, value)| (*name, value.as_str()));
    check(&both, "", None, claimed, None);
    let by_mail = Some(("b@a.test", UserProof::Verified));
    check(
        &[("authorization", &bearer(&mail))],
        "",
        None,
        by_mail,
        Some(30),
    );
}

#[test]
fn what_nobody_vouches_for_is_said() {
    let check = |text: &str, expected: Option<&str>| {
        let settings: IdentitySettings = toml::from_str(text).unwrap();
        let warnings = settings.warnings().join("\n");
        match expected {
            Some(part) => assert!(warnings.contains(part), "{text}: {warnings}"),
            None => assert_eq!(warnings, "", "{text}"),
        }
    };
    check("api_key = ['bearer']\nsession = ['cookie:session']", None);
    check("user = ['header:x-user']", None);
    check(
        "user = ['jwt:sub']",
        Some("[identity] user: nobody vouches"),
    );
    check("user = ['jwt:sub']\njwt = { keys = 'k' }", None);
    check("jwt = { keys = 'k' }", Some("[identity] jwt: has keys"));
}

#[test]
fn a_secret_is_there_once() {
    let text = "api_key = ['header:x-api-key', 'bearer', 'query:key', 'cookie:key']";
    let settings: IdentitySettings = toml::from_str(text).unwrap();
    let check = |headers: &[(&'static str, &str)], query: &str, expected: Option<&str>| {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let doubled = settings.doubled(&map, query).cloned().map(String::from);
        assert_eq!(doubled.as_deref(), expected, "{headers:?} {query}");
    };
    let [one, other] = [("x-api-key", "a"), ("x-api-key", "b")];
    check(&[one], "key=a", None);
    check(&[one, other], "", Some("header:x-api-key"));
    check(&[one, one], "", Some("header:x-api-key"));
    let basic = ("authorization", "Basic YTpi");
    check(&[("authorization", "Bearer a"), one], "", None);
    check(&[("authorization", "Bearer a"), basic], "", Some("bearer"));
    check(&[], "key=a&other=b&other=c", None);
    check(&[], "key=a&%6bey=b", Some("query:key"));
    check(&[("cookie", "key=a; key=b"), ("cookie", "key=c")], "", None);
    check(&[("x-other", "a"), ("x-other", "b")], "", None);
}
