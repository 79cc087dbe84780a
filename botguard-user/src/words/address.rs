//! A client's address, and how it came to be known.
//!
//! The type keeps one promise: only an address that is the TCP peer's own can become a
//! [`PeerAddress`], and only a [`PeerAddress`] can be banned in the kernel.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// Where a client's address was read. Serialised as the audit record's `client.via`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// The TCP peer itself.
    Peer,
    /// PROXY protocol of a trusted peer.
    ProxyProtocol,
    /// `Forwarded` or `X-Forwarded-For` of a trusted peer.
    Forwarded,
    /// Told by an SDK.
    Sdk,
}

/// The address a request is judged by, and the peer whose packets carry it. Both canonical.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ClientAddress {
    ip: IpAddr,
    peer: IpAddr,
    via: Via,
}

impl ClientAddress {
    /// A client that connects by itself.
    #[must_use]
    pub const fn direct(peer: IpAddr) -> Self {
        let peer = canonical(peer);
        Self {
            ip: peer,
            peer,
            via: Via::Peer,
        }
    }

    /// A client behind a trusted proxy `peer`, named by `via`.
    ///
    /// [`Via::Peer`] here means the peer itself, whatever `ip` says.
    #[must_use]
    pub fn behind(peer: IpAddr, ip: IpAddr, via: Via) -> Self {
        match via {
            Via::Peer => Self::direct(peer),
            Via::ProxyProtocol | Via::Forwarded | Via::Sdk => Self {
                ip: canonical(ip),
                peer: canonical(peer),
                via,
            },
        }
    }

    /// The client's address.
    #[must_use]
    pub const fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The TCP peer's address.
    #[must_use]
    pub const fn peer(&self) -> IpAddr {
        self.peer
    }

    /// How [`Self::ip`] is known.
    #[must_use]
    pub const fn via(&self) -> Via {
        self.via
    }

    /// The client's address, if it is the TCP peer's own.
    #[must_use]
    pub fn own_peer(&self) -> Option<PeerAddress> {
        (self.via == Via::Peer).then_some(PeerAddress(self.peer))
    }
}

/// An address that completed a TCP handshake with us as itself: the only kind that may be banned
/// in the kernel automatically.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PeerAddress(IpAddr);

impl PeerAddress {
    /// The address, canonical.
    #[must_use]
    pub const fn ip(self) -> IpAddr {
        self.0
    }
}

/// IPv4-mapped IPv6 (`::ffff:a.b.c.d`, RFC 4291 section 2.5.5.2) becomes IPv4; the rest stays.
#[must_use]
pub const fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// The network of the address alone: /32 or /128.
#[must_use]
pub fn host_network(ip: IpAddr) -> IpNet {
    IpNet::from(canonical(ip))
}

/// The one form of a network: no bits beyond its prefix; IPv4-mapped IPv6 (`::ffff:0:0/96` and
/// narrower) as IPv4.
#[must_use]
pub fn canonical_network(network: IpNet) -> IpNet {
    let network = network.trunc();
    let IpNet::V6(v6) = network else {
        return network;
    };
    let mapped = v6.addr().to_ipv4_mapped();
    match (mapped, v6.prefix_len().checked_sub(96)) {
        (Some(address), Some(len)) => Ipv4Net::new(address, len).map_or(network, IpNet::V4),
        _ => network,
    }
}

/// The neighbourhood that one subscriber usually holds: /24 of IPv4, /64 of IPv6.
#[must_use]
pub fn neighbourhood(ip: IpAddr) -> IpNet {
    match canonical(ip) {
        IpAddr::V4(ip) => {
            IpNet::V4(Ipv4Net::new(ip, 24).map_or_else(|_| Ipv4Net::from(ip), |net| net.trunc()))
        }
        IpAddr::V6(ip) => {
            IpNet::V6(Ipv6Net::new(ip, 64).map_or_else(|_| Ipv6Net::from(ip), |net| net.trunc()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_the_peer_itself_can_be_banned() {
        let check = |client: ClientAddress, expected: Option<&str>| {
            assert_eq!(client.own_peer().map(PeerAddress::ip), expected.map(ip));
        };
        check(ClientAddress::direct(ip("192.0.2.1")), Some("192.0.2.1"));
        check(
            ClientAddress::direct(ip("::ffff:192.0.2.1")),
            Some("192.0.2.1"),
        );
        check(
            ClientAddress::behind(ip("10.0.0.1"), ip("192.0.2.1"), Via::Forwarded),
            None,
        );
        check(
            ClientAddress::behind(ip("10.0.0.1"), ip("192.0.2.1"), Via::ProxyProtocol),
            None,
        );
        check(
            ClientAddress::behind(ip("10.0.0.1"), ip("192.0.2.1"), Via::Sdk),
            None,
        );
        check(
            ClientAddress::behind(ip("10.0.0.1"), ip("192.0.2.1"), Via::Peer),
            Some("10.0.0.1"),
        );
    }

    #[test]
    fn neighbourhoods() {
        let check = |address, expected: &str| {
            assert_eq!(neighbourhood(ip(address)).to_string(), expected);
        };
        check("192.0.2.77", "192.0.2.0/24");
        check("::ffff:192.0.2.77", "192.0.2.0/24");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64");
    }

    #[test]
    fn networks_have_one_form() {
        let check = |text: &str, expected| {
            assert_eq!(
                canonical_network(text.parse().unwrap()).to_string(),
                expected
            )
        };
        check("10.1.2.3/8", "10.0.0.0/8");
        check("::ffff:10.1.2.3/128", "10.1.2.3/32");
        check("::ffff:10.1.2.3/104", "10.0.0.0/8");
        check("::ffff:0:0/95", "::fffe:0:0/95");
        check("2001:db8::1/64", "2001:db8::/64");
    }
}
