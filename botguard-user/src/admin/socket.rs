//! The admin socket: JSON lines over a Unix socket of mode 0660. Whoever may open it is an
//! operator; the kernel says who it was (SO_PEERCRED), and the audit log keeps it.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::protocol::{Request, Response};

/// Who asks: what the audit log calls the actor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Actor {
    /// A user of this host, by the kernel's word.
    Uid(u32),
    /// Whoever has the token of the admin port.
    HttpToken,
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uid(uid) => write!(f, "uid {uid}"),
            Self::HttpToken => f.write_str("http token"),
        }
    }
}

/// Carries out requests. May block: it is called on threads that may.
pub trait Operator: Send + Sync + 'static {
    /// Carries out one request of `actor`.
    fn perform(&self, actor: Actor, request: Request) -> Response;
}

/// The socket could not be made. The configuration's fault.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on the admin socket {}: {source}; `[admin] socket` names it", path.display())]
pub struct SocketError {
    path: PathBuf,
    source: io::Error,
}

/// Makes the socket with mode 0660, in place of one that nobody listens on.
///
/// To be called within a tokio runtime.
pub fn bind(path: &Path) -> Result<UnixListener, SocketError> {
    let failed = |source| SocketError {
        path: path.to_owned(),
        source,
    };
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory)
            .map_err(failed)?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(failed(io::ErrorKind::AddrInUse.into()));
    }
    match fs::symlink_metadata(path) {
        Ok(left_over) if left_over.file_type().is_socket() => {
            fs::remove_file(path).map_err(failed)?;
        }
        Ok(_something_else) => {
            let message = "there is a file there that is not a socket, which stays";
            return Err(failed(io::Error::other(message)));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed)?;
    Ok(listener)
}

/// Serves until `shutdown`.
pub async fn serve(
    listener: UnixListener,
    operator: Arc<dyn Operator>,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            // Both are cancellation-safe: a connection not taken here stays in the backlog.
            () = shutdown.cancelled() => return,
            accepted = accept(&listener, &places) => accepted,
        };
        let (stream, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: at once it would only fail again.
                tracing::warn!(%error, "admin socket");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let operator = Arc::clone(&operator);
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                result = converse(stream, operator) => {
                    if let Err(error) = result {
                        tracing::debug!(%error, "admin connection");
                    }
                }
            }
            drop(place);
        });
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Enough for every operator and script of a host; more wait in the backlog.
const MAX_CONNECTIONS: usize = 32;

/// Longest request: an import of `enforcement::import::MAX_ENTRIES`. Only root and the socket's
/// group can send one, and memory is taken only as it arrives.
const MAX_REQUEST_BYTES: u64 = 256 * 1024 * 1024;

async fn accept(
    listener: &UnixListener,
    places: &Arc<Semaphore>,
) -> io::Result<(UnixStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, _address) = listener.accept().await?;
    Ok((stream, place))
}

async fn converse(stream: UnixStream, operator: Arc<dyn Operator>) -> io::Result<()> {
    let actor = Actor::Uid(stream.peer_cred()?.uid());
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut read).take(MAX_REQUEST_BYTES);
        if bounded.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let response = match serde_json::from_slice::<Request>(&line) {
            Ok(request) => {
                let operator = Arc::clone(&operator);
                tokio::task::spawn_blocking(move || operator.perform(actor, request))
                    .await
                    .map_err(io::Error::other)?
            }
            Err(error) => Response::usage(format!("not a request of this version: {error}")),
        };
        let mut answer = serde_json::to_vec(&response)?;
        answer.push(b'\n');
        write.write_all(&answer).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::client::Client;
    use crate::admin::protocol::Done;

    struct Echo;

    impl Operator for Echo {
        fn perform(&self, actor: Actor, request: Request) -> Response {
            Response::Done(Done {
                did: vec![format!("{actor}: {request:?}")],
                warnings: Vec::new(),
            })
        }
    }

    #[tokio::test]
    async fn requests_are_answered_with_their_actor() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/admin.sock");
        let listener = bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o660);
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(serve(listener, Arc::new(Echo), shutdown.clone()));
        let uid = nix::unistd::getuid().as_raw();
        let responses = tokio::task::spawn_blocking(move || {
            let mut client = Client::connect(&path).unwrap().unwrap();
            [Request::Status, Request::Reload].map(|request| client.perform(&request).unwrap())
        });
        let expected = ["Status", "Reload"].map(|request| {
            Response::Done(Done {
                did: vec![format!("uid {uid}: {request}")],
                warnings: Vec::new(),
            })
        });
        assert_eq!(responses.await.unwrap(), expected);
        shutdown.cancel();
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        drop(bind(&path).unwrap());
        let live = bind(&path).unwrap();
        assert!(bind(&path).unwrap_err().to_string().contains("admin.sock"));
        drop(live);
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.txt");
        fs::write(&path, "notes").unwrap();
        let error = bind(&path).unwrap_err().to_string();
        assert!(error.contains("not a socket"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"notes");
    }
}
