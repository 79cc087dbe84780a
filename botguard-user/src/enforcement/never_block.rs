//! Who is never banned: this host itself, what it cannot live without, and whom the operator
//! trusts. Automatic bans of these are dropped; operator blocks that cover this host are refused.
//!
//! The sets come from the host ([`NeverBlock::of_host`]) and from the configuration
//! ([`NeverBlock::guard`]); the parsers are pure over the text of the files.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use nix::sys::socket::SockaddrStorage;

use super::network_map::canonical_network;
use crate::words::address::{canonical, host_network};

/// Guarded networks and why.
#[derive(Clone, Debug, Default)]
pub struct NeverBlock {
    /// A few dozen at most, so a walk over all is fine.
    guarded: Vec<(IpNet, Guard)>,
}

/// Why a network is never blocked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Guard {
    /// It is an address of this host, or loopback.
    Own,
    /// A default gateway.
    Gateway,
    /// A name server of `/etc/resolv.conf`.
    Resolver,
    /// An endpoint of `[upstream]`.
    Upstream,
    /// One of `[trust] proxies`.
    Proxy,
    /// One of `[trust] never_block`.
    Operator,
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Own => "an address of this host",
            Self::Gateway => "a default gateway of this host",
            Self::Resolver => "a name server of this host",
            Self::Upstream => "an upstream endpoint",
            Self::Proxy => "one of [trust] proxies",
            Self::Operator => "one of [trust] never_block",
        })
    }
}

/// A guarded network that a block would hit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Covered {
    /// What would be hit.
    pub network: IpNet,
    /// Why it must not be.
    pub guard: Guard,
}

impl fmt::Display for Covered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.network, self.guard)
    }
}

impl NeverBlock {
    /// What this host says: its addresses, gateways and name servers. A file that cannot be read
    /// guards nothing; loopback is guarded in any case.
    #[must_use]
    pub fn of_host() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let mut never = Self::default();
        never.guard(Guard::Own, loopback());
        never.guard(Guard::Own, own_addresses().into_iter().map(host_network));
        never.guard(Guard::Gateway, gateways_v4(&read("/proc/net/route")));
        never.guard(Guard::Gateway, gateways_v6(&read("/proc/net/ipv6_route")));
        never.guard(Guard::Resolver, resolvers(&read("/etc/resolv.conf")));
        never
    }

    /// Adds networks with a common reason.
    pub fn guard(&mut self, guard: Guard, networks: impl IntoIterator<Item = IpNet>) {
        let networks = networks.into_iter().map(canonical_network);
        self.guarded
            .extend(networks.map(|network| (network, guard)));
    }

    /// Every guarded network, in the order in which they were added.
    pub fn networks(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.guarded.iter().map(|(network, _guard)| *network)
    }

    /// The first guarded network that a block of `network` would hit, wholly or in part.
    #[must_use]
    pub fn covers(&self, network: &IpNet) -> Option<Covered> {
        self.find(network, |_guard| true)
    }

    /// The first address of this host that a block of `network` would hit: what even the operator
    /// is refused.
    #[must_use]
    pub fn covers_own(&self, network: &IpNet) -> Option<Covered> {
        self.find(network, |guard| guard == Guard::Own)
    }

    /// The first network that a block of every packet of `network` would cut this host off from:
    /// its own addresses, gateways (their neighbour discovery is IPv6 packets too) and name servers.
    #[must_use]
    pub fn covers_lifeline(&self, network: &IpNet) -> Option<Covered> {
        self.find(network, |guard| {
            matches!(guard, Guard::Own | Guard::Gateway | Guard::Resolver)
        })
    }

    /// Every guarded network.
    pub fn all(&self) -> impl Iterator<Item = Covered> + '_ {
        let guarded = self.guarded.iter();
        guarded.map(|&(network, guard)| Covered { network, guard })
    }

    fn find(&self, network: &IpNet, wanted: impl Fn(Guard) -> bool) -> Option<Covered> {
        let network = canonical_network(*network);
        let hit = self.guarded.iter().find(|(guarded, guard)| {
            wanted(*guard) && (guarded.contains(&network) || network.contains(guarded))
        });
        hit.map(|&(network, guard)| Covered { network, guard })
    }
}

/// Every address of every interface of this network namespace. Empty if the kernel does not tell.
#[must_use]
pub fn own_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else {
        return vec![];
    };
    let addresses = interfaces.filter_map(|interface| ip_of(&interface.address?));
    addresses.map(canonical).collect()
}

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

fn loopback() -> [IpNet; 2] {
    let v4 = ipnet::Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
    [IpNet::V4(v4), host_network(IpAddr::V6(Ipv6Addr::LOCALHOST))]
}

