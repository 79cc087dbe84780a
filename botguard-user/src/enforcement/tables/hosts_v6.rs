//! IPv6 hosts and /64s: two-choice buckets, and the filters' bits of their /48 and /32.
//!
//! A slot is three words, so a slot once taken stays with its address: a deleted one is taken up
//! again by the same address only.

use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::atomic::{AtomicU64, fence};

use botguard_common::hash::{buckets_v6, cell_48, cells_32};
use botguard_common::lookup::{HOSTS, SLOTS_V6, WORDS_V6, high, low, meta_v6};

use super::hosts_v4::set_bits;
use super::memory::{Memory, Tries};
use super::policies::Policy;
use super::{Full, Tables};

/// A host or a /64 of IPv6.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HostV6 {
    high: u64,
    low: u64,
    len: u32,
}

impl HostV6 {
    /// `None` for a prefix of another length.
    #[must_use]
    pub fn of(address: u128, len: u8) -> Option<Self> {
        let upper = (address >> 64) as u64;
        #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
        let lower = address as u64;
        match len {
            128 => Some(Self {
                high: upper,
                low: lower,
                len: 128,
            }),
            64 => Some(Self {
                high: upper,
                low: 0,
                len: 64,
            }),
            _ => None,
        }
    }
}

type Bucket = [AtomicU64; WORDS_V6];

/// The words of a slot.
#[derive(Clone, Copy)]
struct Slot<'a> {
    high: &'a AtomicU64,
    low: &'a AtomicU64,
    meta: &'a AtomicU64,
}

impl<M: Memory, T: Tries> Tables<M, T> {
    /// Sets the policy of a host or /64.
    ///
    /// Errors: both its buckets are full.
    pub fn put_host_v6(&mut self, host: HostV6, policy: Policy) -> Result<(), Full> {
        let [a, b] = self.buckets_v6(host);
        let meta = meta_v6(policy.0, host.len);
        if let Some(slot) = find(a, host).or_else(|| find(b, host)) {
            let is_back = high(slot.meta.load(Relaxed)) == 0;
            slot.meta.store(meta, Release);
            self.n_hosts += usize::from(is_back);
            return Ok(());
        }
        let emptier = if n_free(a) >= n_free(b) { a } else { b };
        let slot = free(emptier).ok_or(Full("hosts_v6"))?;
        slot.high.store(host.high, Relaxed);
        slot.low.store(host.low, Relaxed);
        fence(Release);
        slot.meta.store(meta, Release);
        self.n_hosts += 1;
        let seed = self.header.seed;
        set_bits(self.memory.filter_v6_48(), cell_48(host.high, seed), HOSTS);
        for cell in cells_32(host.high, seed) {
            set_bits(self.memory.filter_v6_32(), cell, HOSTS);
        }
        Ok(())
    }

    /// Takes a host or /64 out. The filters keep their bits until the next generation: others may
    /// share them.
    pub fn delete_host_v6(&mut self, host: HostV6) {
        let [a, b] = self.buckets_v6(host);
        if let Some(slot) = find(a, host).or_else(|| find(b, host))
            && high(slot.meta.load(Relaxed)) != 0
        {
            slot.meta.store(meta_v6(0, host.len), Release);
            self.n_hosts -= 1;
        }
    }

    fn buckets_v6(&self, host: HostV6) -> [&Bucket; 2] {
        let HostV6 { high, low, len } = host;
        let homes = buckets_v6(high, low, len, self.header.seed, self.header.mask_v6);
        // The mask is that of the memory's own length.
        homes.map(|index| &self.memory.hosts_v6().as_chunks().0[index as usize])
    }
}

fn slots(bucket: &Bucket) -> impl Iterator<Item = Slot<'_>> {
    let (highs, rest) = bucket.split_at(SLOTS_V6);
    let (lows, metas) = rest.split_at(SLOTS_V6);
    let words = highs.iter().zip(lows).zip(metas);
    words.map(|((high, low), meta)| Slot { high, low, meta })
}

fn find(bucket: &Bucket, host: HostV6) -> Option<Slot<'_>> {
    slots(bucket).find(|slot| {
        slot.high.load(Relaxed) == host.high
            && slot.low.load(Relaxed) == host.low
            && low(slot.meta.load(Relaxed)) == host.len
    })
}

fn is_free(slot: &Slot<'_>) -> bool {
    slot.meta.load(Relaxed) == 0
}

fn free(bucket: &Bucket) -> Option<Slot<'_>> {
    slots(bucket).find(is_free)
}

fn n_free(bucket: &Bucket) -> usize {
    slots(bucket).filter(is_free).count()
}
