//! A JWK Set (RFC 7517) of public keys (RFC 7518 section 6, RFC 8037 section 2). Keys for encryption
//! are passed over; anything else that cannot be used is an error, since a token that it signed
//! would be refused without a word.

use std::path::Path;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::keys::{KeyProblem, PublicKey, TokenKeysError};
use super::object::Object;
use super::settings::{Algorithm, JwtSettings};

/// Errors: [`TokenKeysError`], naming the file and the key by its index.
pub(super) fn parse(
    path: &Path,
    content: &[u8],
    settings: &JwtSettings,
) -> Result<Vec<PublicKey>, TokenKeysError> {
    let not_a_set = |problem: String| TokenKeysError::NotASet {
        path: path.to_owned(),
        problem,
    };
    // The message of the parser would show what stands there.
    let set = Object::parse(content).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        not_a_set(format!(
            "no JSON object, from line {line}, column {column} on"
        ))
    })?;
    let Some(Value::Array(keys)) = set.value("keys") else {
        return Err(not_a_set("there is no list `keys`".to_owned()));
    };
    let mut read: Vec<(usize, PublicKey)> = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        let at = |problem| TokenKeysError::Key {
            path: path.to_owned(),
            index,
            problem,
        };
        let key = match public_key(key, settings) {
            Ok(Some(key)) => key,
            Ok(None) => continue,
            Err(problem) => return Err(at(problem)),
        };
        let mut others = read.iter();
        if let Some((other, _)) = others.find(|(_, other)| key.id.is_some() && other.id == key.id) {
            return Err(at(KeyProblem::SameId(*other)));
        }
        read.push((index, key));
    }
    for (index, key) in &read {
        let alike = read
            .iter()
            .filter(|(_, other)| other.algorithm == key.algorithm);
        if key.id.is_none() && alike.count() > 1 {
            return Err(TokenKeysError::Key {
                path: path.to_owned(),
                index: *index,
                problem: KeyProblem::Nameless(key.algorithm.name()),
            });
        }
    }
    if read.is_empty() {
        return Err(not_a_set("it has no key for signatures".to_owned()));
    }
    Ok(read.into_iter().map(|(_, key)| key).collect())
}

/// `None` is a key for encryption.
fn public_key(key: &Value, settings: &JwtSettings) -> Result<Option<PublicKey>, KeyProblem> {
    let text = |name: &'static str| key.get(name).and_then(Value::as_str);
    if text("use") == Some("enc") {
        return Ok(None);
    }
    let kty = text("kty").ok_or(KeyProblem::Member("kty"))?;
    if kty == "oct" {
        return Err(KeyProblem::Symmetric);
    }
    if key.get("d").is_some() {
        return Err(KeyProblem::Private);
    }
    let crv = text("crv");
    // A key that does not name its algorithm has the one that its type is for.
    let implied = match (kty, crv) {
        ("RSA", _) => Algorithm::Rs256,
        ("EC", Some("P-256")) => Algorithm::Es256,
        ("OKP", Some("Ed25519")) => Algorithm::EdDsa,
        _ => return Err(KeyProblem::NotAllowed(kind(kty, crv))),
    };
    let named = text("alg");
    if let Some(named) = named.filter(|named| *named != implied.name()) {
        return Err(match Algorithm::parse(named) {
            Some(_) => KeyProblem::Mismatch {
                kty: kind(kty, crv),
                alg: named.to_owned(),
            },
            None => KeyProblem::NotAllowed(named.to_owned()),
        });
    }
    if !settings.allows(implied) {
        return Err(KeyProblem::NotAllowed(implied.name().to_owned()));
    }
    let id = match key.get("kid") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) => Some(id.clone()),
        Some(_) => return Err(KeyProblem::Member("kid")),
    };
    Ok(Some(PublicKey {
        id,
        algorithm: implied,
        key: material(implied, key)?,
    }))
}

fn material(algorithm: Algorithm, key: &Value) -> Result<ParsedPublicKey, KeyProblem> {
    let bytes = |name: &'static str| {
        let text = key.get(name).and_then(Value::as_str);
        text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
            .ok_or(KeyProblem::Member(name))
    };
    let coordinate = |name: &'static str| {
        let bytes = bytes(name)?;
        (bytes.len() == 32)
            .then_some(bytes)
            .ok_or(KeyProblem::Member(name))
    };
    let parsed = match algorithm {
        Algorithm::Rs256 => {
            let (n, e) = (bytes("n")?, bytes("e")?);
            // Some writers keep a zero octet before the number, which RFC 7518 section 6.3.1.1
            // forbids and readers forgive.
            let zeros = n.iter().take_while(|octet| **octet == 0).count();
            let n = &n[zeros..];
            let bits = 8 * n.len() - n.first().map_or(0, |first| first.leading_zeros() as usize);
            if !(2_048..=8_192).contains(&bits) {
                return Err(KeyProblem::Bits(bits));
            }
            RsaPublicKeyComponents { n, e: &e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
        }
        Algorithm::Es256 => {
            // SEC 1 section 2.3.3: an uncompressed point.
            let point = [vec![4], coordinate("x")?, coordinate("y")?].concat();
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        }
        Algorithm::EdDsa => ParsedPublicKey::new(&ED25519, coordinate("x")?),
        // No key of a set is for it: see `public_key`.
        Algorithm::Hs256 => return Err(KeyProblem::Symmetric),
    };
    parsed.map_err(|_rejected| KeyProblem::Invalid)
}

fn kind(kty: &str, crv: Option<&str>) -> String {
    match crv {
        Some(crv) => format!("{kty} {crv}"),
        None => kty.to_owned(),
    }
}
