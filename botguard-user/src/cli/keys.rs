//! `botguard key`: from what was typed to a request. A whole key is read from a file only, since
//! arguments are in the list of processes; what goes on of it is its public id and its keyed hash.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::arguments::{Key, KeyArgument};
use crate::admin::protocol::{
    KeyCard, KeyName, KeyNameError, KeyReference, KeyRequest, OverrideTerms,
};
use crate::edge::identity::{KeyHasher, public_key_id, shown_key};
use crate::settings::Loaded;
use crate::store::secrets::{Secrets, SecretsError};
use crate::words::key::KeyLimit;

/// Why there is no request about a key.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyError {
    #[error("KEY: {0}")]
    Name(#[from] KeyNameError),
    #[error("--key-file {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("--key-file {}: {problem}", path.display())]
    Content {
        path: PathBuf,
        problem: &'static str,
    },
    #[error("the key cannot be hashed: {0}")]
    Secrets(#[from] SecretsError),
    #[error("the key cannot be hashed: cannot make {}: {source}; `state_dir` names it", path.display())]
    StateDirectory { path: PathBuf, source: io::Error },
}

impl KeyError {
    /// Whether it is the operator's fault.
    pub(super) const fn is_usage(&self) -> bool {
        matches!(self, Self::Name(_) | Self::Io { .. } | Self::Content { .. })
    }
}

pub(super) fn request(command: &Key, loaded: &Loaded) -> Result<KeyRequest, KeyError> {
    let named = |key: &KeyArgument| reference(key, loaded);
    Ok(match command {
        Key::List { state } => KeyRequest::List {
            state: state.map(Into::into),
        },
        Key::Show { key } => KeyRequest::Show { key: named(key)? },
        Key::Suspend {
            key,
            reason,
            duration,
        } => KeyRequest::Suspend {
            key: named(key)?,
            reason: reason.clone(),
            for_s: duration.map(|span| span.0.as_secs()),
        },
        Key::Resume { key, reason } => KeyRequest::Resume {
            key: named(key)?,
            reason: reason.clone(),
        },
        Key::Override(given) if given.clear => KeyRequest::Clear {
            key: named(&given.key)?,
            reason: given.reason.clone().unwrap_or_default(),
        },
        Key::Override(given) => KeyRequest::Override {
            key: named(&given.key)?,
            terms: OverrideTerms {
                pin: given.pin,
                limit: (given.rate.zip(given.burst)).map(|(rate, burst)| KeyLimit { rate, burst }),
                mode: given.mode.map(Into::into),
            },
            reason: given.reason.clone().unwrap_or_default(),
            for_s: given.duration.map(|span| span.0.as_secs()),
        },
    })
}

fn reference(given: &KeyArgument, loaded: &Loaded) -> Result<KeyReference, KeyError> {
    if let Some(path) = &given.key_file {
        return card(&read(path)?, loaded).map(KeyReference::Card);
    }
    let text = given.key.clone().unwrap_or_default();
    let _name: KeyName = text.parse()?;
    Ok(KeyReference::Named(text))
}

/// Longer than any header in which a key could be sent.
const MAX_KEY_BYTES: u64 = 16 * 1024;

fn read(path: &Path) -> Result<String, KeyError> {
    let failed = |source| KeyError::Io {
        path: path.to_owned(),
        source,
    };
    let refuse = |problem| {
        Err(KeyError::Content {
            path: path.to_owned(),
            problem,
        })
    };
    let mut bytes = Vec::new();
    let bound = MAX_KEY_BYTES + 1;
    if path == Path::new("-") {
        io::stdin().lock().take(bound).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(bound).read_to_end(&mut bytes))
    }
    .map_err(failed)?;
    if bytes.len() as u64 > MAX_KEY_BYTES {
        return refuse("is larger than 16 KiB, which no key is");
    }
    let Ok(text) = String::from_utf8(bytes) else {
        return refuse("is not text");
    };
    let key = text.trim();
    if key.is_empty() {
        return refuse("has no key in it");
    }
    if key.contains(char::is_whitespace) {
        return refuse("has more than one word in it; one key, and nothing else");
    }
    Ok(key.to_owned())
}

/// The secrets that the daemon hashes with; made where it has never run, so that it finds them.
fn card(key: &str, loaded: &Loaded) -> Result<KeyCard, KeyError> {
    let state_dir = &loaded.settings.state_dir;
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir);
    made.map_err(|source| KeyError::StateDirectory {
        path: state_dir.clone(),
        source,
    })?;
    let secrets = Secrets::load_or_create(state_dir)?;
    // A policy with a mistake in it is no reason not to suspend a key.
    let tier = loaded.policy().ok().and_then(|policy| policy.tier_of(key));
    Ok(KeyCard {
        hash: KeyHasher::new(&secrets.key_hash).hash(key).to_string(),
        public_id: public_key_id(key),
        shown: shown_key(key),
        tier: tier.map(|tier| tier.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_one_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let check = |content: &[u8], expected: Result<&str, &str>| {
            fs::write(&path, content).unwrap();
            match (read(&path), expected) {
                (Ok(key), Ok(expected)) => assert_eq!(key, expected),
                (Err(error), Err(expected)) => {
                    assert!(error.is_usage());
                    assert!(error.to_string().contains(expected), "{error}");
                }
                (other, _) => panic!("{other:?}"),
            }
        };
        check(b"sk_live_1\n", Ok("sk_live_1"));
        check(b" sk_live_1\r\n\n", Ok("sk_live_1"));
        check(b"", Err("no key in it"));
        check(b"\n", Err("no key in it"));
        check(b"a b", Err("more than one word"));
        check(b"a\nb", Err("more than one word"));
        check(b"\xff", Err("not text"));
        check(&[b'a'; 16 * 1024], Ok(&"a".repeat(16 * 1024)));
        check(&[b'a'; 16 * 1024 + 1], Err("larger than"));
        assert!(read(Path::new("/dev/zero")).is_err());
        assert!(read(&directory.path().join("none")).is_err());
    }
}
