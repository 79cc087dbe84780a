//! Tokens signed with real keys, good and broken; every refusal has its mirror that passes.

mod broken;
mod keys;

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::signer::{Issuer, OTHER, OURS, encode, with_secret};
use super::*;

/// 2026-11-25, in seconds.
const NOW: u64 = 1_795_600_000;

fn now() -> Wall {
    Wall::from_unix_ms(NOW * 1_000)
}

fn hasher() -> KeyHasher {
    KeyHasher::new(&[7; 32])
}

/// Our keys on disk, and settings that name them.
struct Bench {
    directory: TempDir,
    identity: IdentitySettings,
}

impl Bench {
    /// `settings` is the inside of `[identity.jwt]`.
    fn new(settings: &str) -> Self {
        let text = format!("user = ['jwt:sub', 'jwt:uid']\n[jwt]\n{settings}");
        let mut identity: IdentitySettings = toml::from_str(&text).unwrap();
        let directory = tempfile::tempdir().unwrap();
        for path in [&mut identity.jwt.keys, &mut identity.jwt.secret_file]
            .into_iter()
            .flatten()
        {
            *path = directory.path().join(&*path);
        }
        let bench = Self {
            directory,
            identity,
        };
        bench.write("keys.json", &OURS.set().to_string(), 0o644);
        bench.write("secret", &OURS.secret_file(), 0o600);
        bench
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    }

    fn load(&self) -> Result<TokenVerifier, TokenKeysError> {
        TokenVerifier::load(&self.identity)
    }

    fn verify(&self, token: &str) -> Result<Arc<GoodToken>, TokenProblem> {
        self.load().unwrap().verify(token, &hasher(), now())
    }
}

const BOTH: &str = "keys = 'keys.json'\nsecret_file = 'secret'";

fn header(algorithm: &str, kid: &str) -> Value {
    json!({"typ": "JWT", "alg": algorithm, "kid": kid})
}

fn claims() -> Value {
    json!({"sub": "alice", "exp": NOW + 600})
}

/// `claims()` with this changed; `null` takes a claim away.
fn with(changes: &Value) -> Value {
    let mut all = claims();
    for (name, value) in changes.as_object().unwrap() {
        all[name] = value.clone();
    }
    all
}

#[test]
fn a_good_token_of_each_algorithm_names_its_user() {
    let bench = Bench::new(BOTH);
    for (algorithm, kid) in [
        ("RS256", "rsa"),
        ("ES256", "ec"),
        ("EdDSA", "ed"),
        ("HS256", "any"),
    ] {
        let token = OURS.token(&header(algorithm, kid), &claims());
        let good = bench.verify(&token).unwrap();
        let expected = UserIdentity {
            hash: hasher().user("alice"),
            proof: UserProof::Verified,
        };
        assert_eq!(good.user("sub"), Some(expected), "{algorithm}");
        assert_eq!((good.user("uid"), good.authentication(now())), (None, None));
        // Without a kid there is one key it can be.
        let token = OURS.token(&json!({"alg": algorithm}), &claims());
        assert!(bench.verify(&token).is_ok(), "{algorithm}");
        // Somebody else's signature.
        let forged = OTHER.token(&header(algorithm, kid), &claims());
        assert_eq!(
            bench.verify(&forged),
            Err(TokenProblem::Signature),
            "{algorithm}"
        );
        // The signature of other claims.
        let (signed, _) = token.rsplit_once('.').unwrap();
        let other = OURS.token(&json!({"alg": algorithm}), &with(&json!({"sub": "bob"})));
        let (_, signature) = other.rsplit_once('.').unwrap();
        let mixed = format!("{signed}.{signature}");
        assert_eq!(
            bench.verify(&mixed),
            Err(TokenProblem::Signature),
            "{algorithm}"
        );
    }
}

