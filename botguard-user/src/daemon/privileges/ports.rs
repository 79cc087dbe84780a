//! Ports that take root, bound by it and not yet listened on: who connects is refused until the
//! kernel filter is in force, as with every other port.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind as bind_socket, listen, socket_with,
};

use super::super::Succession;
use crate::edge::listener::{BACKLOG, Inherited};

/// A port cannot be bound. The configuration's fault, or the host's.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; another process may have it (`ss -ltnp` names it)")]
pub struct PortError {
    address: SocketAddr,
    source: io::Error,
}

/// Bound sockets.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Bound(Vec<OwnedFd>);

impl Bound {
    /// Listens.
    pub(in crate::daemon) fn listen(self) -> io::Result<Inherited> {
        for socket in &self.0 {
            listen(socket, BACKLOG.cast_signed())?;
        }
        Ok(Inherited::new(self.0))
    }
}

/// The kernel's, unless somebody has lowered it; then these are bound early for nothing.
const FIRST_UNPRIVILEGED: u16 = 1_024;

/// Binds what takes root, and is not inherited. Where a running daemon is to be taken over from it
/// still has most of them, and hands them over later.
pub(super) fn bind(
    addresses: impl Iterator<Item = SocketAddr>,
    succession: Succession,
    inherited: &[SocketAddr],
) -> Result<Bound, PortError> {
    let mut bound = Vec::new();
    for address in addresses {
        let takes_root = (1..FIRST_UNPRIVILEGED).contains(&address.port());
        if !takes_root || inherited.contains(&address) {
            continue;
        }
        match bind_one(address) {
            Ok(socket) => bound.push(socket),
            Err(_handed_over) if succession == Succession::TakeOver => {}
            Err(source) => return Err(PortError { address, source }),
        }
    }
    Ok(Bound(bound))
}

fn bind_one(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // As tokio does: connections of a former daemon that are still ending are in nobody's way.
    set_socket_reuseaddr(&socket, true)?;
    bind_socket(&socket, &address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn nobody_connects_before_it_listens() {
        let socket = bind_one("127.0.0.1:0".parse().unwrap()).unwrap();
        let bound = TcpListener::from(socket.try_clone().unwrap());
        let address = bound.local_addr().unwrap();
        assert!(TcpStream::connect(address).is_err());
        let mut inherited = Bound(vec![socket]).listen().unwrap();
        assert!(TcpStream::connect(address).is_ok());
        assert!(inherited.take(address).is_some());
    }

    #[test]
    fn only_what_takes_root_is_bound() {
        let check = |address: &str, succession, inherited: &[&str], expected: Option<usize>| {
            let addresses = [address.parse().unwrap()];
            let inherited: Vec<_> = inherited.iter().map(|text| text.parse().unwrap()).collect();
            let bound = bind(addresses.into_iter(), succession, &inherited);
            assert_eq!(bound.ok().map(|bound| bound.0.len()), expected, "{address}");
        };
        check("127.0.0.1:0", Succession::First, &[], Some(0));
        check("127.0.0.1:8443", Succession::First, &[], Some(0));
        check(
            "127.0.0.1:443",
            Succession::First,
            &["127.0.0.1:443"],
            Some(0),
        );
        // TEST-NET-1: nobody has it.
        check("192.0.2.1:443", Succession::First, &[], None);
        check("192.0.2.1:443", Succession::TakeOver, &[], Some(0));
    }
}
