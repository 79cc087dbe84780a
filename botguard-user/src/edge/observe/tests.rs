//! What is believed, and what is not; the vectors are those that applications test against.

use std::os::unix::fs::PermissionsExt as _;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Vectors {
    observe: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    secret: String,
    request_id: String,
    members: String,
    signing_input: String,
    header: String,
    observed: Expected,
}

#[derive(Deserialize)]
struct Expected {
    user: Option<String>,
    owner: Option<String>,
    records: Option<u64>,
    login: Option<Login>,
    fresh_auth: bool,
}

const FIRST: [u8; 32] = [1; 32];
const SECOND: [u8; 32] = [2; 32];

fn load(text: &str) -> SigningKeys {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    SigningKeys::load(&path).unwrap()
}

fn keys() -> SigningKeys {
    load(&format!("a:{}\nb:{}\n", "01".repeat(32), "02".repeat(32)))
}

/// A field as the application would send it, signed for the request `r-1`.
fn signed(members: &str) -> String {
    signed_by(&FIRST, "r-1", members)
}

fn signed_by(secret: &[u8], request_id: &str, members: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let input = format!("observe v1\n{request_id}\n{members}");
    let sig = STANDARD.encode(hmac::sign(&key, input.as_bytes()));
    let comma = if members.is_empty() { "" } else { ", " };
    format!("{members}{comma}sig=:{sig}:")
}

fn hash(name: &str) -> Option<UserHash> {
    Some(UserHash(name.bytes().map(u128::from).sum()))
}

#[test]
fn the_vectors_of_the_documentation_hold() {
    let text = include_str!("../../../../tests/sdk/vectors.json");
    let vectors: Vectors = serde_json::from_str(text).unwrap();
    assert_eq!(vectors.observe.len(), 3);
    for vector in &vectors.observe {
        let keys = load(&format!("k1:{}\n", vector.secret));
        let members: Dictionary = Parser::new(&vector.members).parse().unwrap();
        let input = signing_input(&vector.request_id, &members);
        assert_eq!(input, vector.signing_input);
        let observed = believe(vector.header.as_bytes(), &keys, &vector.request_id).unwrap();
        let expected = &vector.observed;
        assert_eq!(observed.user, expected.user);
        assert_eq!(observed.owner, expected.owner);
        assert_eq!(observed.records, expected.records);
        assert_eq!(observed.login, expected.login);
        assert_eq!(observed.fresh_auth, expected.fresh_auth);
    }
    let page = include_str!("../../../../docs/observe.md");
    let worked = &vectors.observe[0];
    for part in [&worked.secret, &worked.signing_input, &worked.header] {
        assert!(page.contains(part.as_str()), "{part}");
    }
}

#[test]
fn only_what_is_signed_for_this_request_is_believed() {
    let check = |field: &str, expected: Result<(), Disbelief>| {
        let outcome = believe(field.as_bytes(), &keys(), "r-1").map(|_observed| ());
        assert_eq!(outcome, expected, "{field}");
    };
    let members = "user=\"alice\", records=3";
    check(&signed(members), Ok(()));
    check(&signed_by(&SECOND, "r-1", members), Ok(()));
    check(&signed(""), Ok(()));
    // Order is the application's, and `sig` may stand anywhere.
    let (before, sig) = signed(members)
        .rsplit_once(", ")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    check(&format!("{sig}, {before}"), Ok(()));
    check(&format!("user=\"alice\",{sig} ,\trecords=3"), Ok(()));
    check(
        &format!("records=3, user=\"alice\", {sig}"),
        Err(Disbelief::BadSignature),
    );

    check(members, Err(Disbelief::Unsigned));
    check(
        &signed_by(&[3; 32], "r-1", members),
        Err(Disbelief::BadSignature),
    );
    check(
        &signed_by(&FIRST, "r-2", members),
        Err(Disbelief::BadSignature),
    );
    check(
        &signed(members).replace("=3", "=4"),
        Err(Disbelief::BadSignature),
    );
    check(
        &format!("fresh_auth, {}", signed(members)),
        Err(Disbelief::BadSignature),
    );
    check(&format!("{members}, sig=::"), Err(Disbelief::BadSignature));
    check(
        &format!("records=3, {}", signed(members)),
        Err(Disbelief::Doubled),
    );
    check(
        &format!("{}, {sig}", signed(members)),
        Err(Disbelief::Doubled),
    );
    check(&format!("{members}, sig=\"x\""), Err(Disbelief::Malformed));
    check(&format!("{members}, sig"), Err(Disbelief::Malformed));
    check("user=alice=", Err(Disbelief::Malformed));
    check(&"a".repeat(4_097), Err(Disbelief::Malformed));
}

