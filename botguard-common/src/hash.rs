//! Where the hashed tables keep an address. Seeded, so that nobody outside can choose addresses
//! that meet in one place; not cryptographic, since a collision only costs time.

/// Spreads a key over 64 bits. Source: the finaliser of MurmurHash3 (fmix64), one round short.
#[inline(always)]
#[must_use]
pub const fn mix(key: u64, seed: u64) -> u64 {
    let key = (key ^ seed).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let key = (key ^ (key >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    key ^ (key >> 33)
}

/// The two buckets of an IPv4 host.
#[inline(always)]
#[must_use]
pub const fn buckets_v4(address: u32, seed: u64, mask: u32) -> [u32; 2] {
    halves(mix(address as u64, seed), mask)
}

/// The two buckets of an IPv6 host (`len` 128), of a /64 (`low` 0, `len` 64), or of a listener (its
/// tag in place of `len`).
#[inline(always)]
#[must_use]
pub const fn buckets_v6(high: u64, low: u64, len: u32, seed: u64, mask: u32) -> [u32; 2] {
    halves(mix(high, mix(low ^ ((len as u64) << 32), seed)), mask)
}

/// The two cells of the filter by /32: `high` is the upper half of the address.
///
/// Multiply-shift with a secret odd factor (Dietzfelbinger et al. 1997): two networks share a cell
/// with a chance of about one in the number of cells. What is not in both cells is in none, so a
/// table that is a tenth full misleads one clean source in a hundred.
#[inline(always)]
#[must_use]
pub const fn cells_32(high: u64, seed: u64) -> [u32; 2] {
    let net = high >> 32;
    [
        (net.wrapping_mul(seed | 1) >> (64 - CELL_32_BITS)) as u32,
        (net.wrapping_mul(seed.rotate_left(21) | 1) >> (64 - CELL_32_BITS)) as u32,
    ]
}

/// Cell of the filter by /48.
#[inline(always)]
#[must_use]
pub const fn cell_48(high: u64, seed: u64) -> u32 {
    ((high >> 16).wrapping_mul(seed.rotate_left(32) | 1) >> (64 - CELL_48_BITS)) as u32
}

/// The filter by /32 has two to this many cells.
pub const CELL_32_BITS: u32 = 20;
/// The filter by /48 has two to this many cells.
pub const CELL_48_BITS: u32 = 23;

#[expect(
    clippy::cast_possible_truncation,
    reason = "the two halves are what is wanted"
)]
const fn halves(hash: u64, mask: u32) -> [u32; 2] {
    [hash as u32 & mask, (hash >> 32) as u32 & mask]
}
