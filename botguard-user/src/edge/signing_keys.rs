//! `secret_file` of an upstream: one or two keys that botguard and the application share. Two, so
//! that one can be exchanged without a moment at which both sides disagree.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;

/// The keys, in the order of the file: the first signs, any verifies.
pub(super) struct SigningKeys {
    signing_id: String,
    signing: hmac::Key,
    /// While keys are exchanged.
    other: Option<hmac::Key>,
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKeys")
    }
}

/// A `secret_file` that cannot be used. The operator's fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum SigningKeysError {
    #[error("secret_file {} cannot be read: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("secret_file {} has mode {mode:04o}, others may read it; run `chmod 0600` on it", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error(
        "secret_file {}:{line}: expected a key id, a colon and 64 to 128 hexadecimal digits, as in \
         \"k1:$(openssl rand -hex 32)\"",
        path.display()
    )]
    Malformed { path: PathBuf, line: usize },
    #[error("secret_file {}:{line}: the key id stands there twice; give each its own", path.display())]
    Doubled { path: PathBuf, line: usize },
    #[error("secret_file {} holds {n_keys} keys; write one, or two while one is exchanged", path.display())]
    Count { path: PathBuf, n_keys: usize },
}

impl SigningKeys {
    /// Reads the file.
    ///
    /// Errors: [`SigningKeysError`]; none tells what stands in it.
    pub(super) fn load(path: &Path) -> Result<Self, SigningKeysError> {
        let unreadable = |error: std::io::Error| SigningKeysError::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let mut file = File::open(path).map_err(unreadable)?;
        // Of what was opened, which a name may not be any more.
        let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let path = path.to_owned();
            return Err(SigningKeysError::Exposed { path, mode });
        }
        let mut text = String::new();
        (&mut file)
            .take(MAX_BYTES)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, SigningKeysError> {
        let path = || path.to_owned();
        let mut keys: Vec<(String, hmac::Key)> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            let (id, key) = line_key(line).ok_or_else(|| SigningKeysError::Malformed {
                path: path(),
                line: line_number,
            })?;
            if keys.iter().any(|(other, _)| other == id) {
                let line = line_number;
                return Err(SigningKeysError::Doubled { path: path(), line });
            }
            keys.push((id.to_owned(), key));
        }
        let n_keys = keys.len();
        let mut keys = keys.into_iter();
        match (keys.next(), keys.next(), keys.next()) {
            (Some((signing_id, signing)), other, None) => Ok(Self {
                signing_id,
                signing,
                other: other.map(|(_id, key)| key),
            }),
            _ => Err(SigningKeysError::Count {
                path: path(),
                n_keys,
            }),
        }
    }

    /// Whether one of the keys made `tag` over `message`; compared in constant time.
    pub(super) fn verify(&self, message: &[u8], tag: &[u8]) -> bool {
        let mut keys = std::iter::once(&self.signing).chain(&self.other);
        keys.any(|key| hmac::verify(key, message, tag).is_ok())
    }

    /// Whether the keys are those of `other`, in their order.
    pub(super) fn are_as(&self, other: &Self) -> bool {
        let tag = |key: &hmac::Key| hmac::sign(key, b"").as_ref().to_vec();
        self.signing_id == other.signing_id
            && tag(&self.signing) == tag(&other.signing)
            && self.other.as_ref().map(tag) == other.other.as_ref().map(tag)
    }

    /// The id of the key that signs.
    pub(super) fn signing_id(&self) -> &str {
        &self.signing_id
    }

    /// The tag of the key that signs.
    pub(super) fn sign(&self, message: &[u8]) -> hmac::Tag {
        hmac::sign(&self.signing, message)
    }
}

fn line_key(line: &str) -> Option<(&str, hmac::Key)> {
    let (id, digits) = line.trim_end().split_once(':')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    let is_id = (1..=32).contains(&id.len()) && id.bytes().all(plain);
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    // RFC 2104 section 3 advises no less than the hash's length, and no more than its block.
    let is_long = (64..=128).contains(&digits.len()) && digits.len().is_multiple_of(2);
    if !(is_id && is_hex && is_long) {
        return None;
    }
    let bytes: Option<Vec<u8>> = (digits.as_bytes().chunks_exact(2))
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    Some((id, hmac::Key::new(hmac::HMAC_SHA256, &bytes?)))
}

/// Two lines are less.
const MAX_BYTES: u64 = 4_096;

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn files_are_checked() {
        let hex = "0a".repeat(32);
        let check = |text: &str, mode: u32, expected: Option<&str>| {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("secret");
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = SigningKeys::load(&path)
                .err()
                .map(|error| error.to_string());
            match (&error, expected) {
                (None, None) => {}
                (Some(error), Some(part)) => {
                    assert!(error.contains(part), "{error}");
                    assert!(!error.contains(&hex), "{error}");
                }
                _ => panic!("{text}: {error:?}"),
            }
        };
        check(&format!("k1:{hex}\n"), 0o600, None);
        check(&format!("k1:{hex}\nk-2:{hex}{hex}"), 0o400, None);
        check(&format!("k1:{hex}\n"), 0o640, Some("chmod 0600"));
        check(&format!("k1:{hex}\n"), 0o604, Some("has mode 0604"));
        check("", 0o600, Some("holds 0 keys"));
        let three = format!("a:{hex}\nb:{hex}\nc:{hex}\n");
        check(&three, 0o600, Some("holds 3 keys"));
        check(
            &format!("k1:{hex}\nk1:{hex}\n"),
            0o600,
            Some(":2: the key id"),
        );
        check(&hex, 0o600, Some(":1: expected a key id"));
        check(&format!("k1:{hex}\n\n"), 0o600, Some(":2: expected"));
        check(&format!("k 1:{hex}\n"), 0o600, Some(":1: expected"));
        check(&format!(":{hex}\n"), 0o600, Some(":1: expected"));
        check(&format!("k1:{}\n", &hex[2..]), 0o600, Some(":1: expected"));
        check(&format!("k1:{hex}0\n"), 0o600, Some(":1: expected"));
        check(&format!("k1:+{}\n", &hex[1..]), 0o600, Some(":1: expected"));
        let missing = SigningKeys::load(Path::new("/nonexistent/secret")).unwrap_err();
        assert!(missing.to_string().contains("cannot be read"), "{missing}");
    }
}
