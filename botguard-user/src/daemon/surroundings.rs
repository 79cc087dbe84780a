//! What the host looks like from here: who must never be banned, and where the listeners are.

use std::net::{SocketAddr, ToSocketAddrs as _};

use ipnet::IpNet;

use crate::edge::upstream::{Endpoint, EndpointPlace};
use crate::enforcement::kernel::{LocalListener, Protocol, expand_wildcards};
use crate::enforcement::never_block::{Guard, NeverBlock, own_addresses};
use crate::settings::Settings;
use crate::words::address::host_network;

/// Whether names of upstreams are looked up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lookup {
    /// They are; it may take as long as a resolver does.
    Names,
    /// Only endpoints that are written as addresses are known.
    None,
}

/// Everyone whom automatic bans and lists spare.
#[must_use]
pub fn guard(settings: &Settings, lookup: Lookup) -> NeverBlock {
    let mut guard = NeverBlock::of_host();
    let endpoints = settings
        .upstream
        .values()
        .flat_map(|upstream| &upstream.endpoints);
    guard.guard(
        Guard::Upstream,
        endpoints.flat_map(|endpoint| upstream_networks(endpoint, lookup)),
    );
    guard.guard(Guard::Proxy, settings.trust.proxies.iter().copied());
    guard.guard(Guard::Operator, settings.trust.never_block.iter().copied());
    guard
}

/// Which boot of the host this is: what was kept under another one says nothing of its clocks.
/// Empty where the kernel does not tell, which is then the same boot always.
#[must_use]
pub fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.unwrap_or_default().trim().to_owned()
}

/// The listeners as the kernel's table wants them: wildcards written out, and for UDP as well as for
/// TCP. Nothing of botguard's listens for UDP, but whoever is blocked has no business there, and
/// unfiltered datagrams would each be answered by an ICMP error.
#[must_use]
pub fn local_listeners(binds: &[SocketAddr]) -> Vec<LocalListener> {
    let local = own_addresses();
    [Protocol::Tcp, Protocol::Udp]
        .into_iter()
        .flat_map(|protocol| expand_wildcards(binds, protocol, &local))
        .collect()
}

/// Addresses of an endpoint; none where it has no name that can be looked up.
fn upstream_networks(endpoint: &str, lookup: Lookup) -> Vec<IpNet> {
    let Ok(endpoint) = endpoint.parse::<Endpoint>() else {
        return Vec::new();
    };
    let (host, port) = match endpoint.place() {
        EndpointPlace::Address(address) => return vec![host_network(address.ip())],
        EndpointPlace::Name { host, port } if lookup == Lookup::Names => (host.as_str(), *port),
        EndpointPlace::Name { .. } | EndpointPlace::Unix(_) => return Vec::new(),
    };
    let found = (host, port).to_socket_addrs();
    found.map_or_else(
        |error| {
            tracing::warn!(%error, host, "upstream cannot be looked up, so it is not guarded");
            Vec::new()
        },
        |addresses| {
            addresses
                .map(|address| host_network(address.ip()))
                .collect()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_guarded_by_their_addresses() {
        let check = |endpoint: &str, expected: &[&str]| {
            let networks = upstream_networks(endpoint, Lookup::Names);
            let networks: Vec<_> = networks.iter().map(ToString::to_string).collect();
            assert_eq!(networks, expected, "{endpoint}");
        };
        check("http://192.0.2.1:3000", &["192.0.2.1/32"]);
        check("http://[2001:db8::1]:3000", &["2001:db8::1/128"]);
        check("https://192.0.2.1", &["192.0.2.1/32"]);
        check("h2c://192.0.2.1:50051", &["192.0.2.1/32"]);
        check("unix:/run/app.sock", &[]);
        check("not an endpoint", &[]);
    }
    #[test]
    fn a_listener_is_protected_from_datagrams_too() {
        let bind = "192.0.2.1:443".parse().unwrap();
        let found = local_listeners(&[bind]);
        let listener = |protocol| LocalListener {
            address: bind,
            protocol,
        };
        assert_eq!(found, [Protocol::Tcp, Protocol::Udp].map(listener));
    }
}
