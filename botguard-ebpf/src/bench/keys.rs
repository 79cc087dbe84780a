//! The prelude of cold runs: each packet gets the next source of a shuffled table, so that what a
//! lookup touches is seldom in a cache. The table itself is read in order, which costs little.

use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use aya_ebpf::programs::XdpContext;

use crate::layout::{KEYS, KEYS_PER_PAGE_V4, KEYS_PER_PAGE_V6};

#[map(name = "keys_v4")]
static KEYS_V4: Array<[[u8; 4]; KEYS_PER_PAGE_V4]> =
    Array::with_max_entries(KEYS / KEYS_PER_PAGE_V4 as u32, 0);
#[map(name = "keys_v6")]
static KEYS_V6: Array<[[u8; 16]; KEYS_PER_PAGE_V6]> =
    Array::with_max_entries(KEYS / KEYS_PER_PAGE_V6 as u32, 0);
/// Position of the next key; one CPU runs a program of the bench at a time.
#[map(name = "cursor")]
static CURSOR: Array<u32> = Array::with_max_entries(1, 0);

/// Gives an untagged IPv4 packet the next source and returns it.
#[inline(always)]
pub(crate) fn next_v4(ctx: &XdpContext) -> Option<[u8; 4]> {
    let position = advance()?;
    let page = KEYS_V4.get_ptr(position / KEYS_PER_PAGE_V4 as u32)?;
    let index = position as usize % KEYS_PER_PAGE_V4;
    // SAFETY: the page is a live value of the map, and `index` lies within it.
    let key = unsafe { *page.cast::<[u8; 4]>().add(index) };
    write(ctx, SOURCE_V4, key)?;
    Some(key)
}

/// Gives an untagged IPv6 packet the next source.
#[inline(always)]
pub(crate) fn next_v6(ctx: &XdpContext) -> Option<()> {
    let position = advance()?;
    let page = KEYS_V6.get_ptr(position / KEYS_PER_PAGE_V6 as u32)?;
    let index = position as usize % KEYS_PER_PAGE_V6;
    // By words, since the compiler calls a function to copy 16 bytes.
    // SAFETY: as above; an array's value is aligned to 8 bytes, and a key's size is a multiple of it.
    let [upper, lower] = unsafe { *page.cast::<[u64; 2]>().add(index) };
    write(ctx, SOURCE_V6, upper.to_ne_bytes())?;
    write(ctx, SOURCE_V6 + 8, lower.to_ne_bytes())
}

#[inline(always)]
fn advance() -> Option<u32> {
    let cursor = CURSOR.get_ptr_mut(0)?;
    // SAFETY: a live value; nobody else writes it while a program of the bench runs.
    let position = unsafe { *cursor } & (KEYS - 1);
    // SAFETY: as above.
    unsafe { *cursor = position + 1 };
    Some(position)
}

/// Writes into the packet.
#[inline(always)]
pub(crate) fn write<const N: usize>(ctx: &XdpContext, offset: usize, bytes: [u8; N]) -> Option<()> {
    if ctx.data() + offset + N > ctx.data_end() {
        return None;
    }
    // SAFETY: within the packet, as was just checked; alignment 1.
    unsafe { ((ctx.data() + offset) as *mut [u8; N]).write_unaligned(bytes) };
    Some(())
}

/// Offset of an IPv4 packet's source behind an Ethernet header of 14 bytes.
const SOURCE_V4: usize = 14 + 12;
/// Offset of an IPv6 packet's source.
const SOURCE_V6: usize = 14 + 8;
