//! The CLI's side of the admin socket. Blocking: a command has nothing else to do.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::protocol::{MAX_LINE_BYTES, Request, Response};

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

/// The daemon could not be asked. Internal, or a missing permission.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The socket is there and cannot be used.
    #[error("cannot use the admin socket {}: {source}; it is for root and its group", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The daemon answered in another version's words.
    #[error("the daemon's answer cannot be read: {0}; restart it to run this version")]
    Form(#[from] serde_json::Error),
}

impl Client {
    /// Connects; `None` where no daemon listens.
    pub fn connect(path: &Path) -> Result<Option<Self>, ClientError> {
        match UnixStream::connect(path) {
            Ok(stream) => Ok(Some(Self {
                path: path.to_owned(),
                stream: BufReader::new(stream),
            })),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(None)
            }
            Err(source) => Err(ClientError::Io {
                path: path.to_owned(),
                source,
            }),
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
            .map_err(failed)?;
        Ok(serde_json::from_slice(&answer)?)
    }
}
