//! The daemon's own secrets: made once from the kernel's randomness, kept in `state_dir/secrets`
//! (0600), one a line. Apart from the store, so that a corrupt store does not change what keys are
//! called. A file of an earlier version lacks the later lines; they are added, and the first stays.

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
    /// Signs the clearance of those who solved a challenge, so that it outlives the daemon.
    pub clearance: [u8; SECRET_BYTES],
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
    /// A line is not a name and 64 hexadecimal digits.
    #[error(
        "{}:{line}: expected `{name}` and 64 hexadecimal digits; restore the file, or remove it to make new secrets (keys get new hashes)",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where in it, from 1.
        line: usize,
        /// What the line should begin with.
        name: &'static str,
    },
    /// There is more in the file than secrets of this version.
    #[error(
        "{}:{line}: nothing is expected here; remove the line, or run the version that wrote it",
        path.display()
    )]
    Excess {
        /// The file.
        path: PathBuf,
        /// Where in it, from 1.
        line: usize,
    },
    /// The kernel gave no randomness. Internal.
    #[error("the kernel's random number generator failed")]
    Random,
}

impl Secrets {
    /// Reads `state_dir/secrets`, and makes what it lacks.
    pub fn load_or_create(state_dir: &Path) -> Result<Self, SecretsError> {
        let path = state_dir.join("secrets");
        let (key_hash, clearance) = match fs::read_to_string(&path) {
            Ok(text) => {
                let mode = fs::metadata(&path).map_err(at(&path))?.permissions().mode() & 0o777;
                if mode & 0o077 != 0 {
                    return Err(SecretsError::Exposed { path, mode });
                }
                let (key_hash, clearance) = parse(&text, &path)?;
                (Some(key_hash), clearance)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, None),
            Err(source) => return Err(SecretsError::Io { path, source }),
        };
        let is_whole = key_hash.is_some() && clearance.is_some();
        let secrets = Self {
            key_hash: key_hash.map_or_else(random_secret, Ok)?,
            clearance: clearance.map_or_else(random_secret, Ok)?,
        };
        if !is_whole {
            secrets.write(state_dir, &path).map_err(at(&path))?;
        }
        Ok(secrets)
    }

    /// Written aside and renamed: a crash leaves either no secrets or whole ones.
    fn write(&self, state_dir: &Path, path: &Path) -> io::Result<()> {
        let aside = state_dir.join("secrets.new");
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&aside)?;
        writeln!(file, "{KEY_HASH} {}", to_hex(&self.key_hash))?;
        writeln!(file, "{CLEARANCE} {}", to_hex(&self.clearance))?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        File::open(state_dir)?.sync_all()
    }
}

/// The first secret, and the second where there is one yet.
fn parse(text: &str, path: &Path) -> Result<(Secret, Option<Secret>), SecretsError> {
    let secret = |line: usize, text: &str, name: &'static str| {
        (text.strip_prefix(name))
            .and_then(|rest| from_hex(rest.strip_prefix(' ')?))
            .ok_or_else(|| SecretsError::Malformed {
                path: path.to_owned(),
                line,
                name,
            })
    };
    let mut lines = text.lines();
    let key_hash = secret(1, lines.next().unwrap_or_default(), KEY_HASH)?;
    let clearance = (lines.next())
        .map(|line| secret(2, line, CLEARANCE))
        .transpose()?;
    match lines.next() {
        None => Ok((key_hash, clearance)),
        Some(_excess) => Err(SecretsError::Excess {
            path: path.to_owned(),
            line: 3,
        }),
    }
}

type Secret = [u8; SECRET_BYTES];

const KEY_HASH: &str = "key_hash";
const CLEARANCE: &str = "clearance";

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
    fn a_file_of_an_earlier_version_gets_what_it_lacks() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secrets");
        let old = format!("key_hash {}\n", "0a".repeat(32));
        fs::write(&path, &old).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let secrets = Secrets::load_or_create(directory.path()).unwrap();
        assert_eq!(secrets.key_hash, [10; 32]);
        assert_ne!(secrets.clearance, [0; 32]);
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with(&old) && text.lines().count() == 2,
            "{text}"
        );
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(Secrets::load_or_create(directory.path()).unwrap(), secrets);
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
        check("", 0o600, ":1: expected `key_hash`");
        let first = format!("key_hash {hex}\n");
        check(&format!("{first}\n"), 0o600, ":2: expected `clearance`");
        check(
            &format!("{first}token {hex}\n"),
            0o600,
            ":2: expected `clearance`",
        );
        check(
            &format!("{first}clearance {hex}\nx\n"),
            0o600,
            ":3: nothing is expected",
        );
    }
}
