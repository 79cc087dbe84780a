//! IPv4 hosts: two-choice buckets of one cache line, and the filter's bit of their /24.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, Release};

use botguard_common::hash::buckets_v4;
use botguard_common::lookup::{CELLS, HOSTS, SLOTS_V4, high, low, slot_v4};

use super::memory::{Memory, Tries};
use super::policies::Policy;
use super::{Full, Tables};

type Bucket = [AtomicU64; SLOTS_V4];

impl<M: Memory, T: Tries> Tables<M, T> {
    /// Sets a host's policy.
    ///
    /// Errors: both its buckets are full, and nobody in them can move.
    pub fn put_host_v4(&mut self, address: u32, policy: Policy) -> Result<(), Full> {
        let word = slot_v4(policy.0, address);
        let [first, second] = self.buckets(address);
        let (a, b) = (self.bucket(first), self.bucket(second));
        let (of_a, of_b) = (look(a, address), look(b, address));
        if let Some(slot) = of_a.own.or(of_b.own) {
            slot.store(word, Release);
            return Ok(());
        }
        let emptier = if of_a.n_free >= of_b.n_free {
            of_a
        } else {
            of_b
        };
        let slot = match emptier.free {
            Some(slot) => slot,
            None => self.make_room([a, b]).ok_or(Full("hosts_v4"))?,
        };
        slot.store(word, Release);
        self.n_hosts += 1;
        set_bits(self.memory.filter_v4(), address >> 8, HOSTS);
        Ok(())
    }

    /// Has the caches fetch the buckets of hosts that are about to be put: all at once, where each
    /// `put` would wait for its own.
    pub fn fetch_hosts_v4(&self, addresses: impl Iterator<Item = u32>) {
        let mut sum = 0;
        for address in addresses {
            for bucket in self.buckets(address) {
                sum ^= self.bucket(bucket)[0].load(Relaxed);
            }
        }
        std::hint::black_box(sum);
    }

    /// Takes a host out. `is_last` says whether no other host of its /24 is left.
    pub fn delete_host_v4(&mut self, address: u32, is_last: impl FnOnce() -> bool) {
        let [first, second] = self.buckets(address);
        let (a, b) = (self.bucket(first), self.bucket(second));
        let Some(slot) = find(a, address).or_else(|| find(b, address)) else {
            return;
        };
        slot.store(0, Release);
        self.n_hosts -= 1;
        if is_last() {
            clear_bits(self.memory.filter_v4(), address >> 8, HOSTS);
        }
    }

    /// Moves one host of two full buckets from its first home to its second, and returns the slot
    /// that is to be overwritten. Readers look in that order, so none misses it.
    fn make_room<'a>(&'a self, full: [&'a Bucket; 2]) -> Option<&'a AtomicU64> {
        for bucket in full {
            for slot in bucket {
                let word = slot.load(Relaxed);
                let [first, second] = self.buckets(low(word)).map(|index| self.bucket(index));
                if std::ptr::eq(first, bucket)
                    && let Some(other) = free(second)
                {
                    other.store(word, Release);
                    return Some(slot);
                }
            }
        }
        None
    }

    fn buckets(&self, address: u32) -> [u32; 2] {
        buckets_v4(address, self.header.seed, self.header.mask_v4)
    }

    fn bucket(&self, index: u32) -> &Bucket {
        // The mask is that of the memory's own length.
        &self.memory.hosts_v4().as_chunks().0[index as usize]
    }
}

fn find(bucket: &Bucket, address: u32) -> Option<&AtomicU64> {
    bucket.iter().find(|slot| {
        let word = slot.load(Relaxed);
        low(word) == address && high(word) != 0
    })
}

fn free(bucket: &Bucket) -> Option<&AtomicU64> {
    bucket.iter().find(|slot| slot.load(Relaxed) == 0)
}

/// What a bucket has for an address.
#[derive(Clone, Copy)]
struct Look<'a> {
    /// The slot that it stands in.
    own: Option<&'a AtomicU64>,
    free: Option<&'a AtomicU64>,
    n_free: u32,
}

fn look(bucket: &Bucket, address: u32) -> Look<'_> {
    let mut look = Look {
        own: None,
        free: None,
        n_free: 0,
    };
    for slot in bucket {
        let word = slot.load(Relaxed);
        if word == 0 {
            look.free = Some(slot);
            look.n_free += 1;
        } else if low(word) == address {
            look.own = Some(slot);
        }
    }
    look
}

/// Sets bits of a filter's cell.
pub(super) fn set_bits(filter: &[AtomicU64], cell: u32, bits: u64) {
    change(filter, cell, |word, shift| word | bits << shift);
}

/// Clears bits of a filter's cell.
pub(super) fn clear_bits(filter: &[AtomicU64], cell: u32, bits: u64) {
    change(filter, cell, |word, shift| word & !(bits << shift));
}

fn change(filter: &[AtomicU64], cell: u32, new: impl FnOnce(u64, u32) -> u64) {
    let word = &filter[(cell / CELLS) as usize];
    let before = word.load(Relaxed);
    // One writer: nobody stores between.
    let after = new(before, cell % CELLS * 2);
    if after != before {
        word.store(after, Release);
    }
}