#[test]
fn times_are_checked_give_or_take_the_leeway() {
    use TokenProblem::{Expired, Malformed, NotYetValid};
    let (minute, lax) = (
        Bench::new(BOTH),
        Bench::new(&format!("{BOTH}\nrequire_expiry = false")),
    );
    let check = |changes: &Value, expected: Result<(), TokenProblem>| {
        let token = OURS.token(&header("EdDSA", "ed"), &with(changes));
        assert_eq!(minute.verify(&token).map(|_| ()), expected, "{changes}");
    };
    check(&json!({"exp": NOW - 59}), Ok(()));
    check(&json!({"exp": NOW - 60}), Err(Expired));
    check(&json!({"exp": NOW as f64 - 59.5}), Ok(()));
    check(&json!({"exp": NOW as f64 - 60.5}), Err(Expired));
    check(&json!({"exp": 1e300}), Ok(()));
    check(&json!({"exp": -1e300}), Err(Expired));
    check(&json!({"exp": -1}), Err(Expired));
    check(&json!({"exp": null}), Err(Expired));
    check(&json!({"exp": (NOW + 600).to_string()}), Err(Malformed));
    check(&json!({"nbf": NOW + 60}), Ok(()));
    check(&json!({"nbf": NOW + 61}), Err(NotYetValid));
    check(&json!({"nbf": [NOW]}), Err(Malformed));
    check(&json!({"iat": NOW + 60}), Ok(()));
    check(&json!({"iat": NOW + 61}), Err(NotYetValid));
    check(&json!({"iat": NOW - 61, "nbf": NOW - 61}), Ok(()));
    check(&json!({"nbf": 1e300}), Err(NotYetValid));
    let endless = OURS.token(&header("EdDSA", "ed"), &json!({"sub": "alice"}));
    assert!(lax.verify(&endless).is_ok());
    let ended = OURS.token(&header("EdDSA", "ed"), &with(&json!({"exp": NOW - 60})));
    assert_eq!(lax.verify(&ended), Err(Expired));
}

#[test]
fn issuer_and_audience_are_checked_where_they_are_set() {
    use TokenProblem::{Audience, Issuer, Malformed};
    let settings = format!("{BOTH}\nissuer = 'https://a.test'\naudience = ['api', 'app']");
    let (strict, any) = (Bench::new(&settings), Bench::new(BOTH));
    let check = |changes: &Value, expected: Result<(), TokenProblem>| {
        let token = OURS.token(&header("EdDSA", "ed"), &with(changes));
        assert_eq!(strict.verify(&token).map(|_| ()), expected, "{changes}");
        assert!(any.verify(&token).is_ok(), "{changes}");
    };
    check(&json!({"iss": "https://a.test", "aud": "api"}), Ok(()));
    check(
        &json!({"iss": "https://a.test", "aud": ["x", "app"]}),
        Ok(()),
    );
    check(
        &json!({"iss": "https://a.test/", "aud": "api"}),
        Err(Issuer),
    );
    check(&json!({"aud": "api"}), Err(Issuer));
    check(
        &json!({"iss": ["https://a.test"], "aud": "api"}),
        Err(Malformed),
    );
    check(&json!({"iss": "https://a.test"}), Err(Audience));
    check(
        &json!({"iss": "https://a.test", "aud": "ap"}),
        Err(Audience),
    );
    check(
        &json!({"iss": "https://a.test", "aud": ["x"]}),
        Err(Audience),
    );
    check(
        &json!({"iss": "https://a.test", "aud": {"api": 1}}),
        Err(Audience),
    );
}

