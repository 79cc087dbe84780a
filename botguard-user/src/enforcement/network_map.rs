//! A map by network that answers "what covers this address" and "what lies within this network".
//!
//! An ordered map and the prefix lengths in it: a lookup costs one probe for each length that
//! occurs, usually two or three, never a walk over the entries.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

pub use crate::words::address::canonical_network;

/// Values by canonical network.
#[derive(Clone, Debug)]
pub struct NetworkMap<V> {
    /// IPv4 before IPv6, then by first address, then wide before narrow: what lies within a
    /// network follows it without a gap.
    entries: BTreeMap<IpNet, V>,
    /// How many entries have the prefix length that is the index, by family.
    lengths_v4: [u32; 33],
    lengths_v6: [u32; 129],
}

impl<V> Default for NetworkMap<V> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            lengths_v4: [0; 33],
            lengths_v6: [0; 129],
        }
    }
}

impl<V> NetworkMap<V> {
    /// The value of exactly this network, made by `default` where there is none.
    pub fn entry_or_insert_with(&mut self, network: IpNet, default: impl FnOnce() -> V) -> &mut V {
        if !self.entries.contains_key(&network) {
            *self.length_count(&network) += 1;
        }
        self.entries.entry(network).or_insert_with(default)
    }

    /// Sets the value of exactly this network; returns the one before.
    pub fn insert(&mut self, network: IpNet, value: V) -> Option<V> {
        let before = self.entries.insert(network, value);
        if before.is_none() {
            *self.length_count(&network) += 1;
        }
        before
    }

    /// Takes out the value of exactly this network.
    pub fn remove(&mut self, network: &IpNet) -> Option<V> {
        let removed = self.entries.remove(network);
        if removed.is_some() {
            *self.length_count(network) -= 1;
        }
        removed
    }

    /// The value of exactly this network.
    #[must_use]
    pub fn get(&self, network: &IpNet) -> Option<&V> {
        self.entries.get(network)
    }

    /// The value of exactly this network.
    pub fn get_mut(&mut self, network: &IpNet) -> Option<&mut V> {
        self.entries.get_mut(network)
    }

    /// All entries that hold the whole of `network`, itself included, most specific first.
    pub fn covering(&self, network: IpNet) -> impl Iterator<Item = (&IpNet, &V)> {
        let lengths: &[u32] = match network {
            IpNet::V4(_) => &self.lengths_v4,
            IpNet::V6(_) => &self.lengths_v6,
        };
        let lengths = (0..=network.prefix_len()).zip(lengths).rev();
        lengths
            .filter(|(_len, count)| **count > 0)
            .filter_map(move |(len, _count)| self.entries.get_key_value(&widened(network, len)?))
    }

    /// All entries that lie within `network`, itself included, in order.
    pub fn within(&self, network: IpNet) -> impl Iterator<Item = (&IpNet, &V)> {
        let last = host(network.broadcast());
        self.entries.range(network.trunc()..=last)
    }

    /// All entries in order: IPv4 first, then by address.
    pub fn iter(&self) -> impl Iterator<Item = (&IpNet, &V)> {
        self.entries.iter()
    }

    /// All values, in the order of their networks.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.values_mut()
    }

    /// How many networks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn length_count(&mut self, network: &IpNet) -> &mut u32 {
        // A prefix length is at most 32 or 128, so the index is in range.
        let len = usize::from(network.prefix_len());
        match network {
            IpNet::V4(_) => &mut self.lengths_v4[len],
            IpNet::V6(_) => &mut self.lengths_v6[len],
        }
    }
}

fn host(address: IpAddr) -> IpNet {
    IpNet::from(address)
}

/// The network of prefix length `len` that holds `network`; `None` if that is longer than the
/// family's addresses.
fn widened(network: IpNet, len: u8) -> Option<IpNet> {
    match network {
        IpNet::V4(net) => Ipv4Net::new(net.addr(), len)
            .ok()
            .map(|net| net.trunc().into()),
        IpNet::V6(net) => Ipv6Net::new(net.addr(), len)
            .ok()
            .map(|net| net.trunc().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn map(networks: &[&str]) -> NetworkMap<()> {
        let mut map = NetworkMap::default();
        for network in networks {
            map.insert(net(network), ());
        }
        map
    }

    fn check<'a>(found: impl Iterator<Item = (&'a IpNet, &'a ())>, expected: &[&str]) {
        let found: Vec<_> = found.map(|(network, ())| network.to_string()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn covering_is_most_specific_first() {
        let mut map = map(&[
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.2.3/32",
            "::/0",
        ]);
        check(
            map.covering(net("10.1.2.3/32")),
            &["10.1.2.3/32", "10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0"],
        );
        check(
            map.covering(net("10.1.0.0/16")),
            &["10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0"],
        );
        check(map.covering(net("2001:db8::1/128")), &["::/0"]);
        map.remove(&net("10.1.0.0/16"));
        map.remove(&net("0.0.0.0/0"));
        check(
            map.covering(net("10.1.2.3/32")),
            &["10.1.2.3/32", "10.0.0.0/8"],
        );
        check(map.covering(net("11.1.2.3/32")), &[]);
    }

    #[test]
    fn within_has_no_gap_and_no_neighbour() {
        let map = map(&[
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.0.0/32",
            "10.1.255.255/32",
            "10.2.0.0/16",
            "::/0",
        ]);
        check(
            map.within(net("10.1.0.0/16")),
            &["10.1.0.0/16", "10.1.0.0/32", "10.1.255.255/32"],
        );
        check(map.within(net("::/0")), &["::/0"]);
        check(map.within(net("11.0.0.0/8")), &[]);
    }
}
