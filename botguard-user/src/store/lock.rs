//! The state directory's lock: `state_dir/lock`, flock(2). Daemon and CLI take the same one, so
//! that a CLI without a daemon cannot race one that starts.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

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
    /// Takes the lock of `state_dir`, which exists; waits for at most `patience`. A command holds it
    /// for milliseconds, a daemon for as long as it runs.
    pub fn take(state_dir: &Path, patience: Duration) -> Result<Self, LockError> {
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
            Err(TryLockError::WouldBlock) if patience.is_zero() => Err(LockError::Held { path }),
            Err(TryLockError::WouldBlock) => wait(file, patience).ok_or(LockError::Held { path }),
            Err(TryLockError::Error(source)) => Err(LockError::Io { path, source }),
        }
    }
}

/// Waits in a thread, since flock(2) knows no deadline. A thread that is given up frees the lock
/// as soon as it has it: nobody receives it.
fn wait(file: File, patience: Duration) -> Option<StateLock> {
    let (taken, lock) = sync_channel(0);
    std::thread::spawn(move || {
        if file.lock().is_ok() {
            // An error hands the file back, and dropping it frees the lock.
            let _received: Result<(), _> = taken.send(StateLock { _file: file });
        }
    });
    lock.recv_timeout(patience).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let take = |patience| StateLock::take(directory.path(), patience);
        let held = take(Duration::ZERO).unwrap();
        assert!(matches!(take(Duration::ZERO), Err(LockError::Held { .. })));
        drop(held);
        assert!(take(Duration::from_secs(60)).is_ok());
    }

    #[test]
    fn a_lock_that_is_freed_in_time_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let held = StateLock::take(directory.path(), Duration::ZERO).unwrap();
        std::thread::scope(|scope| {
            let waiting =
                scope.spawn(|| StateLock::take(directory.path(), Duration::from_secs(60)));
            drop(held);
            assert!(waiting.join().unwrap().is_ok());
        });
    }
}
