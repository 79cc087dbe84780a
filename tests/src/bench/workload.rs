//! What is blocked and who sends, made from a seed: the same in each run.

use super::random::Random;

/// An IPv4 network: address without bits beyond the length, and the length.
pub type NetworkV4 = (u32, u8);
/// An IPv6 network.
pub type NetworkV6 = (u128, u8);

/// Everything that a scene blocks.
#[derive(Clone, Debug, Default)]
pub struct Blocked {
    /// Single IPv4 addresses, distinct, in order.
    pub hosts: Vec<u32>,
    /// IPv4 prefixes, distinct, in order.
    pub prefixes: Vec<NetworkV4>,
    /// Systems with what they announce.
    pub systems: Vec<(u32, Vec<NetworkV4>)>,
    /// IPv6 networks of any length, distinct, in order.
    pub v6: Vec<NetworkV6>,
}

impl Blocked {
    /// The IPv4 prefixes of lists and systems.
    pub fn networks_v4(&self) -> impl Iterator<Item = NetworkV4> + '_ {
        let of_systems = self.systems.iter().flat_map(|(_number, networks)| networks);
        self.prefixes.iter().chain(of_systems).copied()
    }

    /// `n` distinct IPv4 addresses that nothing covers, of the whole address space.
    #[must_use]
    pub fn clean_v4(&self, n: usize, seed: u64) -> Vec<u32> {
        let covered = Ranges::new(self.networks_v4().map(|(address, len)| range(address, len)));
        let mut random = Random::seeded(seed);
        let mut clean = Vec::with_capacity(n);
        while clean.len() < n {
            let address = public_v4(&mut random);
            if !covered.hold(address) && self.hosts.binary_search(&address).is_err() {
                clean.push(address);
            }
        }
        clean
    }

    /// `n` IPv6 addresses that nothing covers, of so many allocations; entries lie in the first
    /// [`LISTED_ALLOCATIONS`].
    #[must_use]
    pub fn clean_v6(&self, n: usize, n_allocations: u32, seed: u64) -> Vec<u128> {
        let covered = Ranges::new(self.v6.iter().map(|(address, len)| {
            let rest = u128::MAX.checked_shr(u32::from(*len)).unwrap_or(0);
            (*address, address | rest)
        }));
        let mut random = Random::seeded(seed);
        let mut clean = Vec::with_capacity(n);
        while clean.len() < n {
            let address = host_v6(&mut random, n_allocations);
            if !covered.hold(address) {
                clean.push(address);
            }
        }
        clean
    }
}

/// `n` addresses spread evenly.
#[must_use]
pub fn uniform_hosts(n: usize, seed: u64) -> Vec<u32> {
    let mut random = Random::seeded(seed);
    distinct(n, || public_v4(&mut random))
}

/// `n` addresses, at least 16 in each /24 that has one.
#[must_use]
pub fn clustered_hosts(n: usize, seed: u64) -> Vec<u32> {
    let mut random = Random::seeded(seed);
    let blocks = distinct(n.div_ceil(PER_BLOCK), || public_v4(&mut random) & !0xff);
    let mut hosts = Vec::with_capacity(blocks.len() * PER_BLOCK);
    for block in blocks {
        hosts.extend(distinct(PER_BLOCK, || block | random.below(256)));
    }
    hosts.truncate(n.max(PER_BLOCK).min(hosts.len()));
    hosts
}

const PER_BLOCK: usize = 16;

/// `n` prefixes with the lengths of a table of the Internet's routes.
#[must_use]
pub fn prefixes(n: usize, seed: u64) -> Vec<NetworkV4> {
    let mut random = Random::seeded(seed);
    distinct(n, || {
        let len = route_len(&mut random);
        (
            public_v4(&mut random) & u32::MAX << (32 - u32::from(len)),
            len,
        )
    })
}

/// Shares in percent as in tables of 2024 and later: about 60 % are /24s, 12 % /22s, 11 % /23s,
/// and the rest shorter, down to /12.
fn route_len(random: &mut Random) -> u8 {
    match random.below(100) {
        0..=59 => 24,
        60..=70 => 23,
        71..=82 => 22,
        83..=87 => 21,
        88..=91 => 20,
        92..=94 => 19,
        95..=96 => 18,
        97 => 17,
        98 => 16,
        _ => 16 - u8::try_from(random.below(5)).unwrap_or(0),
    }
}

