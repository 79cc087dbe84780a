//! Tokens that are broken, forged, or no tokens at all: they name nobody.

use proptest::prelude::*;

use super::*;

#[test]
fn broken_tokens_name_nobody() {
    use TokenProblem::{Algorithm, Critical, Malformed, Signature, TooLong, UnknownKey};
    let bench = Bench::new(BOTH);
    let good = OURS.token(&header("RS256", "rsa"), &claims());
    let check = |token: &str, expected: Result<(), TokenProblem>| {
        assert_eq!(bench.verify(token).map(|_| ()), expected, "{token}");
    };
    check(&good, Ok(()));
    check("", Err(Malformed));
    check("..", Err(Malformed));
    check(&good.replace('.', ""), Err(Malformed));
    check(good.rsplit_once('.').unwrap().0, Err(Malformed));
    check(&format!("{good}.{good}"), Err(Malformed));
    check(&format!("{good}AAAA"), Err(Signature));
    check(&format!("{good}="), Err(Malformed));
    check(&format!("{good} "), Err(Malformed));
    check(&format!("*{good}"), Err(Malformed));
    // Too long by one octet, and just not.
    let long = |length: usize| {
        let token = OURS.token(
            &header("EdDSA", "ed"),
            &with(&json!({"x": "x".repeat(length)})),
        );
        (token.len(), token)
    };
    let (at_3, _) = long(3_000);
    let room = (MAX_TOKEN_BYTES - at_3) * 3 / 4;
    let (length, token) = long(3_000 + room);
    assert!(
        length > MAX_TOKEN_BYTES - 3 && length <= MAX_TOKEN_BYTES,
        "{length}"
    );
    check(&token, Ok(()));
    check(&long(3_003 + room).1, Err(TooLong));

    let none = |algorithm: &str| {
        let token = OURS.token(&header(algorithm, "rsa"), &claims());
        check(&token, Err(Algorithm));
    };
    none("none");
    none("None");
    none("rs256");
    none("RS512");
    none("PS256");
    check(
        &OURS.token(&json!({"kid": "rsa"}), &claims()),
        Err(Algorithm),
    );
    check(&OURS.token(&json!({"alg": 1}), &claims()), Err(Algorithm));
    check(&OURS.token(&json!([]), &claims()), Err(Malformed));

    // The right key for another name, and names that are none.
    check(
        &OURS.token(&header("RS256", "rsb"), &claims()),
        Err(UnknownKey),
    );
    check(
        &OURS.token(&header("RS256", "ec"), &claims()),
        Err(UnknownKey),
    );
    check(
        &OURS.token(&json!({"alg": "RS256", "kid": 7}), &claims()),
        Err(Malformed),
    );

    let critical = json!({"alg": "RS256", "kid": "rsa", "crit": ["b64"], "b64": false});
    check(&OURS.token(&critical, &claims()), Err(Critical));
    let uncritical = json!({"alg": "RS256", "kid": "rsa", "cty": "JWT", "jku": "https://a.test"});
    check(&OURS.token(&uncritical, &claims()), Ok(()));

    let payload = |text: &str, expected| {
        let token = OURS.token_of(&header("RS256", "rsa"), text.as_bytes());
        check(&token, expected);
    };
    let exp = NOW + 600;
    payload(&format!(r#"{{"sub":"a","exp":{exp}}}"#), Ok(()));
    payload(
        &format!(r#"{{"sub":"a","exp":{exp},"sub":"b"}}"#),
        Err(Malformed),
    );
    payload(
        &format!(r#"{{"sub":"a","exp":{exp}}}garbage"#),
        Err(Malformed),
    );
    payload(&format!(r#"{{"sub":"a","exp":{exp}"#), Err(Malformed));
    payload("[]", Err(Malformed));
    payload("", Err(Malformed));
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"sub":"a","exp":{exp},"x":{open}{close}}}"#)
    };
    payload(&nested(100), Ok(()));
    payload(&nested(2_000), Err(Malformed));
    let twice = r#"{"alg":"RS256","alg":"none","kid":"rsa"}"#;
    let (_, rest) = good.split_once('.').unwrap();
    check(
        &format!("{}.{rest}", encode(twice.as_bytes())),
        Err(Malformed),
    );
}

#[test]
fn a_public_key_is_never_a_secret() {
    let set = OURS.set();
    let n = set["keys"][0]["n"].as_str().unwrap();
    for settings in [
        "keys = 'keys.json'",
        BOTH,
        "keys = 'keys.json'\nsecret_file = 'secret'\nalgorithms = ['RS256', 'ES256', 'EdDSA', 'HS256']",
    ] {
        let bench = Bench::new(settings);
        let expected = if settings == "keys = 'keys.json'" {
            TokenProblem::Algorithm
        } else {
            TokenProblem::Signature
        };
        for secret in [
            OURS.rsa_der(),
            n.as_bytes(),
            &OURS.rsa_der()[9..265],
            b"",
            b"AQAB",
        ] {
            for kid in ["rsa", "ec", ""] {
                let token = with_secret(secret, &header("HS256", kid), &claims());
                assert_eq!(
                    bench.verify(&token).unwrap_err(),
                    expected,
                    "{settings} {kid}"
                );
            }
        }
    }
    // The mirror: the secret itself, where one is configured.
    let token = with_secret(&OURS.secret, &header("HS256", "rsa"), &claims());
    assert!(Bench::new(BOTH).verify(&token).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases * 2))]

    /// Whatever it is, without our signature it names nobody.
    #[test]
    fn any_bytes_as_a_token_name_nobody(
        text in ".{0,200}",
        part in "[A-Za-z0-9_-]",
        place in any::<prop::sample::Index>(),
    ) {
        let bench = Bench::new("keys = 'keys.json'");
        let verifier = bench.load().unwrap();
        prop_assert!(verifier.verify(&text, &hasher(), now()).is_err());
        // And a good one with any part of it changed.
        let token = OURS.token(&header("EdDSA", "ed"), &claims());
        let at = place.index(token.len());
        let changed = format!("{}{part}{}", &token[..at], &token[at + 1..]);
        if changed != token {
            prop_assert!(verifier.verify(&changed, &hasher(), now()).is_err(), "{}", changed);
        }
    }

    #[test]
    fn any_header_and_claims_are_answered(
        header in "[{}\\[\\]\":,a-z0-9 ]{0,40}",
        claims in "[{}\\[\\]\":,a-z0-9 ]{0,40}",
        algorithm in prop::sample::select(vec!["RS256", "ES256", "EdDSA", "HS256", "none"]),
    ) {
        let bench = Bench::new(BOTH);
        let verifier = bench.load().unwrap();
        let token = format!("{}.{}.AAAA", encode(header.as_bytes()), encode(claims.as_bytes()));
        prop_assert!(verifier.verify(&token, &hasher(), now()).is_err());
        let header = json!({"alg": algorithm});
        let token = OTHER.token_of(&header, claims.as_bytes());
        prop_assert!(verifier.verify(&token, &hasher(), now()).is_err());
    }
}
