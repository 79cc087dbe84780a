//! A daemon hands its listening sockets to the next one, over a Unix socket in `state_dir`, so that no
//! connection is refused between the two.
//!
//! ```text
//! next:  "take over 1"            it has checked its configuration and read its files
//! this:  the sockets (SCM_RIGHTS) up to 64 at a time, each time with how many are to come
//! next:  "taken"                  until then nothing has changed here
//! this:  stops accepting, drains, gives up admin socket, store, kernel and audit log, closes
//! next:  goes on with its start   connections wait in the backlogs meanwhile
//! ```
//!
//! One process at a time has the store, the pins and the audit log; both never have. Who may connect
//! is root, the daemon's own user, or whom root has given the socket to: the kernel says who it is.

use std::io::{self, BufRead as _, BufReader, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

/// What this daemon listens on.
pub(super) type Handles = Arc<Mutex<Vec<OwnedFd>>>;

/// The sockets could not be taken over. The running daemon goes on, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// There is a daemon, and talking to it fails.
    #[error(
        "cannot take over from the daemon behind {}: {source}; it goes on. Stop it with SIGTERM \
         and start without `--take-over`",
        path.display()
    )]
    Failed {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It has handed over and does not end.
    #[error(
        "the daemon behind {} has handed over its sockets and does not end: {source}; kill it and \
         start again",
        path.display()
    )]
    Stuck {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

const REQUEST: &str = "take over 1\n";
const TAKEN: &str = "taken\n";

/// Longer than any answer takes on this host.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Longer than a daemon drains and closes its store for.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(60);

/// The kernel takes up to 253 in one message (SCM_MAX_FD).
const BATCH: usize = 64;

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("handover.sock")
}