#[test]
fn members_have_their_types() {
    let check = |members: &str, expected: Option<Observation>| {
        let observed = believe(signed(members).as_bytes(), &keys(), "r-1");
        let observation = observed.map(|observed| observed.kept(hash));
        assert_eq!(
            observation,
            expected.ok_or(Disbelief::Malformed),
            "{members}"
        );
    };
    let nothing = Observation::default();
    check("", Some(nothing));
    check(
        "user=\"a\", owner=%\"%c3%bc\"",
        Some(Observation {
            user: hash("a"),
            owner: hash("ü"),
            ..nothing
        }),
    );
    check(
        "records=0",
        Some(Observation {
            records: Some(0),
            ..nothing
        }),
    );
    check(
        "login=ok",
        Some(Observation {
            login: Some(Login::Ok),
            ..nothing
        }),
    );
    check(
        "login=fail;x=1",
        Some(Observation {
            login: Some(Login::Fail),
            ..nothing
        }),
    );
    check(
        "login=unknown_user",
        Some(Observation {
            login: Some(Login::UnknownUser),
            ..nothing
        }),
    );
    check(
        "fresh_auth",
        Some(Observation {
            fresh_auth: true,
            ..nothing
        }),
    );
    check("fresh_auth=?0", Some(nothing));
    check("later=(1 2), other=@7", Some(nothing));
    check("user=alice", None);
    check("user=\"\"", None);
    check("user", None);
    check("owner=7", None);
    check("records=-1", None);
    check("records=1.0", None);
    check("records=(1)", None);
    check("login=\"ok\"", None);
    check("login=maybe", None);
    check("fresh_auth=1", None);
}

#[test]
fn an_upstream_that_is_not_believed_says_nothing() {
    let value = HeaderValue::from_str(&signed("records=3")).unwrap();
    let headers = HeaderMap::from_iter([(FIELD, value)]);
    assert!(read(&headers, None, "r-1").is_none());
    assert!(read(&headers, Some(&keys()), "r-1").is_some());
    assert!(read(&HeaderMap::new(), Some(&keys()), "r-1").is_none());
    // Several fields are one.
    let mut headers = HeaderMap::new();
    let whole = signed("user=\"a\", records=3");
    for part in whole.split(", ") {
        headers.append(FIELD, part.parse().unwrap());
    }
    assert_eq!(headers.len(), 3);
    assert!(read(&headers, Some(&keys()), "r-1").is_some());
}

proptest! {
    /// Whatever stands there, nothing panics, and nothing that is not signed is believed.
    #[test]
    fn garbage_is_not_believed(field in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(believe(&field, &keys(), "r-1").is_err());
    }

    /// Dictionaries of all shapes are not either.
    #[test]
    fn forged_dictionaries_are_not_believed(
        field in "((user|records|sig|x)=(\"a\"|1|ok|:AAAA:|\\?1|\\(1 2\\))(;p=1)?(, )?){0,6}",
    ) {
        prop_assert!(believe(field.as_bytes(), &keys(), "r-1").is_err());
    }

    /// Whatever is changed in a signed field, it is not believed, or says the same: white space
    /// and the last bits of base64 say nothing.
    #[test]
    fn a_changed_byte_changes_nothing(
        records in 0_u64..1_000_000,
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let field = signed(&format!("user=\"alice\", records={records}"));
        let observed = believe(field.as_bytes(), &keys(), "r-1").unwrap();
        prop_assert_eq!(observed.records, Some(records));
        let mut bytes = field.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(changed) = believe(&bytes, &keys(), "r-1") {
            prop_assert_eq!(changed, observed);
        }
    }
}
