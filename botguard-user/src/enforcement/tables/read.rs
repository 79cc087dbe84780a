//! Tables read back: what stands in them, and what they say of a source. For taking over what is
//! pinned when the store is lost, and for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use botguard_common::entry::Entry;
use botguard_common::lookup::{
    self, BucketV4, BucketV6, IS_LONG, IS_PAGE, SLOTS_V4, SLOTS_V6, WORDS_V6, high, low,
};
use botguard_common::maps::Header;
use botguard_common::packet::Source;
use ipnet::{IpNet, Ipv4Subnets, Ipv6Net};

use super::Tables;
use super::memory::{Memory, Tries};
use super::policies::Policy;
use crate::words::network_set::NetworkSet;

/// What stands in a generation of tables.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Contents {
    /// Blocked networks; neighbours of one policy are joined.
    pub blocks: BTreeMap<IpNet, Entry>,
    /// Allowed networks.
    pub allows: BTreeSet<IpNet>,
}

impl<M: Memory, T: Tries> Tables<M, T> {
    /// Everything that stands in the tables. Cost: a walk over all of them.
    ///
    /// Errors: the tries'.
    pub fn contents(&self) -> Result<Contents, T::Error> {
        contents(&self.memory, &self.tries, |policy| {
            *self.entry(Policy(policy))
        })
    }
}

/// As [`Tables::contents`], of tables that another process wrote.
///
/// Errors: the tries'.
pub fn contents<M: Memory, T: Tries>(
    memory: &M,
    tries: &T,
    entry: impl Fn(u32) -> Entry,
) -> Result<Contents, T::Error> {
    let mut contents = Contents::default();
    for slot in memory.hosts_v4() {
        let word = slot.load(Relaxed);
        if high(word) != 0 {
            let network = IpNet::from(IpAddr::from(low(word).to_be_bytes()));
            contents.blocks.insert(network, entry(high(word)));
        }
    }
    for bucket in memory.hosts_v6().as_chunks::<WORDS_V6>().0 {
        let (highs, rest) = bucket.split_at(SLOTS_V6);
        let (lows, metas) = rest.split_at(SLOTS_V6);
        for ((upper, lower), meta) in highs.iter().zip(lows).zip(metas) {
            let meta = meta.load(Relaxed);
            if high(meta) == 0 {
                continue;
            }
            let address = u128::from(upper.load(Relaxed)) << 64 | u128::from(lower.load(Relaxed));
            let len = u8::try_from(low(meta)).unwrap_or(128).min(128);
            let network = Ipv6Net::new_assert(Ipv6Addr::from(address), len);
            contents.blocks.insert(network.into(), entry(high(meta)));
        }
    }
    for (network, policy) in tries.nets_v6()? {
        let policy = policy & !IS_LONG;
        if policy != 0 {
            contents.blocks.insert(network.into(), entry(policy));
        }
    }
    contents.allows.extend(tries.allows()?);
    let allowed: NetworkSet = contents.allows.iter().copied().collect();
    for (first, last, policy) in across_allowed(&ranges(memory), &allowed) {
        for network in Ipv4Subnets::new(first.into(), last.into(), 0) {
            contents
                .blocks
                .entry(network.into())
                .or_insert_with(|| entry(policy));
        }
    }
    Ok(contents)
}

/// Joins ranges of one policy between which everything is allowed: that was cut out of them.
fn across_allowed(ranges: &[(u32, u32, u32)], allowed: &NetworkSet) -> Vec<(u32, u32, u32)> {
    let mut joined: Vec<(u32, u32, u32)> = vec![];
    for &(first, last, policy) in ranges {
        if let Some((_, end, of)) = joined.last_mut()
            && *of == policy
            && let (Some(from), Some(to)) = (end.checked_add(1), first.checked_sub(1))
            && Ipv4Subnets::new(from.into(), to.into(), 0)
                .all(|gap| allowed.covering(&gap.into()).is_some())
        {
            *end = last;
        } else {
            joined.push((first, last, policy));
        }
    }
    joined
}

/// Ranges of one policy, as the pages have them.
pub(super) fn ranges<M: Memory>(memory: &M) -> Vec<(u32, u32, u32)> {
    let mut ranges: Vec<(u32, u32, u32)> = vec![];
    let mut add = |first: u32, last: u32, policy: u32| {
        if policy == 0 {
            return;
        }
        match ranges.last_mut() {
            Some((_, end, of)) if *of == policy && end.checked_add(1) == Some(first) => *end = last,
            _ => ranges.push((first, last, policy)),
        }
    };
    let pages = memory.nets_v4().as_chunks::<256>().0;
    let cell = |page: u32, index: u32| {
        let page = pages.get(page as usize);
        page.map_or(0, |page| page[(index & 0xff) as usize].load(Relaxed))
    };
    for net_16 in 0..1_u32 << 16 {
        let value = cell(net_16 >> 8, net_16);
        if value & IS_PAGE == 0 {
            add(net_16 << 16, net_16 << 16 | 0xffff, value);
            continue;
        }
        let under = value & !IS_PAGE;
        for net_24 in net_16 << 8..=net_16 << 8 | 0xff {
            let value = cell(under, net_24);
            if value & IS_PAGE == 0 {
                add(net_24 << 8, net_24 << 8 | 0xff, value);
                continue;
            }
            for address in net_24 << 8..=net_24 << 8 | 0xff {
                add(address, address, cell(value & !IS_PAGE, address));
            }
        }
    }
    ranges
}

/// The tables as the kernel asks them.
impl<M: Memory, T: Tries> lookup::Memory for Tables<M, T> {
    type Word = AtomicU64;

    fn header(&self) -> Header {
        self.header
    }

    fn filter_v4(&self, word: u32) -> u64 {
        word_of(self.memory.filter_v4(), word)
    }

    fn hosts_v4(&self, bucket: u32) -> Option<&BucketV4<AtomicU64>> {
        let buckets = self.memory.hosts_v4().as_chunks::<SLOTS_V4>().0;
        buckets.get(bucket as usize)
    }

    fn page_v4(&self, page: u32, cell: u8) -> u32 {
        let pages = self.memory.nets_v4().as_chunks::<256>().0;
        let page = pages.get(page as usize);
        page.map_or(0, |page| page[usize::from(cell)].load(Relaxed))
    }

    fn filter_v6_32(&self, word: u32) -> u64 {
        word_of(self.memory.filter_v6_32(), word)
    }

    fn filter_v6_48(&self, word: u32) -> u64 {
        word_of(self.memory.filter_v6_48(), word)
    }

    fn hosts_v6(&self, bucket: u32) -> Option<&BucketV6<AtomicU64>> {
        let buckets = self.memory.hosts_v6().as_chunks::<WORDS_V6>().0;
        buckets.get(bucket as usize)
    }

    fn net_v6(&self, source: &Source) -> u32 {
        let address = Ipv6Addr::from(source.as_v6());
        // For tests and tools: a walk, where the kernel has a trie.
        let nets = self.tries.nets_v6().unwrap_or_default();
        let holding = nets
            .iter()
            .filter(|(network, _)| network.contains(&address));
        let longest = holding.max_by_key(|(network, _)| network.prefix_len());
        longest.map_or(0, |(_, policy)| *policy)
    }

    fn policy(&self, number: u32) -> Option<&Entry> {
        Some(self.entry(Policy(number)))
    }
}

fn word_of(filter: &[AtomicU64], word: u32) -> u64 {
    filter
        .get(word as usize)
        .map_or(0, |word| word.load(Relaxed))
}
