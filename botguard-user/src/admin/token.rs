//! The token that lets a program operate botguard over HTTP. Read from a file that only its owner
//! may read; kept as a hash, so that no dump of memory or log has it.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};

/// A token. Does not print.
#[derive(Clone)]
pub struct Token(Digest);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// There is no token to be had from the file. The operator's fault.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read.
    #[error("[admin] token_file: cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others may read it.
    #[error(
        "[admin] token_file: {} has mode {mode:04o}, others may read it; make a new token and run \
         `chmod 0600` on the file",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// What it has is no token.
    #[error(
        "[admin] token_file: {} has no token of 16 to 4096 visible ASCII characters; \
         `openssl rand -hex 32` makes one",
        path.display()
    )]
    Content {
        /// The file.
        path: PathBuf,
    },
}

const SHORTEST: usize = 16;
const LONGEST: usize = 4_096;

impl Token {
    /// Reads the token of a file: its only line.
    pub fn load(path: &Path) -> Result<Self, TokenError> {
        let failed = |source| TokenError::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(TokenError::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
        let mut bytes = Vec::new();
        let bound = LONGEST as u64 + 2;
        file.take(bound).read_to_end(&mut bytes).map_err(failed)?;
        let token = bytes.trim_ascii();
        if !(SHORTEST..=LONGEST).contains(&token.len()) || !token.iter().all(u8::is_ascii_graphic) {
            return Err(TokenError::Content {
                path: path.to_owned(),
            });
        }
        Ok(Self(digest(&SHA256, token)))
    }

    /// That of the settings, if they name one.
    pub fn configured(path: Option<&Path>) -> Result<Option<Self>, TokenError> {
        path.map(Self::load).transpose()
    }

    /// Whether this is it. What it costs depends on the length of what was presented only.
    #[must_use]
    pub fn is(&self, presented: &[u8]) -> bool {
        let presented = digest(&SHA256, presented);
        verify_slices_are_equal(self.0.as_ref(), presented.as_ref()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn a_file_is_a_token_where_only_its_owner_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let check = |content: &[u8], mode, expected: Result<&[u8], &str>| {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            match (Token::load(&path), expected) {
                (Ok(token), Ok(expected)) => {
                    assert!(token.is(expected));
                    assert!(!token.is(&expected[1..]));
                    assert!(!token.is(b""));
                    assert_eq!(format!("{token:?}"), "Token");
                }
                (Err(error), Err(expected)) => {
                    let error = error.to_string();
                    assert!(error.contains(expected), "{error}");
                    assert!(error.contains("token_file"), "{error}");
                }
                (other, _) => panic!("{other:?}"),
            }
        };
        let token = b"0123456789abcdef";
        check(b"0123456789abcdef\n", 0o600, Ok(token));
        check(token, 0o400, Ok(token));
        check(token, 0o640, Err("chmod 0600"));
        check(token, 0o604, Err("chmod 0600"));
        check(b"0123456789abcde\n", 0o600, Err("16 to 4096"));
        check(b"", 0o600, Err("16 to 4096"));
        check(b"0123456789 abcdef", 0o600, Err("16 to 4096"));
        check(b"0123456789abcdef\n0123456789abcdef", 0o600, Err("16 to"));
        check(&[b'a'; 4_097], 0o600, Err("16 to 4096"));
        check(&[b'a'; 4_096], 0o600, Ok(&[b'a'; 4_096]));
        fs::remove_file(&path).unwrap();
        assert!(
            Token::load(&path)
                .unwrap_err()
                .to_string()
                .contains("cannot read")
        );
        assert!(Token::configured(None).unwrap().is_none());
    }
}
