//! Where tables are written: the mapped memory of kernel maps, or a process's own for tests.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, AtomicU64};

use botguard_common::lookup::{SLOTS_V4, WORDS_V6};
use botguard_common::maps;
use ipnet::{IpNet, Ipv6Net};

use super::sizes::Sizes;

/// The words of a generation of tables.
pub trait Memory {
    /// `filter_v4`.
    fn filter_v4(&self) -> &[AtomicU64];
    /// `hosts_v4`, [`SLOTS_V4`] words a bucket.
    fn hosts_v4(&self) -> &[AtomicU64];
    /// `nets_v4`, 256 words a page.
    fn nets_v4(&self) -> &[AtomicU32];
    /// `filter_v6_32`.
    fn filter_v6_32(&self) -> &[AtomicU64];
    /// `filter_v6_48`.
    fn filter_v6_48(&self) -> &[AtomicU64];
    /// `hosts_v6`, [`WORDS_V6`] words a bucket.
    fn hosts_v6(&self) -> &[AtomicU64];
    /// `policies`, four words each.
    fn policies(&self) -> &[AtomicU64];
    /// `header`.
    fn header(&self) -> &[AtomicU64];
}

impl<M: Memory> Memory for std::sync::Arc<M> {
    fn filter_v4(&self) -> &[AtomicU64] {
        M::filter_v4(self)
    }

    fn hosts_v4(&self) -> &[AtomicU64] {
        M::hosts_v4(self)
    }

    fn nets_v4(&self) -> &[AtomicU32] {
        M::nets_v4(self)
    }

    fn filter_v6_32(&self) -> &[AtomicU64] {
        M::filter_v6_32(self)
    }

    fn filter_v6_48(&self) -> &[AtomicU64] {
        M::filter_v6_48(self)
    }

    fn hosts_v6(&self) -> &[AtomicU64] {
        M::hosts_v6(self)
    }

    fn policies(&self) -> &[AtomicU64] {
        M::policies(self)
    }

    fn header(&self) -> &[AtomicU64] {
        M::header(self)
    }
}

/// The prefixes that the kernel keeps in tries, written one by one.
pub trait Tries {
    /// Why the kernel refuses.
    type Error: std::error::Error + 'static;
    /// Sets the policy of an IPv6 prefix; 0 keeps a wider one from applying.
    fn put_net_v6(&mut self, network: Ipv6Net, policy: u32) -> Result<(), Self::Error>;
    /// Takes an IPv6 prefix out, if it is there.
    fn delete_net_v6(&mut self, network: Ipv6Net) -> Result<(), Self::Error>;
    /// Allows a network.
    fn allow(&mut self, network: IpNet) -> Result<(), Self::Error>;
    /// No longer allows a network.
    fn unallow(&mut self, network: IpNet) -> Result<(), Self::Error>;
    /// Every IPv6 prefix with its policy.
    fn nets_v6(&self) -> Result<Vec<(Ipv6Net, u32)>, Self::Error>;
    /// Every allowed network.
    fn allows(&self) -> Result<Vec<IpNet>, Self::Error>;
}

/// Memory of this process's own.
#[derive(Debug)]
pub struct OwnMemory {
    filter_v4: Box<[AtomicU64]>,
    hosts_v4: Box<[AtomicU64]>,
    nets_v4: Box<[AtomicU32]>,
    filter_v6_32: Box<[AtomicU64]>,
    filter_v6_48: Box<[AtomicU64]>,
    hosts_v6: Box<[AtomicU64]>,
    policies: Box<[AtomicU64]>,
    header: Box<[AtomicU64]>,
}

impl OwnMemory {
    /// All zero.
    #[must_use]
    pub fn new(sizes: &Sizes) -> Self {
        let words = |n: usize| (0..n).map(|_| AtomicU64::new(0)).collect();
        let n_cells = sizes.pages as usize * 256;
        Self {
            filter_v4: words(maps::FILTER_V4_WORDS as usize),
            hosts_v4: words(sizes.buckets_v4 as usize * SLOTS_V4),
            nets_v4: (0..n_cells).map(|_| AtomicU32::new(0)).collect(),
            filter_v6_32: words(maps::FILTER_V6_32_WORDS as usize),
            filter_v6_48: words(maps::FILTER_V6_48_WORDS as usize),
            hosts_v6: words(sizes.buckets_v6 as usize * WORDS_V6),
            policies: words(sizes.policies as usize * 4),
            header: words(4),
        }
    }
}

impl Memory for OwnMemory {
    fn filter_v4(&self) -> &[AtomicU64] {
        &self.filter_v4
    }

    fn hosts_v4(&self) -> &[AtomicU64] {
        &self.hosts_v4
    }

    fn nets_v4(&self) -> &[AtomicU32] {
        &self.nets_v4
    }

    fn filter_v6_32(&self) -> &[AtomicU64] {
        &self.filter_v6_32
    }

    fn filter_v6_48(&self) -> &[AtomicU64] {
        &self.filter_v6_48
    }

    fn hosts_v6(&self) -> &[AtomicU64] {
        &self.hosts_v6
    }

    fn policies(&self) -> &[AtomicU64] {
        &self.policies
    }

    fn header(&self) -> &[AtomicU64] {
        &self.header
    }
}

/// Tries as ordered maps.
#[derive(Clone, Debug, Default)]
pub struct OwnTries {
    /// Policies of IPv6 prefixes.
    pub nets_v6: BTreeMap<Ipv6Net, u32>,
    /// Allowed networks.
    pub allows: std::collections::BTreeSet<IpNet>,
}

impl Tries for OwnTries {
    type Error = Infallible;

    fn put_net_v6(&mut self, network: Ipv6Net, policy: u32) -> Result<(), Infallible> {
        self.nets_v6.insert(network, policy);
        Ok(())
    }

    fn delete_net_v6(&mut self, network: Ipv6Net) -> Result<(), Infallible> {
        self.nets_v6.remove(&network);
        Ok(())
    }

    fn allow(&mut self, network: IpNet) -> Result<(), Infallible> {
        self.allows.insert(network);
        Ok(())
    }

    fn unallow(&mut self, network: IpNet) -> Result<(), Infallible> {
        self.allows.remove(&network);
        Ok(())
    }

    fn nets_v6(&self) -> Result<Vec<(Ipv6Net, u32)>, Infallible> {
        Ok(self
            .nets_v6
            .iter()
            .map(|(net, policy)| (*net, *policy))
            .collect())
    }

    fn allows(&self) -> Result<Vec<IpNet>, Infallible> {
        Ok(self.allows.iter().copied().collect())
    }
}
