//! The CLI's side of the admin socket. Blocking: a command has nothing else to do.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{MAX_LINE_BYTES, Request, Response};

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
    timeout: Duration,
}

/// Longer than a reload with the largest tables takes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The daemon could not be asked. Internal, or a missing permission.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The socket is there and cannot be used.
    #[error(
        "cannot use the admin socket {}: {source}; `[admin] socket` names it, and it is for root \
         and its group",
        path.display()
    )]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The daemon went away; what was asked may have been done.
    #[error("the daemon ended before it answered; see what came of it, or run the command again")]
    Ended,
    /// The daemon hangs, or a program that is none listens there.
    #[error(
        "no answer from the admin socket {} within {} s; what was asked may still be done. A \
         daemon that hangs is to be killed: the kernel filter stays, and commands work without it",
        path.display(),
        waited.as_secs()
    )]
    Silent {
        /// The socket.
        path: PathBuf,
        /// For how long.
        waited: Duration,
    },
    /// The daemon answered in another version's words.
    #[error("the daemon's answer cannot be read: {0}; restart it to run this version")]
    Form(#[from] serde_json::Error),
}

impl Client {
    /// Connects; `None` where no daemon listens.
    pub fn connect(path: &Path) -> Result<Option<Self>, ClientError> {
        Self::connect_for(path, ANSWER_TIMEOUT)
    }

    fn connect_for(path: &Path, timeout: Duration) -> Result<Option<Self>, ClientError> {
        let failed = |source| ClientError::Io {
            path: path.to_owned(),
            source,
        };
        match UnixStream::connect(path) {
            Ok(stream) => {
                stream.set_read_timeout(Some(timeout)).map_err(failed)?;
                Ok(Some(Self {
                    path: path.to_owned(),
                    stream: BufReader::new(stream),
                    timeout,
                }))
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(None)
            }
            Err(source) => Err(failed(source)),
        }
    }

    /// Asks and waits for the answer.
    pub fn perform(&mut self, request: &Request) -> Result<Response, ClientError> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        let path = &self.path;
        let failed = |source| ClientError::Io {
            path: path.clone(),
            source,
        };
        self.stream.get_mut().write_all(&line).map_err(failed)?;
        let mut answer = Vec::new();
        (&mut self.stream)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut answer)
            .map_err(|source| match source.kind() {
                // What a socket's timeout is called (socket(7), SO_RCVTIMEO).
                io::ErrorKind::WouldBlock => ClientError::Silent {
                    path: path.clone(),
                    waited: self.timeout,
                },
                _ => failed(source),
            })?;
        if answer.is_empty() {
            return Err(ClientError::Ended);
        }
        Ok(serde_json::from_slice(&answer)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_daemon_that_hangs_does_not_hang_its_operator() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let _never_accepts = UnixListener::bind(&path).unwrap();
        let client = Client::connect_for(&path, Duration::from_millis(20)).unwrap();
        let error = client.unwrap().perform(&Request::Status).unwrap_err();
        assert!(matches!(error, ClientError::Silent { .. }), "{error}");
    }
}
