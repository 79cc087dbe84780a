//! Listening sockets that somebody else has bound: the daemon before this one, or systemd, which kept
//! them for it. Connections that came meanwhile wait in their backlogs; a socket bound anew would
//! have refused them.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

/// Sockets waiting to be taken up, by address.
#[derive(Debug, Default)]
pub struct Inherited(Vec<TcpListener>);

impl Inherited {
    /// Those of `sockets` that listen for TCP connections; others are closed.
    #[must_use]
    pub fn new(sockets: Vec<OwnedFd>) -> Self {
        let listening = sockets.into_iter().map(TcpListener::from);
        Self(listening.filter(is_listening).collect())
    }

    /// What the service manager has kept or bound for this process (`sd_listen_fds(3)`). To be
    /// called once, before there are threads: it takes the variables out of the environment.
    #[must_use]
    pub fn of_service_manager() -> Self {
        let mut passed = ListenFd::from_env();
        let sockets = (0..passed.len()).filter_map(|index| {
            // What is no TCP socket is left alone.
            passed.take_tcp_listener(index).ok().flatten()
        });
        Self(sockets.filter(is_listening).collect())
    }

    /// Adds those of `other`.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The socket that is bound to exactly this address and port.
    pub fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let is_it = |socket: &TcpListener| {
            let bound = socket.local_addr();
            bound.is_ok_and(|bound| (bound.ip(), bound.port()) == (address.ip(), address.port()))
        };
        let index = self.0.iter().position(is_it)?;
        Some(self.0.swap_remove(index))
    }

    /// The addresses that nobody has taken up.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let sockets = self.0.iter();
        sockets
            .filter_map(|socket| socket.local_addr().ok())
            .collect()
    }
}

fn is_listening(socket: &TcpListener) -> bool {
    socket.local_addr().is_ok() && socket_acceptconn(socket).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn sockets_are_taken_by_their_address_and_once() {
        let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (one, two) = (bind(), bind());
        let [at_one, at_two] = [&one, &two].map(|socket| socket.local_addr().unwrap());
        let connected = TcpStream::connect(at_one).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let unix = UnixListener::bind(folder.path().join("socket")).unwrap();
        let mut inherited =
            Inherited::new(vec![one.into(), connected.into(), unix.into(), two.into()]);
        assert_eq!(inherited.addresses(), [at_one, at_two]);
        let mut check = |address: SocketAddr, expected: bool| {
            let taken = inherited.take(address);
            let bound = taken.map(|socket| socket.local_addr().unwrap());
            assert_eq!(bound, expected.then_some(address));
        };
        check(
            SocketAddr::new("127.0.0.2".parse().unwrap(), at_two.port()),
            false,
        );
        check(at_two, true);
        check(at_two, false);
        check(at_one, true);
    }
}
