//! Files of keys that can be used, and those that are refused with the mend.

use super::*;

#[test]
fn key_files_that_cannot_be_used_are_said() {
    let check = |set: &str, expected: Option<&str>| {
        let bench = Bench::new("keys = 'keys.json'");
        bench.write("keys.json", set, 0o644);
        match (bench.load(), expected) {
            (Ok(_), None) => {}
            (Err(error), Some(expected)) => {
                let message = error.to_string();
                assert!(
                    message.contains(&format!("keys.json: {expected}")),
                    "{message}"
                );
            }
            (loaded, expected) => panic!("{set}: {loaded:?}, expected {expected:?}"),
        }
    };
    let change = |mut key: Value, name: &str, value: Value| {
        key[name] = value;
        key
    };
    let check_keys = |keys: &[Value], expected: Option<&str>| {
        check(&json!({"keys": keys}).to_string(), expected);
    };
    let (rsa, ec, ed) = (OURS.rsa_key(), OURS.ec_key(), OURS.ed_key());
    check_keys(&[rsa.clone(), ec.clone(), ed.clone()], None);
    check("", Some("is not a JWK Set: no JSON object"));
    check(
        "\"s3cret\"",
        Some("is not a JWK Set: no JSON object, from line 1"),
    );
    check("{}", Some("is not a JWK Set: there is no list `keys`"));
    check_keys(&[], Some("is not a JWK Set: it has no key for signatures"));
    let encryption = json!({"kty": "RSA", "use": "enc", "alg": "RSA-OAEP"});
    check_keys(&[encryption.clone(), ec.clone()], None);
    check_keys(&[encryption], Some("is not a JWK Set: it has no key"));
    check_keys(
        &[ec.clone(), ec.clone()],
        Some("keys[1]: has the kid of keys[0]"),
    );
    check_keys(
        &[ec.clone(), change(rsa.clone(), "kid", json!("ec"))],
        Some("keys[1]: has the kid of"),
    );
    check_keys(&[change(ec.clone(), "kid", Value::Null)], None);
    let nameless = change(ec.clone(), "kid", Value::Null);
    check_keys(
        &[nameless, OTHER.ec_key()],
        Some("keys[0]: has no kid, and there are several"),
    );
    let secret = json!({"kty": "oct", "k": "c2VjcmV0", "kid": "s"});
    check_keys(&[ec.clone(), secret], Some("keys[1]: is a symmetric key"));
    let cases = [
        (&ec, "d", json!("AA"), "holds the private part"),
        (&ec, "x", json!("AA"), "`x` is missing"),
        (&ec, "y", Value::Null, "`y` is missing"),
        (&ec, "y", ec["x"].clone(), "is no valid key"),
        (
            &ec,
            "crv",
            json!("P-384"),
            "is for EC P-384, which is not allowed",
        ),
        (
            &ec,
            "alg",
            json!("RS256"),
            "is of type EC P-256 but for RS256",
        ),
        (&ec, "kty", json!(7), "`kty` is missing"),
        (&ec, "kid", json!(7), "`kid` is missing"),
        (
            &rsa,
            "alg",
            json!("RS512"),
            "is for RS512, which is not allowed",
        ),
        (&rsa, "n", json!("AQAB"), "has 17 bits"),
        (&rsa, "e", json!("*"), "`e` is missing"),
        (&ed, "crv", json!("X25519"), "is for OKP X25519"),
        (&ed, "x", json!("AA"), "`x` is missing"),
        (
            &ed,
            "alg",
            json!("HS256"),
            "is of type OKP Ed25519 but for HS256",
        ),
    ];
    for (key, name, value, expected) in cases {
        let key = change(key.clone(), name, value);
        check_keys(&[key], Some(&format!("keys[0]: {expected}")));
    }
    let bench = Bench::new("keys = 'keys.json'\nalgorithms = ['ES256']");
    let message = bench.load().unwrap_err().to_string();
    assert!(
        message.contains("keys[0]: is for RS256, which is not allowed"),
        "{message}"
    );
    let missing = Bench::new("keys = 'no.json'")
        .load()
        .unwrap_err()
        .to_string();
    assert!(missing.contains("no.json: cannot be read"), "{missing}");
}

#[test]
fn secret_files_that_cannot_be_used_are_said_without_what_stands_in_them() {
    let check = |text: &str, mode: u32, expected: Option<&str>| {
        let bench = Bench::new("secret_file = 'secret'");
        bench.write("secret", text, mode);
        match (bench.load(), expected) {
            (Ok(_), None) => {}
            (Err(error), Some(expected)) => {
                let message = error.to_string();
                assert!(message.contains(expected), "{message}");
                assert!(
                    text.is_empty() || !message.contains(text.trim()),
                    "{message}"
                );
            }
            (loaded, expected) => panic!("{text}: {loaded:?}, expected {expected:?}"),
        }
    };
    let good = OURS.secret_file();
    check(&good, 0o600, None);
    check(&good, 0o400, None);
    check(
        &good,
        0o640,
        Some("has mode 0640, so others can read it; `chmod 600` it"),
    );
    check(&format!("a:{good}\nb:{good}"), 0o600, None);
    check(
        &format!("a:{good}a:{good}"),
        0o600,
        Some("secret:2: has the kid"),
    );
    check(
        &format!("a:{good}b:{good}c:{good}"),
        0o600,
        Some("secret:3: is a third"),
    );
    check("hunter2hunter2", 0o600, Some("secret:1: is not a secret"));
    check(
        "0123456789abcdef",
        0o600,
        Some("secret:1: is shorter than 32 bytes"),
    );
    check("", 0o600, Some("secret:1: has no secret"));
    let error = Bench::new("algorithms = ['HS256']").load().unwrap_err();
    assert!(matches!(error, TokenKeysError::NoSecret), "{error}");
}
