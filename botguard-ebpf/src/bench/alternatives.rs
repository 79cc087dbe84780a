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

/// `policy << 32 | address`; a hit costs one more load, of a table that is small.
#[inline(always)]
pub(crate) fn slots_of_8(ctx: &XdpContext) -> u32 {
    with_address(ctx, |address| {
        let (one, other) = buckets(address, BUCKETS_OF_8);
        policy(find_8(SLOTS_OF_8.get(one), SLOTS_OF_8.get(other), address))
    })
}

/// The same by way of an inner map.
#[inline(always)]
pub(crate) fn inner_slots_of_8(ctx: &XdpContext) -> u32 {
    with_address(ctx, |address| {
        let (one, other) = buckets(address, BUCKETS_OF_8);
        let Some(table) = OUTER.get(0) else {
            return MISS;
        };
        policy(find_8(table.get(one), table.get(other), address))
    })
}

/// Address and rule in the first word, end and flags in the second.
#[inline(always)]
pub(crate) fn slots_of_16(ctx: &XdpContext) -> u32 {
    with_address(ctx, |address| {
        let (one, other) = buckets(address, BUCKETS_OF_4);
        find_16(SLOTS_OF_16.get(one), SLOTS_OF_16.get(other), address)
    })
}

/// No such address. Not an option, of which the compiler would copy the half that is not there.
const MISS: u64 = u64::MAX;

#[inline(always)]
fn with_address(ctx: &XdpContext, end: impl Fn(u32) -> u64) -> u32 {
    let Ok(network) = network(&Packet::of(ctx)) else {
        return XDP_PASS;
    };
    let Some(address) = network.source.as_v4() else {
        return XDP_PASS;
    };
    if end(u32::from_be_bytes(address)) == 0 {
        XDP_DROP
    } else {
        XDP_PASS
    }
}

#[inline(always)]
fn policy(slot: u64) -> u64 {
    if slot == MISS {
        return MISS;
    }
    POLICIES
        .get((slot >> 32) as u32)
        .map_or(MISS, |[end, ..]| *end)
}

/// The slot of `address`, which is not 0; 0 is an empty slot.
#[inline(always)]
fn find_8(one: Option<&Bucket>, other: Option<&Bucket>, address: u32) -> u64 {
    for bucket in [one, other] {
        let Some(bucket) = bucket else {
            return MISS;
        };
        for index in 0..8 {
            let slot = word(bucket, index);
            if slot as u32 == address {
                return slot;
            }
        }
    }
    MISS
}

#[inline(always)]
fn find_16(one: Option<&Bucket>, other: Option<&Bucket>, address: u32) -> u64 {
    for bucket in [one, other] {
        let Some(bucket) = bucket else {
            return MISS;
        };
        for index in 0..4 {
            if word(bucket, 2 * index) as u32 == address {
                return word(bucket, 2 * index + 1);
            }
        }
    }
    MISS
}

/// A word of a bucket, read once: user space may change it at any time.
#[inline(always)]
fn word(bucket: &Bucket, index: usize) -> u64 {
    let Some(word) = bucket.get(index) else {
        return 0;
    };
    // SAFETY: a live, aligned word of the map's value.
    unsafe { core::ptr::from_ref(word).read_volatile() }
}

/// Names the inner map, so that it is part of the object; the harness puts it into the outer one.
#[inline(always)]
pub(crate) fn keep_inner() -> bool {
    INNER.get(0).is_some()
}
