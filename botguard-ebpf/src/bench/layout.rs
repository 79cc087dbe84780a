//! What the bench's programs and its harness must agree on. Compiled into both; plain numbers and
//! arithmetic only.

/// Sources in a key table. With 4 MiB of them or more no cache of a core holds what they lead to.
pub(crate) const KEYS: u32 = 1 << 21;
/// IPv4 sources in one value of the table, so that filling it takes few system calls.
pub(crate) const KEYS_PER_PAGE_V4: usize = 1_024;
/// IPv6 sources in one value of the table.
pub(crate) const KEYS_PER_PAGE_V6: usize = 256;

/// Slots of a table of the layouts that are compared.
pub(crate) const SLOTS: u32 = 1 << 21;
/// Buckets of 64 bytes that hold eight slots of 8 bytes each.
pub(crate) const BUCKETS_OF_8: u32 = SLOTS / 8;
/// Buckets of 64 bytes that hold four slots of 16 bytes each.
pub(crate) const BUCKETS_OF_4: u32 = SLOTS / 4;

/// The two buckets that an address may be in; `n_buckets` is a power of two.
#[inline(always)]
pub(crate) const fn buckets(address: u32, n_buckets: u32) -> (u32, u32) {
    let mixed = (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let [a, b, c, d, e, f, g, h] = mixed.to_le_bytes();
    let (low, high) = (
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    );
    (high & (n_buckets - 1), low & (n_buckets - 1))
}

/// What the traffic generator is told and tells: one value of numbers, by these indices.
pub(crate) mod generator {
    /// Interface to send by.
    pub(crate) const INTERFACE: usize = 0;
    /// Ones' complement sum of the IPv4 header without checksum and source, not folded.
    pub(crate) const HEADER_SUM: usize = 1;
    /// Nanoseconds between two packets; 0 is as fast as it goes.
    pub(crate) const INTERVAL_NS: usize = 2;
    /// When the next packet is due, by CLOCK_MONOTONIC.
    pub(crate) const DUE_NS: usize = 3;
    /// Packets handed to the interface.
    pub(crate) const SENT: usize = 4;
    /// How many numbers there are.
    pub(crate) const N: usize = 5;
}
