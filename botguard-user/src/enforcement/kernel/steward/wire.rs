//! Messages between daemon and steward: JSON, one a packet of a Unix socket, with a descriptor
//! where one is passed on.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ANSWER_TIMEOUT;

/// One end.
#[derive(Debug)]
pub(super) struct Wire(OwnedFd);

/// The interfaces of a host are a few KiB.
const MAX_BYTES: usize = 64 * 1024;

impl Wire {
    /// The daemon's end, which waits for no longer than [`ANSWER_TIMEOUT`], and the other.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (one, other) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        set_socket_timeout(&one, Timeout::Recv, Some(ANSWER_TIMEOUT))?;
        set_socket_timeout(&one, Timeout::Send, Some(ANSWER_TIMEOUT))?;
        Ok((Self(one), other))
    }

    pub(super) const fn of(end: OwnedFd) -> Self {
        Self(end)
    }

    /// Sends a message, as a whole.
    pub(super) fn send(
        &self,
        message: &impl Serialize,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let message = serde_json::to_vec(message)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors: Vec<_> = descriptor.into_iter().collect();
        if !descriptors.is_empty() {
            // There is space for one.
            let _pushed: bool = control.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        let slices = [IoSlice::new(&message)];
        rustix::io::retry_on_intr(|| sendmsg(&self.0, &slices, &mut control, SendFlags::NOSIGNAL))?;
        Ok(())
    }

    /// The next message; `None` where the other end is closed.
    ///
    /// Errors: a message that is none, or none in time.
    pub(super) fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Option<OwnedFd>)>> {
        let mut bytes = vec![0; MAX_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut bytes)];
        let received = rustix::io::retry_on_intr(|| {
            recvmsg(&self.0, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)
        });
        let received = match received {
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            received => received?,
        };
        let descriptor = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        if received.bytes == 0 {
            return Ok(None);
        }
        if (received.flags).intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(io::Error::other("a message is too long"));
        }
        let message = serde_json::from_slice(bytes.get(..received.bytes).unwrap_or_default())?;
        Ok(Some((message, descriptor)))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Seek as _, Write as _};
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn messages_arrive_whole_with_their_descriptor() {
        let (one, other) = Wire::pair().unwrap();
        let other = Wire::of(other);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"it").unwrap();
        one.send(&"first", Some(file.as_fd())).unwrap();
        one.send(&"second", None).unwrap();
        let (text, descriptor): (String, _) = other.receive().unwrap().unwrap();
        assert_eq!(text, "first");
        let mut passed = File::from(descriptor.unwrap());
        passed.rewind().unwrap();
        let mut content = String::new();
        passed.read_to_string(&mut content).unwrap();
        assert_eq!(content, "it");
        let (text, descriptor): (String, _) = other.receive().unwrap().unwrap();
        assert_eq!((text.as_str(), descriptor.is_some()), ("second", false));
        one.send(&7, None).unwrap();
        assert!(other.receive::<String>().is_err());
        drop(one);
        assert!(other.receive::<String>().unwrap().is_none());
    }

    #[test]
    fn what_is_too_long_is_no_message() {
        let (one, other) = Wire::pair().unwrap();
        let long = "x".repeat(MAX_BYTES);
        one.send(&long, None).unwrap();
        assert!(Wire::of(other).receive::<String>().is_err());
    }
}
