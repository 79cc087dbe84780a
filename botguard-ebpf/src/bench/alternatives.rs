//! Layouts of the table of hosts that were weighed: slots of 8 bytes that name a policy, or of 16
//! that carry rule and end themselves; in a map of the program's own, where lookups are inlined, or
//! in an inner map that can be swapped for a larger one, where they are calls.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::btf_maps;
use aya_ebpf::macros::{btf_map, map};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::XdpContext;
use botguard_common::packet::network;

use crate::ctx::Packet;
use crate::layout::{BUCKETS_OF_4, BUCKETS_OF_8, buckets};

/// Looks at slots in turn, unrolled, for the one whose first word ends in the address.
macro_rules! return_if_found {
    ($address:expr; $($key:ident $answer:ident),*) => {$(
        if read($key) as u32 == $address {
            return read($answer);
        }
    )*};
}

/// `BPF_F_INNER_MAP`: without it, an inner array must have the size of the one before.
const INNER_MAP: usize = 1 << 12;

type Bucket = [u64; 8];

#[map(name = "slots_of_8")]
static SLOTS_OF_8: Array<Bucket> = Array::with_max_entries(BUCKETS_OF_8, 0);
#[map(name = "slots_of_16")]
static SLOTS_OF_16: Array<Bucket> = Array::with_max_entries(BUCKETS_OF_4, 0);
#[map(name = "slot_policies")]
static POLICIES: Array<[u64; 4]> = Array::with_max_entries(4_096, 0);
#[btf_map(name = "inner")]
static INNER: btf_maps::Array<Bucket, { BUCKETS_OF_8 as usize }, INNER_MAP> =
    btf_maps::Array::new();
#[btf_map(name = "outer")]
static OUTER: btf_maps::ArrayOfMaps<btf_maps::Array<Bucket, 1, INNER_MAP>, 1> =
    btf_maps::ArrayOfMaps::new();

// No closures in what follows: the compiler makes a function of one that several programs share,
// and a call of it is what would be measured.

/// `policy << 32 | address`; a hit costs one more load, of a table that is small.
#[inline(always)]
pub(crate) fn slots_of_8(ctx: &XdpContext) -> u32 {
    let address = address(ctx);
    let (one, other) = buckets(address, BUCKETS_OF_8);
    let (Some(one), Some(other)) = (SLOTS_OF_8.get(one), SLOTS_OF_8.get(other)) else {
        return XDP_PASS;
    };
    by_policy(find_8(one, other, address))
}

/// The same by way of an inner map.
#[inline(always)]
pub(crate) fn inner_slots_of_8(ctx: &XdpContext) -> u32 {
    let address = address(ctx);
    let (one, other) = buckets(address, BUCKETS_OF_8);
    let Some(table) = OUTER.get(0) else {
        return XDP_PASS;
    };
    let (Some(one), Some(other)) = (table.get(one), table.get(other)) else {
        return XDP_PASS;
    };
    by_policy(find_8(one, other, address))
}

/// Address and rule in the first word, end and flags in the second.
#[inline(always)]
pub(crate) fn slots_of_16(ctx: &XdpContext) -> u32 {
    let address = address(ctx);
    let (one, other) = buckets(address, BUCKETS_OF_4);
    let (Some(one), Some(other)) = (SLOTS_OF_16.get(one), SLOTS_OF_16.get(other)) else {
        return XDP_PASS;
    };
    by_end(find_16(one, other, address))
}

/// No such address. Not an option, of which the compiler would copy the half that is not there.
const MISS: u64 = u64::MAX;

/// The source, or 0.
#[inline(always)]
fn address(ctx: &XdpContext) -> u32 {
    match network(&Packet::of(ctx)) {
        Ok(network) => network.source.as_v4().unwrap_or(0),
        Err(_) => 0,
    }
}

#[inline(always)]
fn by_policy(slot: u64) -> u32 {
    if slot == MISS {
        return XDP_PASS;
    }
    match POLICIES.get((slot >> 32) as u32) {
        Some([end, ..]) => by_end(*end),
        None => XDP_PASS,
    }
}

/// Nothing of the bench ever ends, so that the clock is not read.
#[inline(always)]
const fn by_end(end: u64) -> u32 {
    if end == 0 { XDP_DROP } else { XDP_PASS }
}

/// The slot of `address`, which is not 0; 0 is an empty slot.
#[inline(always)]
fn find_8(one: &Bucket, other: &Bucket, address: u32) -> u64 {
    let ([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]) = (one, other);
    return_if_found!(address; a a, b b, c c, d d, e e, f f, g g, h h);
    return_if_found!(address; i i, j j, k k, l l, m m, n n, o o, p p);
    MISS
}

/// The end of the slot of `address`.
#[inline(always)]
fn find_16(one: &Bucket, other: &Bucket, address: u32) -> u64 {
    let ([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]) = (one, other);
    return_if_found!(address; a b, c d, e f, g h);
    return_if_found!(address; i j, k l, m n, o p);
    MISS
}

/// A word of a bucket, read once: user space may change it at any time.
#[inline(always)]
fn read(word: &u64) -> u64 {
    // SAFETY: a live, aligned word of the map's value.
    unsafe { core::ptr::from_ref(word).read_volatile() }
}

/// Names the inner map, so that it is part of the object; the harness puts it into the outer one.
#[inline(always)]
pub(crate) fn keep_inner() -> bool {
    INNER.get(0).is_some()
}