#[test]
fn claims_name_users_and_when_they_proved_it() {
    let bench = Bench::new(BOTH);
    let good = |changes: &Value| {
        let token = OURS.token(&header("ES256", "ec"), &with(changes));
        bench.verify(&token)
    };
    let check = |changes: &Value, sub: Option<&str>, uid: Option<&str>| {
        let good = good(changes).unwrap();
        let user = |claim| good.user(claim).map(|user| user.hash);
        let expected = [sub, uid].map(|name| name.map(|name| hasher().user(name)));
        assert_eq!([user("sub"), user("uid")], expected, "{changes}");
    };
    check(&json!({}), Some("alice"), None);
    check(&json!({"uid": 17}), Some("alice"), Some("17"));
    check(&json!({"sub": "", "uid": "17"}), None, Some("17"));
    check(&json!({"sub": ["alice"], "uid": true}), None, None);

    let check = |changes: &Value, expected: Option<(u64, Option<&str>)>| {
        let authentication = good(changes).unwrap().authentication(now());
        let found = authentication.as_ref();
        let found = found.map(|found| (found.age.as_secs(), found.acr.as_deref()));
        assert_eq!(found, expected, "{changes}");
    };
    check(&json!({}), None);
    check(&json!({"acr": "gold"}), None);
    check(&json!({"auth_time": NOW - 90}), Some((90, None)));
    check(
        &json!({"auth_time": NOW - 90, "acr": "gold"}),
        Some((90, Some("gold"))),
    );
    check(&json!({"auth_time": NOW + 90}), Some((0, None)));
    assert_eq!(
        good(&json!({"auth_time": "x"})),
        Err(TokenProblem::Malformed)
    );
    assert_eq!(good(&json!({"acr": 1})), Err(TokenProblem::Malformed));
}

#[test]
fn without_keys_a_token_only_claims() {
    let bench = Bench::new("");
    let token = OTHER.token(&header("RS256", "x"), &with(&json!({"auth_time": NOW})));
    let good = bench.verify(&token).unwrap();
    assert_eq!(good.user("sub").unwrap().proof, UserProof::Claimed);
    assert_eq!(good.authentication(now()), None);
    let check = |header: &Value, changes: &Value, expected| {
        let token = OTHER.token(header, &with(changes));
        assert_eq!(bench.verify(&token), Err(expected));
    };
    check(&header("none", "x"), &json!({}), TokenProblem::Algorithm);
    check(
        &header("RS256", "x"),
        &json!({"exp": 1}),
        TokenProblem::Expired,
    );
}

#[test]
fn a_good_token_is_known_again_until_it_ends_and_garbage_takes_no_place() {
    let bench = Bench::new(BOTH);
    let verifier = bench.load().unwrap();
    let token = OURS.token(
        &header("RS256", "rsa"),
        &with(&json!({"auth_time": NOW - 5})),
    );
    let first = verifier.verify(&token, &hasher(), now()).unwrap();
    let later = now().after(std::time::Duration::from_secs(100));
    for n in 0..100 {
        let garbage = OTHER.token(&header("EdDSA", "ed"), &with(&json!({"n": n})));
        assert!(verifier.verify(&garbage, &hasher(), now()).is_err());
    }
    let ended = OURS.token(&header("RS256", "rsa"), &with(&json!({"exp": 1})));
    assert!(verifier.verify(&ended, &hasher(), now()).is_err());
    assert_eq!(verifier.good.lock().len(), 1);
    let again = verifier.verify(&token, &hasher(), later).unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    // Its age grows, and its end comes, all the same.
    assert_eq!(again.authentication(later).unwrap().age.as_secs(), 105);
    let end = now().after(std::time::Duration::from_secs(660));
    assert_eq!(
        verifier.verify(&token, &hasher(), end),
        Err(TokenProblem::Expired)
    );
}

#[test]
fn one_secret_follows_the_other() {
    let bench = Bench::new("secret_file = 'secret'");
    let text = format!("new:{}old:{}", OURS.secret_file(), OTHER.secret_file());
    bench.write("secret", &text, 0o600);
    let check = |issuer: &Issuer, header: Value, expected: Result<(), TokenProblem>| {
        let token = issuer.token(&header, &claims());
        assert_eq!(bench.verify(&token).map(|_| ()), expected, "{header}");
    };
    check(&OURS, header("HS256", "new"), Ok(()));
    check(&OTHER, header("HS256", "old"), Ok(()));
    check(&OTHER, json!({"alg": "HS256"}), Ok(()));
    check(&OTHER, header("HS256", "new"), Err(TokenProblem::Signature));
    check(
        &OURS,
        header("HS256", "older"),
        Err(TokenProblem::UnknownKey),
    );
}
