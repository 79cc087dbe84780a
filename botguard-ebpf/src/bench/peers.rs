//! What the filter is measured beside: nothing, parsing alone, and the kernel's own maps.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::{Key, LpmTrie};
use aya_ebpf::maps::{Array, HashMap};
use aya_ebpf::programs::XdpContext;
use botguard_common::packet::{Source, network};

use crate::ctx::Packet;

const NO_PREALLOC: u32 = 1;
/// The harness says how many entries there are.
const ANY: u32 = 1;

#[map(name = "peer_hash_v4")]
static HASH_V4: HashMap<[u8; 4], u64> = HashMap::with_max_entries(ANY, 0);
#[map(name = "peer_hash_v6")]
static HASH_V6: HashMap<[u8; 16], u64> = HashMap::with_max_entries(ANY, 0);
#[map(name = "peer_lpm_v4")]
static LPM_V4: LpmTrie<[u8; 4], u64> = LpmTrie::with_max_entries(ANY, NO_PREALLOC);
#[map(name = "peer_lpm_v6")]
static LPM_V6: LpmTrie<[u8; 16], u64> = LpmTrie::with_max_entries(ANY, NO_PREALLOC);
/// Where parsing leaves what it found, since it would otherwise be optimised away.
#[map(name = "parsed")]
static PARSED: Array<[u8; 16]> = Array::with_max_entries(1, 0);

/// The floor.
#[inline(always)]
pub(crate) const fn empty(_ctx: &XdpContext) -> u32 {
    XDP_DROP
}

/// The same parser as the filter's, and nothing behind it.
#[inline(always)]
pub(crate) fn parse(ctx: &XdpContext) -> u32 {
    let Ok(network) = network(&Packet::of(ctx)) else {
        return XDP_PASS;
    };
    if let Some(parsed) = PARSED.get_ptr_mut(0) {
        // SAFETY: a live value; nobody reads it.
        unsafe { *parsed = network.source.as_v6() };
    }
    XDP_DROP
}

// No closures in what follows: the compiler makes a function of one that several programs share,
// and a call of it is what would be measured.

/// Single sources in a hash.
#[inline(always)]
pub(crate) fn hash(ctx: &XdpContext) -> u32 {
    match network(&Packet::of(ctx)) {
        Ok(network) if in_hash(&network.source) => XDP_DROP,
        _ => XDP_PASS,
    }
}

/// Prefixes in a trie.
#[inline(always)]
pub(crate) fn lpm(ctx: &XdpContext) -> u32 {
    match network(&Packet::of(ctx)) {
        Ok(network) if in_lpm(&network.source) => XDP_DROP,
        _ => XDP_PASS,
    }
}

/// Single sources in a hash, prefixes and systems in a trie behind it.
#[inline(always)]
pub(crate) fn hash_lpm(ctx: &XdpContext) -> u32 {
    match network(&Packet::of(ctx)) {
        Ok(network) if in_hash(&network.source) || in_lpm(&network.source) => XDP_DROP,
        _ => XDP_PASS,
    }
}

#[inline(always)]
fn in_hash(source: &Source) -> bool {
    match source.as_v4() {
        Some(address) => HASH_V4.get_ptr(address.to_be_bytes()).is_some(),
        None => HASH_V6.get_ptr(source.as_v6()).is_some(),
    }
}

#[inline(always)]
fn in_lpm(source: &Source) -> bool {
    match source.as_v4() {
        Some(address) => LPM_V4.get(Key::new(32, address.to_be_bytes())).is_some(),
        None => LPM_V6.get(Key::new(128, source.as_v6())).is_some(),
    }
}
