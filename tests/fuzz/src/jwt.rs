//! Tokens, as clients send them: whatever they are, without a signature they name nobody and are
//! redacted.

use std::sync::LazyLock;

use botguard::edge::identity::jwt::{JwtSettings, TokenVerifier};
use botguard::edge::identity::{IdentitySettings, KeyHasher, UserSource, find_token};
use botguard::edge::redact::Redactor;
use botguard::words::clock::Wall;
use http::{HeaderMap, HeaderValue};

/// The public key of RFC 8037 appendix A.2. Its private key is published too; the one message that
/// is signed with it there, a seed here, is no claims.
const KEY_SET: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519",
    "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// Settings, keys, and hasher.
static JUDGES: LazyLock<(IdentitySettings, TokenVerifier, KeyHasher)> = LazyLock::new(|| {
    let path = std::env::temp_dir().join(format!("botguard-fuzz-{}.json", std::process::id()));
    let written = std::fs::write(&path, KEY_SET);
    let settings = IdentitySettings {
        user: vec![UserSource::Jwt("sub".to_owned())],
        jwt: JwtSettings {
            keys: Some(path.clone()),
            ..JwtSettings::default()
        },
        ..IdentitySettings::default()
    };
    let verifier = TokenVerifier::load(&settings);
    let _removed = std::fs::remove_file(&path);
    match (written, verifier) {
        (Ok(()), Ok(verifier)) => (settings, verifier, KeyHasher::new(&[7; 32])),
        (written, verifier) => panic!("{}: {written:?} {verifier:?}", path.display()),
    }
});

/// # Panics
///
/// A token is believed, or can be read in what is kept of its request.
pub fn check(bytes: &[u8]) {
    let (settings, verifier, hasher) = &*JUDGES;
    let text = String::from_utf8_lossy(bytes);
    let now = Wall::from_unix_ms(1_795_600_000_000);
    let verified = verifier.verify(&text, hasher, now);
    assert!(verified.is_err(), "{verified:?}");

    let Ok(value) = HeaderValue::from_bytes(&[b"Bearer ", bytes].concat()) else {
        return;
    };
    let mut headers = HeaderMap::new();
    headers.insert("x-copy", value.clone());
    headers.insert("authorization", value);
    let secrets = settings.secrets(&headers, "");
    let visitor = settings.visitor((&headers, ""), None, (hasher, verifier), now);
    assert_eq!(visitor.user, None);
    let redactor = Redactor::new((settings, hasher), &secrets, None);
    for [name, value] in redactor.headers(&headers).iter() {
        assert!(find_token(value).is_none(), "{name}: {value}");
    }
}

/// RFC 8037 appendix A.4, RFC 7515 appendices A.1 and A.5, and such as are broken.
pub fn seeds() -> impl Iterator<Item = Vec<u8>> {
    [
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
        "eyJhbGciOiJFZERTQSJ9.e30.AAAA",
        "eyJhbGciOiJFZERTQSJ9.e30",
        "..",
        "eyJhbGciOiJFZERTQSJ9%2Ee30%2EAAAA",
        "see eyJhbGciOiJFZERTQSJ9.e30.AAAA?a=b",
    ]
    .into_iter()
    .map(|token| token.as_bytes().to_vec())
}
