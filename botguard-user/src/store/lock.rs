//! The state directory's lock: `state_dir/lock`, flock(2). Daemon and CLI take the same one, so
//! that a CLI without a daemon cannot race one that starts.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
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
    /// Takes the lock of `state_dir`, which exists; waits for at most `patience`.
    ///
    /// A command without a daemon holds it for milliseconds, a daemon for its life. So a short
    /// patience is enough to outlast the one, and none for the other.
    pub fn take(state_dir: &Path, patience: Duration) -> Result<Self, LockError> {
        let path = state_dir.join("lock");
        let io = |source| LockError::Io {
            path: path.clone(),
            source,
        };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        // flock(2) waits without a limit, so it waits on a thread of its own. One that is given
        // up on ends with the process, which has nothing left to do but to say so.
        let (sender, taken) = channel();
        std::thread::spawn(move || sender.send(file.lock().map(|()| file)));
        match taken.recv_timeout(patience) {
            Ok(Ok(file)) => Ok(Self { _file: file }),
            Ok(Err(source)) => Err(io(source)),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Err(LockError::Held { path })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let take = |patience| StateLock::take(directory.path(), patience);
        let held = take(Duration::from_secs(5)).unwrap();
        assert!(matches!(
            take(Duration::from_millis(1)),
            Err(LockError::Held { .. })
        ));
        drop(held);
        assert!(take(Duration::from_secs(5)).is_ok());
    }
}
