//! `[trust]`: whose word about the client's address is believed.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize};

use super::forwarded::{self, Hop};
use super::proxy_protocol::Source;
use crate::words::address::{ClientAddress, Via, canonical, host_network};

/// `[trust]`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrustSettings {
    /// Peers whose PROXY protocol headers, `Forwarded` and `X-Forwarded-For` are believed: addresses
    /// or networks.
    #[serde(deserialize_with = "networks")]
    pub proxies: Vec<IpNet>,
    /// Addresses or networks that are never banned.
    #[serde(deserialize_with = "networks")]
    pub never_block: Vec<IpNet>,
}

/// Tells clients from the proxies before them.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    proxies: Vec<IpNet>,
}

impl Trust {
    /// Believes the peers in `settings.proxies`.
    #[must_use]
    pub fn new(settings: &TrustSettings) -> Self {
        Self {
            proxies: settings.proxies.clone(),
        }
    }

    /// Whether `ip` is a trusted proxy's.
    #[must_use]
    pub fn is_proxy(&self, ip: IpAddr) -> bool {
        let ip = canonical(ip);
        self.proxies.iter().any(|network| network.contains(&ip))
    }

    /// The trusted proxy that wrote a request's headers, if one did: the peer, unless its PROXY
    /// protocol header says that the connection is another's, `told`.
    #[must_use]
    pub fn nearest_proxy(&self, peer: IpAddr, told: Source) -> Option<IpAddr> {
        let nearest = match told {
            Source::Peer => peer,
            Source::Address(ip) => ip,
            Source::Unnamed => return None,
        };
        self.is_proxy(nearest).then_some(nearest)
    }

    /// The client behind `peer`: `peer` itself, unless it is a trusted proxy that names another, by
    /// `told`, which its PROXY protocol header said, or in the request's headers. These are believed
    /// where there is a [`Self::nearest_proxy`]: so a chain of proxies is followed as far as it is
    /// trusted, whatever each of them speaks.
    ///
    /// A proxy writes one of the two headers and passes the other on as the client sent it. Which
    /// one is not known here, so where both are there and disagree, neither is believed, and the
    /// client is taken for the proxy itself (never bannable, since not told by its packets).
    #[must_use]
    pub fn client(&self, peer: IpAddr, told: Source, headers: &HeaderMap) -> ClientAddress {
        let by_connection = || match told {
            Source::Address(ip) => ClientAddress::behind(peer, ip, Via::ProxyProtocol),
            // Never bannable: its packets are the proxy's.
            Source::Unnamed => ClientAddress::behind(peer, peer, Via::ProxyProtocol),
            Source::Peer => ClientAddress::direct(peer),
        };
        let Some(nearest) = self.nearest_proxy(peer, told) else {
            return by_connection();
        };
        let named = |name: &HeaderName, read: fn(&[u8]) -> Vec<Hop>| {
            // Header lines are one list in their order (RFC 9110 section 5.3).
            let values: Vec<_> = headers.get_all(name).iter().collect();
            let hops = values
                .into_iter()
                .rev()
                .flat_map(|value| read(value.as_bytes()));
            headers
                .contains_key(name)
                .then(|| forwarded::client(hops, |ip| self.is_proxy(ip)))
        };
        let x_forwarded_for = named(&X_FORWARDED_FOR, |value| {
            forwarded::x_forwarded_for(value).collect()
        });
        let forwarded = named(&header::FORWARDED, |value| {
            forwarded::forwarded(value).collect()
        });
        let named = match (x_forwarded_for, forwarded) {
            (None, None) => return by_connection(),
            (Some(one), None) | (None, Some(one)) => one,
            (Some(one), Some(other)) if one == other => one,
            (Some(_), Some(_)) => None,
        };
        ClientAddress::behind(peer, named.unwrap_or(nearest), Via::Forwarded)
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Networks, or single addresses, IPv4-mapped ones as IPv4.
fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    Vec::<String>::deserialize(deserializer)?
        .iter()
        .map(|text| {
            text.parse::<IpAddr>()
                .map(host_network)
                .or_else(|_| text.parse::<IpNet>().map(unmapped))
                .map_err(|_cause| {
                    serde::de::Error::custom(format!(
                        "`{text}` is not an address or network; write \"192.0.2.1\" or \
                         \"192.0.2.0/24\""
                    ))
                })
        })
        .collect()
}

/// Truncated, and as IPv4 where all of it is IPv4-mapped: /96 and longer.
fn unmapped(network: IpNet) -> IpNet {
    let network = network.trunc();
    match canonical(network.network()) {
        IpAddr::V4(ip) if network.max_prefix_len() == 128 => network
            .prefix_len()
            .checked_sub(96)
            .and_then(|length| IpNet::new(IpAddr::V4(ip), length).ok())
            .unwrap_or(network),
        _ => network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients() {
        let settings = toml::from_str::<TrustSettings>("proxies = ['10.0.0.0/8', '192.0.2.200']");
        let trust = Trust::new(&settings.unwrap());
        let check = |peer: &str, headers: &[(&str, &str)], expected: &str, via: Via| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                map.append(name, value.parse().unwrap());
            }
            let client = trust.client(peer.parse().unwrap(), Source::Peer, &map);
            assert_eq!(
                (client.ip().to_string().as_str(), client.via()),
                (expected, via)
            );
        };
        let told = ("x-forwarded-for", "192.0.2.1");
        check("198.51.100.1", &[], "198.51.100.1", Via::Peer);
        check("198.51.100.1", &[told], "198.51.100.1", Via::Peer);
        check("10.1.2.3", &[], "10.1.2.3", Via::Peer);
        check("10.1.2.3", &[told], "192.0.2.1", Via::Forwarded);
        check("::ffff:10.1.2.3", &[told], "192.0.2.1", Via::Forwarded);
        check("192.0.2.200", &[told], "192.0.2.1", Via::Forwarded);
        check(
            "10.1.2.3",
            &[("forwarded", "for=192.0.2.1")],
            "192.0.2.1",
            Via::Forwarded,
        );
        check(
            "10.1.2.3",
            &[("x-forwarded-for", "203.0.113.9"), told],
            "192.0.2.1",
            Via::Forwarded,
        );
        // Agreeing headers are believed, disagreeing ones are not.
        check(
            "10.1.2.3",
            &[told, ("forwarded", "for=192.0.2.1")],
            "192.0.2.1",
            Via::Forwarded,
        );
        check(
            "10.1.2.3",
            &[told, ("forwarded", "for=203.0.113.9")],
            "10.1.2.3",
            Via::Forwarded,
        );
        check(
            "10.1.2.3",
            &[("x-forwarded-for", "junk")],
            "10.1.2.3",
            Via::Forwarded,
        );
    }

