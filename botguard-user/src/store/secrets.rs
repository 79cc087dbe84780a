//! The daemon's own secret: made once from the kernel's randomness, kept in `state_dir/secrets`
//! (0600). Apart from the store, so that a corrupt store does not change what keys are called.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Length of each secret: that of HMAC-SHA-256's output (RFC 2104 section 3 advises no less).
pub const SECRET_BYTES: usize = 32;

/// Keys of keyed hashes. Does not print its contents.
#[derive(Clone, Eq, PartialEq)]
pub struct Secrets {
    /// Hashes API keys and other identifiers for records.
    pub key_hash: [u8; SECRET_BYTES],
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

/// The secrets could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// A file operation failed. The configuration's fault.
    #[error("cannot use {}: {source}; check `state_dir` and its permissions", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others may read the file. The operator's fault.
    #[error("{} has mode {mode:04o}, others may read it; run `chmod 0600` on it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is not a name and 64 hexadecimal digits.
    #[error(
        "{}:1: expected `key_hash` and 64 hexadecimal digits; restore the file, or remove it to make new secrets (keys get new hashes)",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The kernel gave no randomness. Internal.
    #[error("the kernel's random number generator failed")]
    Random,
}

impl Secrets {
    /// Reads `state_dir/secrets`, or makes it.
    pub fn load_or_create(state_dir: &Path) -> Result<Self, SecretsError> {
        let path = state_dir.join("secrets");
        match fs::read_to_string(&path) {
            Ok(text) => {
                let mode = fs::metadata(&path).map_err(at(&path))?.permissions().mode() & 0o777;
                if mode & 0o077 != 0 {
                    return Err(SecretsError::Exposed { path, mode });
                }
                Self::parse(&text, &path)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secrets = Self {
                    key_hash: random_secret()?,
                };
                match secrets.write(state_dir, &path) {
                    // Somebody else made them at the same time, and these are good.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        Self::load_or_create(state_dir)
                    }
                    written => written.map(|()| secrets).map_err(at(&path)),
                }
            }
            Err(source) => Err(SecretsError::Io { path, source }),
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Self, SecretsError> {
        let key_hash = text
            .strip_prefix(KEY_HASH)
            .and_then(|rest| from_hex(rest.strip_prefix(' ')?))
            .ok_or_else(|| SecretsError::Malformed {
                path: path.to_owned(),
            })?;
        Ok(Self { key_hash })
    }

    /// Written aside and linked: a crash leaves either no secrets or whole ones, and what is there
    /// already is never replaced.
    fn write(&self, state_dir: &Path, path: &Path) -> io::Result<()> {
        let aside = state_dir.join(format!("secrets.new-{}", std::process::id()));
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&aside)?;
        writeln!(file, "{KEY_HASH} {}", to_hex(&self.key_hash))?;
        file.sync_all()?;
        let linked = fs::hard_link(&aside, path);
        fs::remove_file(&aside)?;
        linked?;
        File::open(state_dir)?.sync_all()
    }
}

const KEY_HASH: &str = "key_hash";

fn at(path: &Path) -> impl FnOnce(io::Error) -> SecretsError {
    let path = path.to_owned();
    move |source| SecretsError::Io { path, source }
}

/// A new secret from the kernel's randomness.
pub fn random_secret() -> Result<[u8; SECRET_BYTES], SecretsError> {
    let mut bytes = [0; SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_unspecified| SecretsError::Random)?;
    Ok(bytes)
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; SECRET_BYTES]> {
    let text = text.trim_end();
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) || text.len() != 2 * SECRET_BYTES {
        return None;
    }
    let mut bytes = [0; SECRET_BYTES];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_once_and_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let first = Secrets::load_or_create(directory.path()).unwrap();
        assert_eq!(Secrets::load_or_create(directory.path()).unwrap(), first);
        let mode = fs::metadata(directory.path().join("secrets")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn whoever_comes_second_takes_those_that_are_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secrets");
        let first = Secrets::load_or_create(directory.path()).unwrap();
        let second = Secrets {
            key_hash: [7; SECRET_BYTES],
        };
        let error = second.write(directory.path(), &path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(Secrets::load_or_create(directory.path()).unwrap(), first);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn damage_and_exposure_are_refused() {
        let check = |text: &str, mode: u32, expected: &str| {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("secrets");
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = Secrets::load_or_create(directory.path()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        };
        let hex = "0".repeat(64);
        check(
            &format!("key_hash {hex}\ntoken {hex}\n"),
            0o644,
            "chmod 0600",
        );
        check(&format!("hash {hex}\n"), 0o600, ":1: expected `key_hash`");
        check("key_hash xyz\n", 0o600, ":1: expected `key_hash`");
        check(&format!("key_hash {}\n", "+1".repeat(32)), 0o600, ":1:");
    }
}
