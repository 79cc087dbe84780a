//! What the service manager is told (`sd_notify(3)`): ready, reloading, stopping, alive; and the
//! listening sockets that it is to keep for the next daemon (`FDSTORE`, see `FileDescriptorStoreMax`
//! in systemd.service(5)). Without `NOTIFY_SOCKET` in the environment nobody is told anything.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{self, UnixDatagram};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::words::clock::monotonic_us;

/// The service manager, if there is one.
#[derive(Debug)]
pub(super) struct ServiceManager {
    socket: Option<UnixDatagram>,
    /// How often it wants to hear that this process is alive.
    watchdog: Option<Duration>,
}

/// What there is to say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Message {
    /// Listeners serve, as configured; also the end of a reload.
    Ready,
    /// A reload has begun.
    Reloading,
    /// The drain has begun.
    Stopping,
    /// Nothing hangs.
    Alive,
}

impl ServiceManager {
    /// The one that has started this process.
    pub(super) fn of_environment() -> Self {
        let named = std::env::var_os("NOTIFY_SOCKET");
        let socket = named.and_then(|path| match connect(path) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(%error, "the service manager cannot be told anything");
                None
            }
        });
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let is_ours = std::env::var_os("WATCHDOG_PID").is_none()
            || number("WATCHDOG_PID") == Some(std::process::id().into());
        let watchdog = number("WATCHDOG_USEC").filter(|_| is_ours);
        Self {
            socket,
            watchdog: watchdog.map(Duration::from_micros),
        }
    }

    /// Says it. What cannot be said is logged.
    pub(super) fn tell(&self, message: Message) {
        let text = message.to_text(std::process::id(), monotonic_us());
        self.send(&text, None);
    }

    /// Has it keep a listening socket for the next start. One that it keeps already it keeps once.
    pub(super) fn keep(&self, address: SocketAddr, socket: &OwnedFd) {
        let text = format!("FDSTORE=1\nFDNAME={}\n", kept_name(address));
        self.send(&text, Some(socket));
    }

    /// Has it close what it kept for an address that is not configured any more.
    pub(super) fn forget(&self, address: SocketAddr) {
        let text = format!("FDSTOREREMOVE=1\nFDNAME={}\n", kept_name(address));
        self.send(&text, None);
    }

    /// Tells it twice in each of its intervals that the runtime schedules, until `shutdown`.
    pub(super) async fn reassure(&self, shutdown: &CancellationToken) {
        let Some(every) = self.watchdog.map(|within| within / 2) else {
            return shutdown.cancelled().await;
        };
        let mut ticks = interval(every.max(SHORTEST));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            // Both are cancellation-safe: a tick that is not seen here is seen next time.
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => self.tell(Message::Alive),
            }
        }
    }

    fn send(&self, text: &str, socket: Option<&OwnedFd>) {
        let Some(manager) = &self.socket else {
            return;
        };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let sockets: Vec<_> = socket.map(OwnedFd::as_fd).into_iter().collect();
        if !sockets.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&sockets));
        }
        let text = [IoSlice::new(text.as_bytes())];
        let sent = sendmsg(manager, &text, &mut control, SendFlags::NOSIGNAL);
        if let Err(error) = sent {
            tracing::warn!(%error, "the service manager was not told");
        }
    }
}

/// A watchdog of zero would spin.
const SHORTEST: Duration = Duration::from_millis(10);

fn connect(path: OsString) -> io::Result<UnixDatagram> {
    let address = match path.as_bytes() {
        [b'@', name @ ..] => net::SocketAddr::from_abstract_name(name)?,
        _ => net::SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

/// A name for a stored descriptor has no colon.
fn kept_name(address: SocketAddr) -> String {
    format!("listener {address}").replace(':', "_")
}

impl Message {
    fn to_text(self, process: u32, now_us: u64) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _written = match self {
            // A process that has taken over is the main one from here on.
            Self::Ready => write!(text, "READY=1\nMAINPID={process}\n"),
            Self::Reloading => write!(text, "RELOADING=1\nMONOTONIC_USEC={now_us}\n"),
            Self::Stopping => write!(text, "STOPPING=1\n"),
            Self::Alive => write!(text, "WATCHDOG=1\n"),
        };
        text
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSliceMut;
    use std::net::TcpListener;

    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

    use super::*;

    #[test]
    fn messages_are_as_the_manual_page_has_them() {
        let check = |message: Message, expected: &str| {
            assert_eq!(message.to_text(7, 42), expected);
        };
        check(Message::Ready, "READY=1\nMAINPID=7\n");
        check(Message::Reloading, "RELOADING=1\nMONOTONIC_USEC=42\n");
        check(Message::Stopping, "STOPPING=1\n");
        check(Message::Alive, "WATCHDOG=1\n");
    }

    #[test]
    fn a_socket_to_be_kept_goes_along_under_a_name_without_colons() {
        let folder = tempfile::tempdir().unwrap();
        let check = |named: OsString, receiver: UnixDatagram| {
            let manager = ServiceManager {
                socket: Some(connect(named).unwrap()),
                watchdog: None,
            };
            let listener = TcpListener::bind("[::1]:0").unwrap();
            let address = listener.local_addr().unwrap();
            manager.keep(address, &listener.into());
            let mut text = [0; 128];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut into = [IoSliceMut::new(&mut text)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            let received = recvmsg(&receiver, &mut into, &mut control, flags).unwrap();
            let name = format!("listener [__1]_{}", address.port());
            let expected = format!("FDSTORE=1\nFDNAME={name}\n");
            assert_eq!(&text[..received.bytes], expected.as_bytes());
            let bound = control.drain().find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut handles) => handles.next(),
                _ => None,
            });
            let kept = TcpListener::from(bound.unwrap());
            assert_eq!(kept.local_addr().unwrap(), address);
            manager.forget(address);
            let n_bytes = receiver.recv(&mut text).unwrap();
            let expected = format!("FDSTOREREMOVE=1\nFDNAME={name}\n");
            assert_eq!(&text[..n_bytes], expected.as_bytes());
        };
        let path = folder.path().join("notify");
        check(path.clone().into(), UnixDatagram::bind(&path).unwrap());
        let name = format!("botguard-test-{}", std::process::id());
        let address = net::SocketAddr::from_abstract_name(&name).unwrap();
        check(
            format!("@{name}").into(),
            UnixDatagram::bind_addr(&address).unwrap(),
        );
    }
}