    #[test]
    fn clients_that_the_connection_tells() {
        let settings = "proxies = ['10.0.0.0/8', '203.0.113.0/24']";
        let trust = Trust::new(&toml::from_str(settings).unwrap());
        let check = |told: &str, forwarded_for: Option<&str>, expected: &str, via: Via| {
            let mut map = HeaderMap::new();
            if let Some(value) = forwarded_for {
                map.append("x-forwarded-for", value.parse().unwrap());
            }
            let told = match told {
                "unnamed" => Source::Unnamed,
                ip => Source::Address(ip.parse().unwrap()),
            };
            let client = trust.client("10.1.2.3".parse().unwrap(), told, &map);
            assert_eq!(
                (client.ip(), client.via()),
                (expected.parse().unwrap(), via)
            );
            assert_eq!(client.peer().to_string(), "10.1.2.3");
            assert_eq!(client.own_peer(), None);
        };
        let by_proxy = Via::ProxyProtocol;
        check("192.0.2.1", None, "192.0.2.1", by_proxy);
        check("::ffff:192.0.2.1", None, "192.0.2.1", by_proxy);
        // A client cannot pass itself off as a proxy by its headers, nor can one of which the proxy
        // knows no address.
        check("unnamed", None, "10.1.2.3", by_proxy);
        check("unnamed", Some("198.51.100.1"), "10.1.2.3", by_proxy);
        check("192.0.2.1", Some("198.51.100.1"), "192.0.2.1", by_proxy);
        check("192.0.2.1", Some("junk"), "192.0.2.1", by_proxy);
        // CDN, balancer with PROXY protocol, botguard; then two CDNs in a row.
        check("203.0.113.5", None, "203.0.113.5", by_proxy);
        check(
            "203.0.113.5",
            Some("192.0.2.1"),
            "192.0.2.1",
            Via::Forwarded,
        );
        check(
            "203.0.113.5",
            Some("10.9.9.9, 192.0.2.1, 203.0.113.77"),
            "192.0.2.1",
            Via::Forwarded,
        );
        check("203.0.113.5", Some("junk"), "203.0.113.5", Via::Forwarded);
    }

    #[test]
    fn networks_are_canonical() {
        let check = |text: &str, expected: &str| {
            let settings = format!("proxies = ['{text}']");
            let settings: TrustSettings = toml::from_str(&settings).unwrap();
            assert_eq!(settings.proxies, [expected.parse::<IpNet>().unwrap()]);
        };
        check("192.0.2.7", "192.0.2.7/32");
        check("192.0.2.7/24", "192.0.2.0/24");
        check("::ffff:192.0.2.7", "192.0.2.7/32");
        check("::ffff:192.0.2.0/120", "192.0.2.0/24");
        check("2001:db8::1/64", "2001:db8::/64");
        check("::/0", "::/0");
    }

    #[test]
    fn settings_name_what_is_wrong() {
        let error = toml::from_str::<TrustSettings>("never_block = ['nowhere']").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("`nowhere` is not an address or network")
        );
    }
}
