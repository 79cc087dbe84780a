//! The listeners as the kernel's table wants them: local addresses, no wildcards.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use botguard_common::maps::Listener;
use botguard_common::packet::{TCP, UDP, mapped};

use crate::words::address::canonical;

/// Something that listens.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LocalListener {
    /// Local address, not a wildcard, and port.
    pub address: SocketAddr,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// The protocols that have ports to listen on.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Writes each wildcard bind (`0.0.0.0`, `[::]`) out as the local addresses it stands for. `[::]`
/// stands for those of IPv4 too, as Linux has it unless told otherwise: at worst an IPv4 source is
/// kept from a port where nothing of botguard's listens.
#[must_use]
pub fn expand_wildcards(
    binds: &[SocketAddr],
    protocol: Protocol,
    local: &[IpAddr],
) -> Vec<LocalListener> {
    let expanded = binds.iter().flat_map(|bind| {
        let addresses: Vec<IpAddr> = match canonical(bind.ip()) {
            IpAddr::V4(any) if any.is_unspecified() => {
                local.iter().copied().filter(IpAddr::is_ipv4).collect()
            }
            IpAddr::V6(any) if any.is_unspecified() => local.to_vec(),
            address => vec![address],
        };
        let port = bind.port();
        addresses.into_iter().map(move |address| LocalListener {
            address: SocketAddr::new(address, port),
            protocol,
        })
    });
    expanded.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The keys of the kernel's table: each listener, and for each of their addresses the key that
/// stands for all of them.
pub(super) fn keys(listeners: &[LocalListener]) -> BTreeSet<Listener> {
    let keys = listeners.iter().flat_map(|listener| {
        let address = match canonical(listener.address.ip()) {
            IpAddr::V4(v4) => mapped(v4.octets()),
            IpAddr::V6(v6) => v6.octets(),
        };
        let protocol = match listener.protocol {
            Protocol::Tcp => TCP,
            Protocol::Udp => UDP,
        };
        let port_be = listener.address.port().to_be_bytes();
        [
            Listener::new(address, port_be, protocol),
            Listener::any_of(address),
        ]
    });
    keys.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_become_local_addresses() {
        let local: Vec<IpAddr> = ["127.0.0.1", "192.0.2.1", "2001:db8::1"]
            .map(|address| address.parse().unwrap())
            .to_vec();
        let check = |bind: &str, expected: &[&str]| {
            let binds = [bind.parse().unwrap()];
            let found = expand_wildcards(&binds, Protocol::Tcp, &local);
            let found: Vec<_> = found
                .iter()
                .map(|found| found.address.to_string())
                .collect();
            assert_eq!(found, expected);
        };
        check("192.0.2.1:443", &["192.0.2.1:443"]);
        check("[::ffff:192.0.2.1]:443", &["192.0.2.1:443"]);
        check("0.0.0.0:443", &["127.0.0.1:443", "192.0.2.1:443"]);
        check(
            "[::]:443",
            &["127.0.0.1:443", "192.0.2.1:443", "[2001:db8::1]:443"],
        );
    }

    #[test]
    fn an_address_has_one_key_for_all_its_listeners() {
        let listener = |text: &str| LocalListener {
            address: text.parse().unwrap(),
            protocol: Protocol::Tcp,
        };
        let keys = keys(&[listener("192.0.2.1:443"), listener("192.0.2.1:80")]);
        assert_eq!(keys.len(), 3);
        assert!(keys.contains(&Listener::any_of(mapped([192, 0, 2, 1]))));
    }
}
