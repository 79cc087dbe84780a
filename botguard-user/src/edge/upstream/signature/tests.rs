//! What is signed; the vectors are those that applications test against.

use std::os::unix::fs::PermissionsExt as _;

use http::Request;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Vectors {
    signature: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    secret_file: String,
    seconds: u64,
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    client: String,
    signing_input: String,
    header: String,
}

fn load(text: &str) -> SigningKeys {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    SigningKeys::load(&path).unwrap()
}

fn head(method: &str, target: &str, fields: &[(String, String)]) -> Parts {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in fields {
        request = request.header(name, value);
    }
    request.body(()).unwrap().into_parts().0
}

/// The signature of a request, and its input, which the fields alone are enough to make again.
fn signed(vector: &Vector, keys: &SigningKeys) -> (String, String) {
    let mut head = head(&vector.method, &vector.target, &vector.fields);
    let now = Wall::from_unix_ms(vector.seconds * 1_000 + 999);
    sign(&mut head, vector.client.parse().unwrap(), keys, now);
    assert_eq!(head.headers[&CLIENT], vector.client);
    let signature = head.headers[&SIGNATURE].to_str().unwrap().to_owned();
    let input = signing_input(&Signed {
        id: keys.signing_id(),
        seconds: vector.seconds,
        request_id: field(&head.headers, &REQUEST_ID),
        method: &vector.method,
        authority: field(&head.headers, &HOST),
        target: &vector.target,
        client: field(&head.headers, &CLIENT),
        score: field(&head.headers, &SCORE),
        action: field(&head.headers, &ACTION),
        signals: field(&head.headers, &SIGNALS),
    });
    (signature, input)
}

#[test]
fn the_vectors_of_the_documentation_hold() {
    let text = include_str!("../../../../../tests/sdk/vectors.json");
    let vectors: Vectors = serde_json::from_str(text).unwrap();
    assert_eq!(vectors.signature.len(), 3);
    for vector in &vectors.signature {
        let (signature, input) = signed(vector, &load(&vector.secret_file));
        assert_eq!(input, vector.signing_input);
        assert_eq!(signature, vector.header);
    }
    let page = include_str!("../../../../../docs/signature.md");
    let worked = &vectors.signature[0];
    for part in [&worked.signing_input, &worked.header, &worked.client] {
        assert!(page.contains(part.as_str()), "{part}");
    }
}

#[test]
fn every_part_is_signed() {
    let text = include_str!("../../../../../tests/sdk/vectors.json");
    let vectors = || serde_json::from_str::<Vectors>(text).unwrap().signature;
    let original = vectors().swap_remove(0);
    let keys = load(&original.secret_file);
    let tag = |vector: &Vector, keys: &SigningKeys| {
        let (signature, _) = signed(vector, keys);
        signature.rsplit_once("s=").unwrap().1.to_owned()
    };
    let genuine = tag(&original, &keys);
    let check = |change: &dyn Fn(&mut Vector)| {
        let mut changed = vectors().swap_remove(0);
        change(&mut changed);
        assert_ne!(tag(&changed, &keys), genuine);
    };
    check(&|vector| vector.seconds += 1);
    check(&|vector| vector.method = "PUT".to_owned());
    check(&|vector| vector.target.push('1'));
    check(&|vector| vector.client = "192.0.2.2".to_owned());
    for at in 0..original.fields.len() {
        check(&|vector| vector.fields[at].1.push('0'));
        check(&|vector| drop(vector.fields.remove(at)));
    }
    // The same key by another name.
    let renamed = load(&original.secret_file.replace("k1:", "k2:"));
    assert_ne!(tag(&original, &renamed), genuine);
    // A second key verifies, but does not sign.
    let two = load(&format!("{}k0:{}\n", original.secret_file, "07".repeat(32)));
    assert_eq!(tag(&original, &two), genuine);
}

#[test]
fn what_a_client_claims_is_replaced() {
    let text = include_str!("../../../../../tests/sdk/vectors.json");
    let vectors: Vectors = serde_json::from_str(text).unwrap();
    let mut vector = vectors.signature.into_iter().next().unwrap();
    let forged = [("botguard-signature", "v1"), ("botguard-client", "::1")];
    let forged = forged.map(|(name, value)| (name.to_owned(), value.to_owned()));
    vector.fields.extend(forged);
    let (signature, _) = signed(&vector, &load(&vector.secret_file));
    assert_eq!(signature, vector.header);
}