/// `n` networks: half /64s, three tenths single addresses, the rest /32 to /48.
#[must_use]
pub fn networks_v6(n: usize, seed: u64) -> Vec<NetworkV6> {
    let mut random = Random::seeded(seed);
    distinct(n, || {
        let len = match random.below(10) {
            0..=4 => 64,
            5..=7 => 128,
            8 => 48,
            _ => 32 + u8::try_from(random.below(16)).unwrap_or(0),
        };
        let rest = u128::MAX.checked_shr(u32::from(len)).unwrap_or(0);
        (host_v6(&mut random, LISTED_ALLOCATIONS) & !rest, len)
    })
}

/// Sorted, so that membership is a binary search.
fn distinct<T: Ord>(n: usize, mut next: impl FnMut() -> T) -> Vec<T> {
    let mut all = Vec::with_capacity(n);
    while all.len() < n {
        all.extend((all.len()..n).map(|_| next()));
        all.sort_unstable();
        all.dedup();
    }
    all
}

/// 1.0.0.0 to 223.255.255.255.
fn public_v4(random: &mut Random) -> u32 {
    (1 << 24) + random.below(223 << 24)
}

/// Allocations of IPv6 that have an entry, of [`ALLOCATIONS`].
pub const LISTED_ALLOCATIONS: u32 = 1 << 15;
/// Allocations of IPv6 that packets come from.
pub const ALLOCATIONS: u32 = 1 << 17;

/// An address of one of the first allocations of a /32 in 2000::/3, which are spread over it, with
/// 256 sites in each and 16 networks in each site.
fn host_v6(random: &mut Random, n_allocations: u32) -> u128 {
    let allocation = u64::from(random.below(n_allocations));
    let allocation = u128::from(Random::seeded(allocation).bits() >> 35);
    let site = u128::from(random.below(1 << 8)) << 8;
    let network = u128::from(random.below(1 << 4));
    let interface = u128::from(random.bits());
    1 << 125 | allocation << 96 | site << 80 | network << 64 | interface
}

/// First and last address of a network.
fn range(address: u32, len: u8) -> (u32, u32) {
    let rest = u32::MAX.checked_shr(u32::from(len)).unwrap_or(0);
    (address, address | rest)
}

/// Addresses that networks cover together.
struct Ranges<A>(Vec<(A, A)>);

impl<A: Copy + Ord> Ranges<A> {
    fn new(ranges: impl Iterator<Item = (A, A)>) -> Self {
        let mut all: Vec<_> = ranges.collect();
        all.sort_unstable();
        let mut disjoint: Vec<(A, A)> = vec![];
        for (first, last) in all {
            match disjoint.last_mut() {
                Some((_, end)) if first <= *end => *end = last.max(*end),
                _ => disjoint.push((first, last)),
            }
        }
        Self(disjoint)
    }

    fn hold(&self, address: A) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= address);
        let before = after.checked_sub(1).and_then(|index| self.0.get(index));
        before.is_some_and(|(_, last)| address <= *last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_distinct_and_clustered_ones_share_their_24() {
        let hosts = uniform_hosts(1_000, 1);
        assert_eq!(hosts.len(), 1_000);
        assert!(hosts.is_sorted_by(|a, b| a < b));
        assert_eq!(hosts, uniform_hosts(1_000, 1));
        let clustered = clustered_hosts(1_600, 1);
        assert_eq!(clustered.len(), 1_600);
        for host in &clustered {
            let n_beside = clustered.iter().filter(|other| *other >> 8 == host >> 8);
            assert!(n_beside.count() >= 16);
        }
    }

    #[test]
    fn clean_sources_are_covered_by_nothing() {
        let blocked = Blocked {
            hosts: uniform_hosts(1_000, 1),
            prefixes: prefixes(1_000, 2),
            systems: vec![(64_496, prefixes(10, 3))],
            v6: networks_v6(1_000, 4),
        };
        for address in blocked.clean_v4(1_000, 5) {
            assert!(!blocked.hosts.contains(&address));
            let mut networks = blocked.networks_v4();
            assert!(
                !networks.any(|(network, len)| range(address, len).0 & !range(0, len).1 == network)
            );
        }
        let is_within = |address: u128, (network, len): NetworkV6| {
            (address ^ network).leading_zeros() >= u32::from(len)
        };
        for address in blocked.clean_v6(1_000, LISTED_ALLOCATIONS, 5) {
            assert!(
                !blocked
                    .v6
                    .iter()
                    .any(|network| is_within(address, *network))
            );
        }
    }
}
