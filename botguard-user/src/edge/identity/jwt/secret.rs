//! `secret_file`: up to two secrets of HS256, one a line, so that one can follow the other.

use std::path::Path;

use aws_lc_rs::hmac;

use super::keys::{Secret, TokenKeysError};

/// As many bytes as the hash has (RFC 7518 section 3.2).
const MIN_BYTES: usize = 32;

const MAX_SECRETS: usize = 2;

/// Errors: a line that is no secret, or too many; the message does not say what stands there.
pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<Secret>, TokenKeysError> {
    let at = |line, problem| TokenKeysError::Secret {
        path: path.to_owned(),
        line,
        problem,
    };
    let mut secrets: Vec<Secret> = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() {
            continue;
        }
        let (id, digits) = match text.rsplit_once(':') {
            Some((id, digits)) => (Some(id), digits),
            None => (None, text),
        };
        let bytes = from_hex(digits).ok_or_else(|| {
            at(
                line,
                "is not a secret; write its bytes in hexadecimal, or kid:hexadecimal",
            )
        })?;
        if bytes.len() < MIN_BYTES {
            return Err(at(
                line,
                "is shorter than 32 bytes; take `openssl rand -hex 32`",
            ));
        }
        if id.is_some() && secrets.iter().any(|secret| secret.id.as_deref() == id) {
            return Err(at(
                line,
                "has the kid of the other secret; give each its own",
            ));
        }
        if secrets.len() == MAX_SECRETS {
            return Err(at(
                line,
                "is a third secret; keep the new one and the one before",
            ));
        }
        secrets.push(Secret {
            id: id.map(ToOwned::to_owned),
            key: hmac::Key::new(hmac::HMAC_SHA256, &bytes),
        });
    }
    if secrets.is_empty() {
        return Err(at(1, "has no secret; write one a line, in hexadecimal"));
    }
    Ok(secrets)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    text.as_bytes()
        .chunks_exact(2)
        .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())
        .collect()
}