/// Gateways of the default routes in `/proc/net/route`: columns of hexadecimal words in the host's
/// byte order, of which the second is the destination, the third the gateway, the eighth the mask.
fn gateways_v4(text: &str) -> Vec<IpNet> {
    let word = |field: &str| u32::from_str_radix(field, 16).ok();
    let gateway = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, destination, gateway, _, _, _, _, mask, ..] = fields.as_slice() else {
            return None;
        };
        let gateway = word(gateway)?;
        let is_default = word(destination)? == 0 && word(mask)? == 0 && gateway != 0;
        is_default.then(|| host_network(IpAddr::from(gateway.to_ne_bytes())))
    };
    text.lines().filter_map(gateway).collect()
}

/// Gateways of the default routes in `/proc/net/ipv6_route`: destination, its length, source, its
/// length, next hop, … in hexadecimal.
fn gateways_v6(text: &str) -> Vec<IpNet> {
    let gateway = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, "00", _, _, next_hop, ..] = fields.as_slice() else {
            return None;
        };
        let next_hop = u128::from_str_radix(next_hop, 16).ok()?;
        (next_hop != 0).then(|| host_network(IpAddr::from(next_hop.to_be_bytes())))
    };
    text.lines().filter_map(gateway).collect()
}

/// Name servers of `/etc/resolv.conf` (resolv.conf(5)); zones of link-local ones are left out.
fn resolvers(text: &str) -> Vec<IpNet> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let address = (words.next()? == "nameserver").then(|| words.next())??;
        let address = address.split('%').next()?;
        Some(host_network(address.parse().ok()?))
    };
    text.lines().filter_map(server).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(found: &[IpNet], expected: &[&str]) {
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn gateways_are_read_from_the_routes() {
        let routes = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n\
            eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
            eth0\t0000010A\t0200A8C0\t0003\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
            ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n";
        check(&gateways_v4(routes), &["192.168.0.1/32"]);
        let zero = "0".repeat(32);
        let hop = "fe800000000000000000000000000001";
        let net = "20010db8000000000000000000000000";
        let routes = format!(
            "{zero} 00 {zero} 00 {hop} 00000400 00000001 00000000 00000003 eth0\n\
             {net} 20 {zero} 00 {hop} 00000400 00000001 00000000 00000003 eth0\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200 lo\n"
        );
        check(&gateways_v6(&routes), &["fe80::1/128"]);
    }

    #[test]
    fn resolvers_are_read_from_resolv_conf() {
        let text = "# nameserver 192.0.2.9\nsearch example.com\nnameserver 192.0.2.53\n\
            nameserver fe80::1%eth0\nnameserver\nnameserver none\n";
        check(&resolvers(text), &["192.0.2.53/32", "fe80::1/128"]);
    }

    #[test]
    fn a_block_that_hits_a_guarded_network_is_seen() {
        let mut never = NeverBlock::default();
        never.guard(Guard::Own, loopback());
        never.guard(Guard::Operator, ["192.0.2.0/28".parse().unwrap()]);
        never.guard(Guard::Gateway, ["198.51.100.1/32".parse().unwrap()]);
        let check = |network: &str, all: Option<Guard>, own: Option<Guard>| {
            let network = network.parse().unwrap();
            assert_eq!(never.covers(&network).map(|covered| covered.guard), all);
            assert_eq!(never.covers_own(&network).map(|covered| covered.guard), own);
        };
        let lifeline = |text: &str| never.covers_lifeline(&text.parse().unwrap()).is_some();
        assert!(lifeline("198.51.100.0/24") && lifeline("127.0.0.1/32"));
        assert!(
            !lifeline("192.0.2.1/32"),
            "an operator may overrule himself"
        );
        check("198.51.100.1/32", Some(Guard::Gateway), None);
        check("192.0.2.1/32", Some(Guard::Operator), None);
        check("192.0.0.0/16", Some(Guard::Operator), None);
        check("192.0.2.16/32", None, None);
        check("127.0.0.1/32", Some(Guard::Own), Some(Guard::Own));
        check("::ffff:127.0.0.1/128", Some(Guard::Own), Some(Guard::Own));
        check("0.0.0.0/0", Some(Guard::Own), Some(Guard::Own));
        check("::1/128", Some(Guard::Own), Some(Guard::Own));
    }

    #[test]
    fn this_host_guards_its_loopback_addresses() {
        let never = NeverBlock::of_host();
        assert!(never.covers_own(&"127.0.0.1/32".parse().unwrap()).is_some());
        assert!(never.covers(&"192.0.2.77/32".parse().unwrap()).is_none());
    }
}
