//! The state directory's lock: `state_dir/lock`, flock(2). Daemon and CLI take the same one, so
//! that a CLI without a daemon cannot race one that starts.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The held lock; the kernel frees it with the file, also on kill -9.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

/// The lock could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it. Not a fault: the holder is to be asked instead.
    #[error(
        "{} is held by another botguard process; use its socket, or stop it (`fuser {}` names it)",
        path.display(),
        path.display()
    )]
    Held {
        /// The lock file.
        path: PathBuf,
    },
    /// The file cannot be opened or locked. The configuration's fault.
    #[error("cannot lock {}: {source}; check `state_dir` and its permissions", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl StateLock {
    /// Takes the lock of `state_dir`, which exists, without waiting.
    pub fn take(state_dir: &Path) -> Result<Self, LockError> {
        let path = state_dir.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| LockError::Io {
                path: path.clone(),
                source,
            })?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held { path }),
            Err(TryLockError::Error(source)) => Err(LockError::Io { path, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let held = StateLock::take(directory.path()).unwrap();
        assert!(matches!(
            StateLock::take(directory.path()),
            Err(LockError::Held { .. })
        ));
        drop(held);
        assert!(StateLock::take(directory.path()).is_ok());
    }
}
