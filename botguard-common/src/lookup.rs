//! Finds a source's policy in the tables. The kernel runs it on maps, user space and the tests on
//! the same memory from the other side.
//!
//! ```text
//! IPv4: filter_v4 ─clear─► nothing          two bits a /24, 4 MiB, one read
//!          ├─ hosts ─► hosts_v4             two buckets of 64 bytes, independent reads
//!          └─ networks ─► nets_v4           a trie of pages, a byte of the address each
//! IPv6: filter_v6_32 ─clear─► nothing       hashed, two bits a /32
//!          ├─ deeper ─► filter_v6_48        hashed, two bits a /48
//!          │              ├─ hosts ─► hosts_v6      /64s and hosts
//!          └─ networks ───┴─ networks ─► nets_v6    LPM, for all other lengths
//! ```
//!
//! The filters only say where to look: a bit too many costs time, never a verdict. A found policy
//! whose blocks have all ended says nothing of what holds it, so the search goes on.

use crate::entry::Entry;
use crate::hash;
use crate::maps::Header;
use crate::packet::Source;

/// Slots of a bucket of `hosts_v4`: `policy << 32 | address`; 0 is free. One word, so that a
/// reader sees a slot before or after a change and never between.
pub type BucketV4<W = u64> = [W; SLOTS_V4];
/// Slots a bucket: one cache line.
pub const SLOTS_V4: usize = 8;

/// A bucket of `hosts_v6`: upper halves of five addresses, their lower halves, their
/// [`meta_v6`] words, and a word unused. A slot once taken never holds another address in the
/// life of its table, so a reader that sees the meta word sees the address that belongs to it.
pub type BucketV6<W = u64> = [W; WORDS_V6];
/// Slots a bucket: two cache lines.
pub const SLOTS_V6: usize = 5;
/// Words a bucket.
pub const WORDS_V6: usize = 16;

/// Of a filter's cell: hosts stand there (IPv4), or deeper (the filter by /32).
pub const HOSTS: u64 = 1;
/// Of a filter's cell: networks reach there.
pub const NETWORKS: u64 = 2;
/// Cells a word of a filter.
pub const CELLS: u32 = 32;

/// Of a cell of `nets_v4`: it holds the number of a page, not a policy's.
pub const IS_PAGE: u32 = 1 << 31;

/// Of a value of `nets_v6`: its prefix is longer than 64, so it goes before the /64's.
pub const IS_LONG: u32 = 1 << 31;

/// The tables' memory: maps in the kernel, mapped or own memory in user space.
///
/// What lies beyond the end of a table is as what is empty.
pub trait Memory {
    /// How a word that the other side may write is read.
    type Word: Word;
    /// Seed and sizes.
    fn header(&self) -> Header;
    /// A word of `filter_v4`.
    fn filter_v4(&self, word: u32) -> u64;
    /// A bucket of `hosts_v4`.
    fn hosts_v4(&self, bucket: u32) -> Option<&BucketV4<Self::Word>>;
    /// A cell of a page of `nets_v4`.
    fn page_v4(&self, page: u32, cell: u8) -> u32;
    /// A word of `filter_v6_32`.
    fn filter_v6_32(&self, word: u32) -> u64;
    /// A word of `filter_v6_48`.
    fn filter_v6_48(&self, word: u32) -> u64;
    /// A bucket of `hosts_v6`.
    fn hosts_v6(&self, bucket: u32) -> Option<&BucketV6<Self::Word>>;
    /// The value of the longest prefix of `nets_v6` that holds the source: a policy, 0 for none,
    /// and perhaps [`IS_LONG`].
    fn net_v6(&self, source: &Source) -> u32;
    /// A policy.
    fn policy(&self, number: u32) -> Option<&Entry>;
}

/// A word of 64 bits in shared memory: read whole, and once for each time that it is asked.
pub trait Word {
    /// Its value now.
    fn read(&self) -> u64;
}

#[cfg(any(test, feature = "user"))]
impl Word for core::sync::atomic::AtomicU64 {
    fn read(&self) -> u64 {
        self.load(core::sync::atomic::Ordering::Relaxed)
    }
}

/// What the tables say of a source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Found<'a> {
    /// Nothing.
    Nothing,
    /// It was blocked, and every block has ended.
    Ended,
    /// The most specific policy with a live term.
    Live(&'a Entry),
}

