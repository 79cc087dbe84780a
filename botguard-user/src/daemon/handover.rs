//! A daemon hands its listening sockets to the next one, over a Unix socket in `state_dir`, so that no
//! connection is refused between the two.
//!
//! ```text
//! next:  "take over 1"            it has checked its configuration and read its files
//! this:  waits for commands that run, or refuses: 65,535, and why
//! this:  the sockets (SCM_RIGHTS) up to 64 at a time, each time with how many are to come
//! next:  "taken"                  until then nothing has changed here
//! this:  stops accepting, gives up admin socket, audit log, kernel and store, closes
//! next:  goes on with its start   connections wait in the backlogs meanwhile
//! this:  serves what it still has; its records go to the next one (`relay`)
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

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::closings;
use super::commands::{Commands, Paused};
use super::relay::{self, Inbox};

/// Further handles of what this daemon listens on, at the time of the call.
pub(super) type Handles = Arc<dyn Fn() -> io::Result<Vec<OwnedFd>> + Send + Sync>;

/// What comes in at the door, and what it needs.
pub(super) struct Offer {
    pub(super) handles: Handles,
    /// None is cut off by a handover.
    pub(super) commands: Commands,
    /// For daemons before this one.
    pub(super) inbox: Inbox,
}

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

/// In place of a number of sockets: why there will be none follows.
const REFUSED: u16 = u16::MAX;

/// Longer than any answer takes on this host, and longer than commands are waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Longer than a daemon writes its last records, fills its kernel tables, and closes its store for.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(60);

/// The kernel takes up to 253 in one message (SCM_MAX_FD).
const BATCH: usize = 64;

pub(super) fn path(state_dir: &Path) -> PathBuf {
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
pub(super) struct Successor {
    #[expect(dead_code, reason = "closed by its drop")]
    stream: UnixStream,
    /// No command begins any more.
    #[expect(dead_code, reason = "given back by its drop")]
    commands: Paused,
}

/// Waits for the next daemon and hands the sockets to it; `None` if `shutdown` came first.
pub(super) async fn serve(
    listener: UnixListener,
    offer: Offer,
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
        let answered = match asked {
            Ok(stream) => answer(stream, &offer).await,
            Err(error) => Err(error),
        };
        match answered {
            Ok(Some(successor)) => return Some(successor),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "somebody asked for the listening sockets and did not take them");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, offer: &Offer) -> io::Result<Option<Successor>> {
    let (stream, asked) = blocking(move || {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        let asked = read_line(&stream)?;
        Ok((stream, asked))
    })
    .await?;
    match asked.as_str() {
        REQUEST => {}
        relay::REQUEST => return offer.inbox.take_records(stream).map(|()| None),
        closings::REQUEST => return offer.inbox.tell_closings(stream).map(|()| None),
        other => return Err(unexpected(other, REQUEST)),
    }
    let Some(commands) = offer.commands.pause().await else {
        let reason = "a command is being carried out; try again when it has ended";
        blocking(move || refuse(&stream, reason)).await?;
        return Err(io::Error::other(reason));
    };
    let handles = Arc::clone(&offer.handles);
    blocking(move || {
        send(&stream, &handles()?)?;
        match read_line(&stream)? {
            line if line == TAKEN => Ok(Some(Successor { stream, commands })),
            other => Err(unexpected(&other, TAKEN)),
        }
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other)?
}

/// Whose the socket is now. Root gives it to the user whom the next daemon is to be (`user`).
fn owner(listener: &UnixListener) -> Option<u32> {
    let address = listener.local_addr().ok()?;
    let socket = std::fs::symlink_metadata(address.as_pathname()?).ok()?;
    Some(socket.uid())
}

/// After a request that failed: a lack of descriptors would spin here otherwise.
const PAUSE: Duration = Duration::from_millis(100);

fn read_line(stream: &UnixStream) -> io::Result<String> {
    let mut line = String::new();
    // Not beyond the line: nothing follows it before the answer.
    BufReader::new(stream.take(64)).read_line(&mut line)?;
    Ok(line)
}

fn unexpected(line: &str, expected: &str) -> io::Error {
    let (line, expected) = (line.escape_debug(), expected.trim());
    io::Error::other(format!("`{line}` instead of `{expected}`"))
}

fn refuse(mut stream: &UnixStream, reason: &str) -> io::Result<()> {
    stream.write_all(&REFUSED.to_le_bytes())?;
    stream.write_all(reason.as_bytes())
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

fn receive(mut stream: &UnixStream) -> io::Result<Vec<OwnedFd>> {
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
        match u16::from_le_bytes(count) {
            0 => return Ok(handles),
            REFUSED => {
                let mut reason = String::new();
                stream.read_to_string(&mut reason)?;
                return Err(io::Error::other(reason));
            }
            _ => {}
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

    use parking_lot::Mutex;

    use super::*;

    fn offer(handles: Vec<OwnedFd>) -> Offer {
        Offer {
            handles: Arc::new(move || handles.iter().map(OwnedFd::try_clone).collect()),
            commands: Commands::default(),
            inbox: Inbox::test(),
        }
    }

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
        let serving = tokio::spawn(serve(listener, offer(handles), CancellationToken::new()));
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
    async fn a_command_that_does_not_end_keeps_the_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = folder.path().to_owned();
        let mut offer = offer(vec![]);
        offer.commands = Commands::waiting(Duration::from_millis(1));
        let commands = offer.commands.clone();
        let running = commands.begin().unwrap();
        let listener = bind(&state_dir).unwrap();
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, offer, shutdown.clone()));
        let asking = tokio::task::spawn_blocking(move || take_over(&state_dir));
        let error = asking.await.unwrap().unwrap_err().to_string();
        assert!(error.contains("a command is being carried out"), "{error}");
        assert!(commands.begin().is_some(), "it goes on");
        drop(running);
        shutdown.cancel();
        assert!(serving.await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_shutdown_ends_the_offer() {
        let folder = tempfile::tempdir().unwrap();
        let shutdown = CancellationToken::new();
        let listener = bind(folder.path()).unwrap();
        // In place of one that is left over.
        drop(bind(folder.path()).unwrap());
        let serving = tokio::spawn(serve(listener, offer(vec![]), shutdown.clone()));
        shutdown.cancel();
        assert!(serving.await.unwrap().is_none());
    }
}
