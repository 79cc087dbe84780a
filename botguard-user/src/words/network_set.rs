//! A set of networks that share everything but their addresses: an imported list, or what an
//! autonomous system announces. Sorted and immutable; eight bytes an IPv4 network.
//!
//! Not here: what a member of the set means ([`super::layer`]).

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::address::canonical_network;

/// An address as a number, of either family.
pub trait Address: Copy + Ord + Send + Sync + std::fmt::Debug + 'static {
    /// Length of a host's prefix.
    const BITS: u8;
    /// The address with all bits behind the first `len` cleared.
    #[must_use]
    fn truncated(self, len: u8) -> Self;
    /// The address with all bits behind the first `len` set.
    #[must_use]
    fn last(self, len: u8) -> Self;
    /// The network of this address and length.
    fn network(self, len: u8) -> IpNet;
    /// The network, if it is of this family.
    fn prefix_of(network: &IpNet) -> Option<Prefix<Self>>;
    /// The address before, if there is one.
    fn before(self) -> Option<Self>;
    /// The address after, if there is one.
    fn after(self) -> Option<Self>;
}

impl Address for u32 {
    const BITS: u8 = 32;

    fn truncated(self, len: u8) -> Self {
        self & Self::MAX.checked_shl(32 - Self::from(len)).unwrap_or(0)
    }

    fn last(self, len: u8) -> Self {
        self | Self::MAX.checked_shr(Self::from(len)).unwrap_or(0)
    }

    fn network(self, len: u8) -> IpNet {
        IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from(self), len.min(32)))
    }

    fn prefix_of(network: &IpNet) -> Option<Prefix<Self>> {
        match network {
            IpNet::V4(network) => Some((*network).into()),
            IpNet::V6(_) => None,
        }
    }

    fn before(self) -> Option<Self> {
        self.checked_sub(1)
    }

    fn after(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Address for u128 {
    const BITS: u8 = 128;

    fn truncated(self, len: u8) -> Self {
        self & Self::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0)
    }

    fn last(self, len: u8) -> Self {
        self | Self::MAX.checked_shr(u32::from(len)).unwrap_or(0)
    }

    fn network(self, len: u8) -> IpNet {
        IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from(self), len.min(128)))
    }

    fn prefix_of(network: &IpNet) -> Option<Prefix<Self>> {
        match network {
            IpNet::V6(network) => Some((*network).into()),
            IpNet::V4(_) => None,
        }
    }

    fn before(self) -> Option<Self> {
        self.checked_sub(1)
    }

    fn after(self) -> Option<Self> {
        self.checked_add(1)
    }
}

/// A network of one family. Ordered by address, then wide before narrow, so that what lies within
/// a network follows it without a gap.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Prefix<A> {
    /// First address; no bits beyond `len`.
    pub address: A,
    /// Prefix length, at most [`Address::BITS`].
    pub len: u8,
}

impl<A: Address> Prefix<A> {
    /// A host.
    #[must_use]
    pub const fn host(address: A) -> Self {
        Self {
            address,
            len: A::BITS,
        }
    }

    /// Whether it holds the whole of `other`.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        self.len <= other.len && other.address.truncated(self.len) == self.address
    }

    /// Last address.
    #[must_use]
    pub fn last(&self) -> A {
        self.address.last(self.len)
    }

    /// As a network of either family.
    #[must_use]
    pub fn network(&self) -> IpNet {
        self.address.network(self.len)
    }

    /// The fewest networks that hold the addresses from `first` to `last` and no other, in order.
    #[must_use]
    pub fn spanning(first: A, last: A) -> Vec<Self> {
        let mut networks = vec![];
        let all = Self {
            address: first.truncated(0),
            len: 0,
        };
        all.spanning_within(first, last, &mut networks);
        networks
    }

    fn spanning_within(self, first: A, last: A, networks: &mut Vec<Self>) {
        if self.last() < first || last < self.address {
            return;
        }
        if first <= self.address && self.last() <= last {
            networks.push(self);
        } else {
            // Not a host, which is either in or out.
            let [lower, upper] = self.halves();
            lower.spanning_within(first, last, networks);
            upper.spanning_within(first, last, networks);
        }
    }

    /// Its halves; it is not a host.
    fn halves(&self) -> [Self; 2] {
        let len = self.len + 1;
        // All ones behind the first `len` bits, all zeros there: where the upper one begins.
        let addresses = [self.address, self.last().truncated(len)];
        addresses.map(|address| Self { address, len })
    }
}

impl From<Ipv4Net> for Prefix<u32> {
    fn from(network: Ipv4Net) -> Self {
        Self {
            address: u32::from(network.addr()).truncated(network.prefix_len()),
            len: network.prefix_len(),
        }
    }
}

impl From<Ipv6Net> for Prefix<u128> {
    fn from(network: Ipv6Net) -> Self {
        Self {
            address: u128::from(network.addr()).truncated(network.prefix_len()),
            len: network.prefix_len(),
        }
    }
}