/// Looks a source up. `now` is asked for only where something is found.
#[inline(always)]
pub fn find<'a, M: Memory + ?Sized>(
    memory: &'a M,
    source: &Source,
    now: impl Fn() -> u32,
) -> Found<'a> {
    let policies = match source.as_v4() {
        Some(address) => {
            let cell = cell(address >> 8, |word| memory.filter_v4(word));
            if cell == 0 {
                return Found::Nothing;
            }
            let host = if cell & HOSTS == 0 {
                0
            } else {
                host_v4(memory, address)
            };
            let network = if cell & NETWORKS == 0 {
                0
            } else {
                network_v4(memory, address)
            };
            [host, network, 0]
        }
        None => {
            let header = memory.header();
            let high = source.high();
            let [first, second] = hash::cells_32(high, header.seed);
            let wide = cell(first, |word| memory.filter_v6_32(word))
                & cell(second, |word| memory.filter_v6_32(word));
            if wide == 0 {
                return Found::Nothing;
            }
            let narrow = if wide & HOSTS == 0 {
                0
            } else {
                cell(hash::cell_48(high, header.seed), |word| {
                    memory.filter_v6_48(word)
                })
            };
            let (host, subnet) = if narrow & HOSTS == 0 {
                (0, 0)
            } else {
                (
                    exact_v6(memory, &header, high, source.low(), 128),
                    exact_v6(memory, &header, high, 0, 64),
                )
            };
            let network = if (wide | narrow) & NETWORKS == 0 {
                0
            } else {
                memory.net_v6(source)
            };
            if network & IS_LONG == 0 {
                [host, subnet, network]
            } else {
                [host, network & !IS_LONG, subnet]
            }
        }
    };
    let mut found = Found::Nothing;
    for policy in policies {
        if policy != 0
            && let Some(entry) = memory.policy(policy)
        {
            if entry.is_live(now()) {
                return Found::Live(entry);
            }
            found = Found::Ended;
        }
    }
    found
}

/// Two bits of a filter.
#[inline(always)]
fn cell(cell: u32, word: impl Fn(u32) -> u64) -> u64 {
    (word(cell / CELLS) >> (cell % CELLS * 2)) & 3
}

/// The policy of exactly this host; 0 is none.
#[inline(always)]
pub fn host_v4<M: Memory + ?Sized>(memory: &M, address: u32) -> u32 {
    let header = memory.header();
    let [first, second] = hash::buckets_v4(address, header.seed, header.mask_v4);
    // Both are asked for before either is looked at, so that their cache misses overlap.
    let (first, second) = (memory.hosts_v4(first), memory.hosts_v4(second));
    let policy = first.map_or(0, |bucket| in_bucket_v4(bucket, address));
    if policy != 0 {
        return policy;
    }
    second.map_or(0, |bucket| in_bucket_v4(bucket, address))
}

#[inline(always)]
fn in_bucket_v4<W: Word>(bucket: &BucketV4<W>, address: u32) -> u32 {
    for slot in bucket {
        let slot = slot.read();
        if low(slot) == address && high(slot) != 0 {
            return high(slot);
        }
    }
    0
}

/// The policy of the network that reaches an address; 0 is none.
#[inline(always)]
pub fn network_v4<M: Memory + ?Sized>(memory: &M, address: u32) -> u32 {
    let [a, b, c, d] = address.to_be_bytes();
    let mut value = memory.page_v4(u32::from(a), b);
    if value & IS_PAGE != 0 {
        value = memory.page_v4(value & !IS_PAGE, c);
        if value & IS_PAGE != 0 {
            value = memory.page_v4(value & !IS_PAGE, d);
        }
    }
    value
}

/// The policy of exactly this host (`len` 128) or /64 (`low` 0, `len` 64); 0 is none.
#[inline(always)]
pub fn exact_v6<M: Memory + ?Sized>(
    memory: &M,
    header: &Header,
    high: u64,
    low: u64,
    len: u32,
) -> u32 {
    let [first, second] = hash::buckets_v6(high, low, len, header.seed, header.mask_v6);
    let (first, second) = (memory.hosts_v6(first), memory.hosts_v6(second));
    let policy = first.map_or(0, |bucket| in_bucket_v6(bucket, high, low, len));
    if policy != 0 {
        return policy;
    }
    second.map_or(0, |bucket| in_bucket_v6(bucket, high, low, len))
}

/// The policy of a bucket's slot for exactly this; 0 is none.
#[inline(always)]
pub fn in_bucket_v6<W: Word>(bucket: &BucketV6<W>, high: u64, low: u64, len: u32) -> u32 {
    let (highs, rest) = bucket.split_at(SLOTS_V6);
    let (lows, metas) = rest.split_at(SLOTS_V6);
    for ((slot_high, slot_low), meta) in highs.iter().zip(lows).zip(metas) {
        if slot_high.read() == high && slot_low.read() == low {
            let meta = meta.read();
            if self::low(meta) == len && self::high(meta) != 0 {
                return self::high(meta);
            }
        }
    }
    0
}

/// The third word of a slot of `hosts_v6`: policy and prefix length. A policy of 0 is a slot whose
/// address is no longer blocked; a length of 0 one never used.
#[must_use]
pub const fn meta_v6(policy: u32, len: u32) -> u64 {
    (policy as u64) << 32 | len as u64
}

/// A slot of `hosts_v4`.
#[must_use]
pub const fn slot_v4(policy: u32, address: u32) -> u64 {
    (policy as u64) << 32 | address as u64
}

/// Upper half of a word.
#[inline(always)]
#[must_use]
pub const fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

/// Lower half of a word.
#[inline(always)]
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the lower half is what is wanted"
)]
pub const fn low(word: u64) -> u32 {
    word as u32
}
