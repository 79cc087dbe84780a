//! Users who have to prove again who they are, by the tokens of an issuer with a key of its own.

use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Result;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use botguard_tests::client::{Answer, Client};
use botguard_tests::config::Config;
use botguard_tests::host::Host;
use serde_json::{Value, json};

use crate::fixture::{PARTNER, SHOP_KEY, USER, audit_of, host};

/// The route wants no more than its hosting network against a client.
fn config() -> Config {
    Config {
        identity: "user = [\"jwt:sub\"]",
        more: r#"
[identity.jwt]
keys = "jwks.json"

[step_up]
max_age = "5m"

[[route]]
path = "/pricing"
mode = "enforce"
expects = "mobile"
throttle = 0.08
step_up = 0.08
"#,
        ..Config::default()
    }
}

#[test]
fn users_of_a_suspect_network_prove_again_who_they_are() {
    let host = host("stepup", &config()).unwrap();
    let (ours, other) = (Issuer::new().unwrap(), Issuer::new().unwrap());
    let jwks = host.lab.directory().join("jwks.json");
    std::fs::write(jwks, ours.set().to_string()).unwrap();
    let key_file = host.lab.directory().join("shop.key");
    std::fs::write(&key_file, SHOP_KEY).unwrap();
    let key_file = key_file.to_str().unwrap();
    let pin = ["key", "override", "--key-file", key_file, "--pin"];
    let pin = [&pin[..], &["--reason", "partner"]].concat();
    host.botguard.expect(&host.lab, &pin).unwrap();
    let _daemon = host.botguard.start(&host.lab).unwrap();

    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let claims = |user: &str, age: u64| json!({"sub": user, "iat": now, "exp": now + 600, "auth_time": now - age});
    let es256 = json!({"alg": "ES256", "kid": "ec"});
    let token = |user, age| ours.token(&es256, &claims(user, age));
    let without = |claim: &str| {
        let mut claims = claims("erin", 60);
        claims.as_object_mut().unwrap().remove(claim);
        ours.token(&es256, &claims)
    };
    let expired = json!({"sub": "erin", "exp": now - 600, "auth_time": now});
    let old = token("alice", 3_600);
    let (head, _signature) = old.rsplit_once('.').unwrap();
    let (_claims, swapped) = old.split_once('.').unwrap();
    let none = json!({"alg": "none"});

    let verified = Some("verified");
    let cases = [
        // They are asked to, and have.
        ("old", PARTNER, "", old.clone(), 401, verified),
        ("unsaid", PARTNER, "", without("auth_time"), 401, verified),
        ("fresh", PARTNER, "", token("bob", 20), 200, verified),
        // Nobody vouches for these: no user, whom nothing is demanded of, and the application
        // decides.
        (
            "forged",
            PARTNER,
            "",
            other.token(&es256, &claims("carol", 20)),
            200,
            None,
        ),
        (
            "unsigned",
            PARTNER,
            "",
            other.token(&none, &claims("carol", 20)),
            200,
            None,
        ),
        ("cut", PARTNER, "", format!("{head}."), 200, None),
        (
            "other head",
            PARTNER,
            "",
            format!(
                "{}.{swapped}",
                encode(b"{\"alg\":\"ES256\",\"kid\":\"eg\"}")
            ),
            200,
            None,
        ),
        (
            "expired",
            PARTNER,
            "",
            ours.token(&es256, &expired),
            200,
            None,
        ),
        ("endless", PARTNER, "", without("exp"), 200, None),
        // Nothing speaks against these: they never see it.
        ("at home", USER, "", old.clone(), 200, verified),
        ("pinned", PARTNER, SHOP_KEY, old.clone(), 200, verified),
    ];
    let n_cases = cases.len();
    for (place, (name, source, key, token, expected, proof)) in cases.into_iter().enumerate() {
        let answer = ask_with(&host, source, key, token).unwrap();
        assert_eq!(answer.status, expected, "{name}: {answer:?}");
        let records = audit_of(&host, place + 1).unwrap();
        let record = (records.iter())
            .rfind(|it| it["kind"] == "request")
            .unwrap();
        assert_eq!(
            record["identity"]["user_proof"].as_str(),
            proof,
            "{name}: {record}"
        );
        assert_eq!(
            record["identity"]["user"].is_string(),
            proof.is_some(),
            "{name}"
        );
        if expected == 401 {
            let demand = answer.headers["www-authenticate"].to_str().unwrap();
            assert!(demand.starts_with("Bearer "), "{demand}");
            let error = "error=\"insufficient_user_authentication\"";
            assert!(demand.contains(error), "{demand}");
            assert!(demand.contains("max_age=\"300\""), "{demand}");
            assert_eq!(record["decision"]["action"], "step_up", "{record}");
        } else {
            assert!(answer.json().unwrap()["plans"].is_array(), "{name}");
        }
    }
    assert_eq!(n_cases, 11);
}

/// One `GET /pricing` with a token.
fn ask_with(host: &Host, source: &str, key: &'static str, token: String) -> Result<Answer> {
    let source = source.parse()?;
    let tls = host.certificate.client(&["h2"]);
    host.in_world(move || async move {
        let mut client = Client::new(source, Host::server(source)?, Arc::clone(&tls));
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("authorization", bearer.as_str())];
        if !key.is_empty() {
            headers.push(("x-api-key", key));
        }
        client.get("/pricing", &headers).await
    })
}

/// Whoever signs tokens.
struct Issuer(EcdsaKeyPair);

impl Issuer {
    fn new() -> Result<Self> {
        Ok(Self(EcdsaKeyPair::generate(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
        )?))
    }

    /// Its JWK Set (RFC 7517).
    fn set(&self) -> Value {
        // An uncompressed point (SEC 1 section 2.3.3).
        let point = self.0.public_key().as_ref();
        let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
        json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "ec", "x": x, "y": y}]})
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let parts = [header, claims].map(|part| encode(part.to_string().as_bytes()));
        let signed = parts.join(".");
        if header["alg"] == "none" {
            return format!("{signed}.");
        }
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes());
        format!(
            "{signed}.{}",
            encode(signature.expect("P-256 signs").as_ref())
        )
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