/// Disjoint networks in order. Those that lie within another one of the set are left out: they
/// add nothing to it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NetworkSet {
    v4: Box<[Prefix<u32>]>,
    v6: Box<[Prefix<u128>]>,
}

impl NetworkSet {
    /// From networks of each family in any order.
    #[must_use]
    pub fn new(v4: Vec<Prefix<u32>>, v6: Vec<Prefix<u128>>) -> Self {
        Self {
            v4: disjoint(v4),
            v6: disjoint(v6),
        }
    }

    /// Those of IPv4, in order.
    #[must_use]
    pub const fn v4(&self) -> &[Prefix<u32>] {
        &self.v4
    }

    /// Those of IPv6, in order.
    #[must_use]
    pub const fn v6(&self) -> &[Prefix<u128>] {
        &self.v6
    }

    /// All, IPv4 first, in order.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> + '_ {
        let v4 = self.v4.iter().map(Prefix::network);
        v4.chain(self.v6.iter().map(Prefix::network))
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The member that holds the whole of `network`, if any. Cost: a binary search.
    #[must_use]
    pub fn covering(&self, network: &IpNet) -> Option<IpNet> {
        match canonical_network(*network) {
            IpNet::V4(network) => holder(&self.v4, &network.into()).map(Prefix::network),
            IpNet::V6(network) => holder(&self.v6, &network.into()).map(Prefix::network),
        }
    }

    /// Whether it has an address in common with `network`.
    #[must_use]
    pub fn touches(&self, network: &IpNet) -> bool {
        fn of<A: Address>(set: &[Prefix<A>], prefix: Prefix<A>) -> bool {
            let from = set.partition_point(|member| *member < prefix);
            let is_within = set.get(from).is_some_and(|member| prefix.contains(member));
            is_within || holder(set, &prefix).is_some()
        }
        match canonical_network(*network) {
            IpNet::V4(network) => of(&self.v4, network.into()),
            IpNet::V6(network) => of(&self.v6, network.into()),
        }
    }

    /// The set without the addresses of `spared`; members that are hit in part are split.
    #[must_use]
    pub fn without(&self, spared: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (vec![], vec![]);
        for network in spared {
            match canonical_network(*network) {
                IpNet::V4(network) => v4.push(network.into()),
                IpNet::V6(network) => v6.push(network.into()),
            }
        }
        Self {
            v4: difference(&self.v4, &disjoint(v4)),
            v6: difference(&self.v6, &disjoint(v6)),
        }
    }

    /// Share of the family's address space that it covers, 0 to 1: IPv4, IPv6.
    #[must_use]
    pub fn share(&self) -> (f64, f64) {
        fn of<A: Address>(prefixes: &[Prefix<A>]) -> f64 {
            let shares = prefixes.iter().map(|p| (-f64::from(p.len)).exp2());
            shares.sum()
        }
        (of(&self.v4), of(&self.v6))
    }
}

impl FromIterator<IpNet> for NetworkSet {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        let (mut v4, mut v6) = (vec![], vec![]);
        for network in networks {
            match canonical_network(network) {
                IpNet::V4(network) => v4.push(network.into()),
                IpNet::V6(network) => v6.push(network.into()),
            }
        }
        Self::new(v4, v6)
    }
}

fn disjoint<A: Address>(mut prefixes: Vec<Prefix<A>>) -> Box<[Prefix<A>]> {
    // Lists come sorted more often than not.
    if !prefixes.is_sorted() {
        prefixes.sort_unstable();
    }
    let mut last: Option<Prefix<A>> = None;
    prefixes.retain(|prefix| {
        let is_new = !last.is_some_and(|last| last.contains(prefix));
        if is_new {
            last = Some(*prefix);
        }
        is_new
    });
    prefixes.into_boxed_slice()
}

fn holder<'a, A: Address>(set: &'a [Prefix<A>], prefix: &Prefix<A>) -> Option<&'a Prefix<A>> {
    let after = set.partition_point(|member| member <= prefix);
    let before = set.get(after.checked_sub(1)?)?;
    before.contains(prefix).then_some(before)
}

fn difference<A: Address>(set: &[Prefix<A>], spared: &[Prefix<A>]) -> Box<[Prefix<A>]> {
    let mut left = Vec::with_capacity(set.len());
    for prefix in set {
        if holder(spared, prefix).is_some() {
            continue;
        }
        let from = spared.partition_point(|other| other < prefix);
        let within = &spared[from..];
        let n_within = within.partition_point(|other| prefix.contains(other));
        split(*prefix, &within[..n_within], &mut left);
    }
    left.into_boxed_slice()
}