/// Where the next daemon asks. Whoever holds the store may call it: what is there is left over.
///
/// Errors: the directory cannot be written.
pub(super) fn bind(state_dir: &Path) -> io::Result<UnixListener> {
    let path = path(state_dir);
    remove(&path)?;
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The daemon that has taken over. It waits until this is dropped.
#[derive(Debug)]
pub(super) struct Successor(#[expect(dead_code, reason = "closed by its drop")] UnixStream);

/// Waits for the next daemon and hands `handles` to it; `None` if `shutdown` came first.
pub(super) async fn serve(
    listener: UnixListener,
    handles: Handles,
    shutdown: CancellationToken,
) -> Option<Successor> {
    loop {
        let accepted = tokio::select! {
            // Both are cancellation-safe: a connection not taken here stays in the backlog.
            () = shutdown.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        let asked = accepted.and_then(|(stream, _address)| {
            let uid = stream.peer_cred()?.uid();
            let is_own = uid == nix::unistd::geteuid().as_raw() || owner(&listener) == Some(uid);
            if uid != 0 && !is_own {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            stream.into_std()
        });
        let handles = Arc::clone(&handles);
        let handed = match asked {
            Ok(stream) => tokio::task::spawn_blocking(move || hand_over(stream, &handles))
                .await
                .map_err(io::Error::other)
                .and_then(|handed| handed),
            Err(error) => Err(error),
        };
        match handed {
            Ok(successor) => return Some(successor),
            Err(error) => {
                tracing::warn!(%error, "somebody asked for the listening sockets and did not take them");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Whose the socket is now. Root gives it to the user whom the next daemon is to be (`user`).
fn owner(listener: &UnixListener) -> Option<u32> {
    let address = listener.local_addr().ok()?;
    let socket = std::fs::symlink_metadata(address.as_pathname()?).ok()?;
    Some(socket.uid())
}

/// After a request that failed: a lack of descriptors would spin here otherwise.
const PAUSE: Duration = Duration::from_millis(100);

fn hand_over(stream: UnixStream, handles: &Mutex<Vec<OwnedFd>>) -> io::Result<Successor> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    expect_line(&stream, REQUEST)?;
    // Held, so that a listener that comes or goes is either handed over or not known at all.
    let handles = handles.lock();
    send(&stream, &handles)?;
    expect_line(&stream, TAKEN)?;
    Ok(Successor(stream))
}

fn expect_line(stream: &UnixStream, expected: &str) -> io::Result<()> {
    let mut line = String::new();
    // Not beyond the line: nothing follows it before the answer.
    BufReader::new(stream.take(64)).read_line(&mut line)?;
    match line == expected {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "`{}` instead of `{}`",
            line.escape_debug(),
            expected.trim()
        ))),
    }
}

fn send(stream: &UnixStream, handles: &[OwnedFd]) -> io::Result<()> {
    let mut n_to_come = handles.len();
    for batch in handles.chunks(BATCH) {
        n_to_come -= batch.len();
        let count = u16::try_from(n_to_come).map_err(io::Error::other)?;
        let batch: Vec<BorrowedFd<'_>> = batch.iter().map(OwnedFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&batch)) {
            return Err(io::Error::other("too many sockets for one message"));
        }
        let count = count.to_le_bytes();
        // Two bytes go as a whole, or not at all.
        sendmsg(
            stream,
            &[IoSlice::new(&count)],
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
    }
    Ok(())
}

fn receive(stream: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut handles = Vec::new();
    loop {
        let mut count = [0; 2];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let message = recvmsg(
            stream,
            &mut [IoSliceMut::new(&mut count)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        if message.bytes != count.len() || message.flags.contains(ReturnFlags::CTRUNC) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                handles.extend(received);
            }
        }
        if u16::from_le_bytes(count) == 0 {
            return Ok(handles);
        }
    }
}

/// The sockets of a daemon that is on its way out.
#[derive(Debug)]
pub(super) struct Predecessor {
    stream: UnixStream,
    path: PathBuf,
}

/// Takes the sockets of the daemon that runs on `state_dir`; `None` if none does. From here on it
/// ends, so everything that can fail is to be done before.
///
/// Errors: [`HandoverError::Failed`]; it goes on.
pub(super) fn take_over(
    state_dir: &Path,
) -> Result<Option<(Predecessor, Vec<OwnedFd>)>, HandoverError> {
    let path = path(state_dir);
    let stream = match UnixStream::connect(&path) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(source) => return Err(HandoverError::Failed { path, source }),
    };
    match ask(&stream) {
        Ok(handles) => Ok(Some((Predecessor { stream, path }, handles))),
        Err(source) => Err(HandoverError::Failed { path, source }),
    }
}

fn ask(mut stream: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(REQUEST.as_bytes())?;
    let handles = receive(stream)?;
    stream.write_all(TAKEN.as_bytes())?;
    Ok(handles)
}

impl Predecessor {
    /// Waits until it has given up everything. Blocks.
    ///
    /// Errors: [`HandoverError::Stuck`] after a minute.
    pub(super) fn ended(mut self) -> Result<(), HandoverError> {
        let read = (self.stream.set_read_timeout(Some(RELEASE_TIMEOUT)))
            .and_then(|()| self.stream.read_to_end(&mut Vec::new()));
        match read {
            // One that was killed closes it as well, or resets it.
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            Err(source) => Err(HandoverError::Stuck {
                path: self.path,
                source,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};

    use super::*;

    fn listening(count: usize) -> (Vec<OwnedFd>, Vec<SocketAddr>) {
        let sockets = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let bound = sockets.map(|socket| {
            let address = socket.local_addr().unwrap();
            (OwnedFd::from(socket), address)
        });
        bound.unzip()
    }

    fn addresses(handles: Vec<OwnedFd>) -> Vec<SocketAddr> {
        let sockets = handles.into_iter().map(TcpListener::from);
        sockets.map(|socket| socket.local_addr().unwrap()).collect()
    }

    #[test]
    fn any_number_of_sockets_passes_in_order() {
        let check = |count| {
            let (handles, expected) = listening(count);
            let (one, other) = UnixStream::pair().unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| send(&one, &handles).unwrap());
                assert_eq!(addresses(receive(&other).unwrap()), expected);
            });
        };
        for count in [1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 3] {
            check(count);
        }
    }

    #[tokio::test]
    async fn the_next_daemon_waits_until_this_one_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = folder.path().to_owned();
        assert!(take_over(&state_dir).unwrap().is_none());
        let listener = bind(&state_dir).unwrap();
        let mode = std::fs::metadata(path(&state_dir))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let (handles, expected) = listening(2);
        let serving = tokio::spawn(serve(
            listener,
            Arc::new(Mutex::new(handles)),
            CancellationToken::new(),
        ));
        // Who asks for something else, or goes away, changes nothing.
        let next = tokio::task::spawn_blocking(move || {
            for wrong in ["take over 9\n", "", REQUEST] {
                let mut stream = UnixStream::connect(path(&state_dir)).unwrap();
                stream.write_all(wrong.as_bytes()).unwrap();
                if wrong == REQUEST {
                    assert_eq!(receive(&stream).unwrap().len(), 2);
                }
            }
            take_over(&state_dir).unwrap().unwrap()
        });
        let (predecessor, handles) = next.await.unwrap();
        assert_eq!(addresses(handles), expected);
        let successor = serving.await.unwrap().unwrap();
        let ended = Arc::new(Mutex::new(false));
        let waiting = tokio::task::spawn_blocking({
            let ended = Arc::clone(&ended);
            move || {
                predecessor.ended().unwrap();
                assert!(*ended.lock(), "it has not ended yet");
            }
        });
        *ended.lock() = true;
        drop(successor);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn a_shutdown_ends_the_offer() {
        let folder = tempfile::tempdir().unwrap();
        let shutdown = CancellationToken::new();
        let listener = bind(folder.path()).unwrap();
        // In place of one that is left over.
        drop(bind(folder.path()).unwrap());
        let serving = tokio::spawn(serve(listener, Handles::default(), shutdown.clone()));
        shutdown.cancel();
        assert!(serving.await.unwrap().is_none());
    }
}
