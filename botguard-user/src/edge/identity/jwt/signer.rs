//! An issuer for tests: real keys of all four algorithms, made once, and tokens signed with them.

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Keys of one issuer.
pub(crate) struct Issuer {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    pub(crate) secret: [u8; 32],
}

/// Whose keys are configured.
pub(crate) static OURS: LazyLock<Issuer> = LazyLock::new(|| Issuer::new([1; 32]));
/// Whose are not.
pub(crate) static OTHER: LazyLock<Issuer> = LazyLock::new(|| Issuer::new([2; 32]));

impl Issuer {
    fn new(secret: [u8; 32]) -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            ed: Ed25519KeyPair::generate().unwrap(),
            secret,
        }
    }

    /// The public keys, named `rsa`, `ec` and `ed`.
    pub(crate) fn set(&self) -> Value {
        json!({"keys": [self.rsa_key(), self.ec_key(), self.ed_key()]})
    }

    pub(crate) fn rsa_key(&self) -> Value {
        // RSAPublicKey (RFC 8017 appendix A.1.1) of 2048 bits: the number is at 9, after its zero.
        let n = &self.rsa_der()[9..265];
        json!({"kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256",
               "n": encode(n), "e": "AQAB"})
    }

    pub(crate) fn rsa_der(&self) -> &[u8] {
        self.rsa.public_key().as_ref()
    }

    pub(crate) fn ec_key(&self) -> Value {
        let point = self.ec.public_key().as_ref();
        json!({"kty": "EC", "crv": "P-256", "kid": "ec",
               "x": encode(&point[1..33]), "y": encode(&point[33..])})
    }

    pub(crate) fn ed_key(&self) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed", "alg": "EdDSA",
               "x": encode(self.ed.public_key().as_ref())})
    }

    /// The content of a secret file.
    pub(crate) fn secret_file(&self) -> String {
        let digits = self.secret.iter().map(|octet| format!("{octet:02x}"));
        digits.collect::<String>() + "\n"
    }

    /// A token of this header and these claims, signed as its header says.
    pub(crate) fn token(&self, header: &Value, claims: &Value) -> String {
        self.token_of(header, claims.to_string().as_bytes())
    }

    pub(crate) fn token_of(&self, header: &Value, claims: &[u8]) -> String {
        let signed = format!(
            "{}.{}",
            encode(header.to_string().as_bytes()),
            encode(claims)
        );
        let signature = match header["alg"].as_str() {
            Some("RS256") => self.rsa(signed.as_bytes()),
            Some("ES256") => self.ec(signed.as_bytes()),
            Some("EdDSA") => self.ed.sign(signed.as_bytes()).as_ref().to_vec(),
            Some("HS256") => mac(&self.secret, signed.as_bytes()),
            _ => Vec::new(),
        };
        format!("{signed}.{}", encode(&signature))
    }

    fn rsa(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.rsa.public_modulus_len()];
        let random = SystemRandom::new();
        (self.rsa)
            .sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
            .unwrap();
        signature
    }

    fn ec(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.ec.sign(&SystemRandom::new(), message).unwrap();
        signature.as_ref().to_vec()
    }
}

/// A token signed as HS256 with any bytes.
pub(crate) fn with_secret(secret: &[u8], header: &Value, claims: &Value) -> String {
    let signed = [header, claims].map(|part| encode(part.to_string().as_bytes()));
    let signed = signed.join(".");
    let signature = encode(&mac(secret, signed.as_bytes()));
    format!("{signed}.{signature}")
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn mac(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hmac::sign(&key, message).as_ref().to_vec()
}