/// Halves `prefix` until no part of it is hit in part.
fn split<A: Address>(prefix: Prefix<A>, spared: &[Prefix<A>], left: &mut Vec<Prefix<A>>) {
    match spared {
        [] => left.push(prefix),
        [only] if *only == prefix => {}
        _ => {
            let [lower, upper] = prefix.halves();
            let (low, high) = spared.split_at(spared.partition_point(|other| *other < upper));
            split(lower, low, left);
            split(upper, high, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn set(networks: &[&str]) -> NetworkSet {
        networks.iter().map(|text| net(text)).collect()
    }

    fn texts(set: &NetworkSet) -> Vec<String> {
        set.iter().map(|network| network.to_string()).collect()
    }

    #[test]
    fn a_set_is_sorted_disjoint_and_canonical() {
        let check = |networks: &[&str], expected: &[&str]| {
            assert_eq!(texts(&set(networks)), expected);
        };
        check(
            &["2001:db8::/32", "10.1.0.0/16", "10.0.0.0/8", "1.2.3.4/32"],
            &["1.2.3.4/32", "10.0.0.0/8", "2001:db8::/32"],
        );
        check(
            &["::ffff:1.2.3.4/128", "1.2.3.4/32", "1.2.3.5/31"],
            &["1.2.3.4/31"],
        );
        check(&["0.0.0.0/0", "::/0"], &["0.0.0.0/0", "::/0"]);
        check(&[], &[]);
    }

    #[test]
    fn what_is_spared_is_cut_out() {
        let check = |networks: &[&str], spared: &[&str], expected: &[&str]| {
            let spared: Vec<_> = spared.iter().map(|text| net(text)).collect();
            assert_eq!(texts(&set(networks).without(&spared)), expected);
        };
        check(
            &["10.0.0.0/30"],
            &["10.0.0.1/32"],
            &["10.0.0.0/32", "10.0.0.2/31"],
        );
        check(&["10.0.0.0/30"], &["10.0.0.0/8"], &[]);
        check(&["10.0.0.0/30"], &["10.0.0.0/30"], &[]);
        check(&["10.0.0.0/30"], &["10.0.0.4/32"], &["10.0.0.0/30"]);
        check(&["::/126"], &["::3/128"], &["::/127", "::2/128"]);
        check(
            &["10.0.0.0/31", "10.0.1.0/32"],
            &["10.0.0.0/32", "10.0.0.1/32"],
            &["10.0.1.0/32"],
        );
    }

    #[test]
    fn ranges_are_spanned_by_the_fewest_networks() {
        let check = |first: u32, last: u32, expected: &[&str]| {
            let networks = Prefix::spanning(first, last);
            let texts: Vec<_> = networks.iter().map(|p| p.network().to_string()).collect();
            assert_eq!(texts, expected, "{first}-{last}");
        };
        check(0, u32::MAX, &["0.0.0.0/0"]);
        check(7, 7, &["0.0.0.7/32"]);
        check(0, 255, &["0.0.0.0/24"]);
        check(1, 4, &["0.0.0.1/32", "0.0.0.2/31", "0.0.0.4/32"]);
        check(u32::MAX - 1, u32::MAX, &["255.255.255.254/31"]);
        let v6 = Prefix::spanning(0_u128, u128::MAX);
        assert_eq!(v6, [Prefix { address: 0, len: 0 }]);
    }

    #[test]
    fn shares_are_of_a_family() {
        assert_eq!(set(&["0.0.0.0/2", "8000::/1"]).share(), (0.25, 0.5));
    }

    proptest! {
        #[test]
        fn spans_hold_their_range_without_a_pair_that_could_be_one(
            first in any::<u32>(),
            length in 0_u32..5_000,
        ) {
            let last = first.saturating_add(length);
            let networks = Prefix::spanning(first, last);
            let mut next = u64::from(first);
            for network in &networks {
                prop_assert_eq!(u64::from(network.address), next);
                next = u64::from(network.last()) + 1;
            }
            prop_assert_eq!(next, u64::from(last) + 1);
            for pair in networks.windows(2) {
                let wider = Prefix { address: pair[0].address.truncated(pair[0].len - 1), len: pair[0].len - 1 };
                let is_pair = pair[0].len == pair[1].len && wider.contains(&pair[1]);
                prop_assert!(!is_pair || wider.address != pair[0].address);
            }
        }

        #[test]
        fn sets_and_differences_hold_what_a_walk_says(
            members in prop::collection::vec((0_u32..64, 26_u8..=32), 0..12),
            spared in prop::collection::vec((0_u32..64, 26_u8..=32), 0..6),
        ) {
            let networks = |parts: &[(u32, u8)]| -> Vec<IpNet> {
                parts.iter().map(|(a, len)| a.truncated(*len).network(*len)).collect()
            };
            let (members, spared) = (networks(&members), networks(&spared));
            let set: NetworkSet = members.iter().copied().collect();
            let left = set.without(&spared);
            for address in 0_u32..64 {
                let host = address.network(32);
                let holds = |all: &[IpNet]| all.iter().any(|network| network.contains(&host));
                prop_assert_eq!(set.covering(&host).is_some(), holds(&members));
                prop_assert_eq!(
                    left.covering(&host).is_some(),
                    holds(&members) && !holds(&spared)
                );
            }
            prop_assert!(left.v4.is_sorted());
        }
    }
}
