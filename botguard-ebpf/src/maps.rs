//! The maps, and all access to them. Shapes and names are `botguard_common::maps`'.

use aya_ebpf::helpers::generated::bpf_jiffies64;
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::{Key, LpmTrie};
use aya_ebpf::maps::{Array, HashMap, PerCpuArray};
use botguard_common::entry::{Entry, ticks};
use botguard_common::exit::Exit;
use botguard_common::maps::{
    ALLOWS, ClockReading, Config, HOSTS, LISTENER_SLOTS, Listener, Mode, NETWORKS, NO_PREALLOC,
    ORIGINS, OriginCounters,
};
use botguard_common::packet::Source;
use botguard_common::verdict::{Tables, Verdict};

#[map(name = "block_host_v4")]
static BLOCK_HOST_V4: HashMap<[u8; 4], Entry> = HashMap::with_max_entries(HOSTS, NO_PREALLOC);
#[map(name = "block_host_v6")]
static BLOCK_HOST_V6: HashMap<[u8; 16], Entry> = HashMap::with_max_entries(HOSTS, NO_PREALLOC);
#[map(name = "block_net_v4")]
static BLOCK_NET_V4: LpmTrie<[u8; 4], Entry> = LpmTrie::with_max_entries(NETWORKS, NO_PREALLOC);
#[map(name = "block_net_v6")]
static BLOCK_NET_V6: LpmTrie<[u8; 16], Entry> = LpmTrie::with_max_entries(NETWORKS, NO_PREALLOC);
#[map(name = "allow_v4")]
static ALLOW_V4: LpmTrie<[u8; 4], u32> = LpmTrie::with_max_entries(ALLOWS, NO_PREALLOC);
#[map(name = "allow_v6")]
static ALLOW_V6: LpmTrie<[u8; 16], u32> = LpmTrie::with_max_entries(ALLOWS, NO_PREALLOC);
#[map(name = "listeners")]
static LISTENERS: HashMap<Listener, u32> = HashMap::with_max_entries(LISTENER_SLOTS, NO_PREALLOC);
#[map(name = "config")]
static CONFIG: Array<Config> = Array::with_max_entries(1, 0);
#[map(name = "exits")]
static EXITS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Exit::COUNT, 0);
#[map(name = "origins")]
static ORIGIN_COUNTERS: PerCpuArray<OriginCounters> = PerCpuArray::with_max_entries(ORIGINS, 0);
#[map(name = "clock")]
static CLOCK: Array<ClockReading> = Array::with_max_entries(1, 0);

/// The maps as the filter asks them.
pub(crate) struct KernelTables;

impl Tables for KernelTables {
    #[inline(always)]
    fn host(&self, source: &Source) -> Option<&Entry> {
        // SAFETY: with BPF_F_NO_PREALLOC an element is freed only after the RCU grace period in
        // which the program runs, and user space replaces elements whole.
        unsafe {
            match source.as_v4() {
                Some(address) => BLOCK_HOST_V4.get(address),
                None => BLOCK_HOST_V6.get(source.as_v6()),
            }
        }
    }

    #[inline(always)]
    fn prefix(&self, source: &Source) -> Option<&Entry> {
        match source.as_v4() {
            Some(address) => BLOCK_NET_V4.get(Key::new(32, address)),
            None => BLOCK_NET_V6.get(Key::new(128, source.as_v6())),
        }
    }

    #[inline(always)]
    fn is_allowed(&self, source: &Source) -> bool {
        match source.as_v4() {
            Some(address) => ALLOW_V4.get(Key::new(32, address)).is_some(),
            None => ALLOW_V6.get(Key::new(128, source.as_v6())).is_some(),
        }
    }

    #[inline(always)]
    fn has_listener(&self, listener: &Listener) -> bool {
        LISTENERS.get_ptr(listener).is_some()
    }

    #[inline(always)]
    fn now(&self) -> u32 {
        // SAFETY: the helper takes no argument and only reads a clock.
        let jiffies = unsafe { bpf_jiffies64() };
        ticks(
            jiffies,
            CONFIG.get(0).map_or(0, |config| config.anchor_jiffies),
        )
    }

    #[inline(always)]
    fn mode(&self) -> Mode {
        // Fail-open: a mode that nobody knows drops nothing.
        CONFIG
            .get(0)
            .and_then(|config| Mode::try_from(config.mode).ok())
            .unwrap_or(Mode::Log)
    }
}

/// Counts a packet's way out, and on whose account it was blocked.
#[inline(always)]
pub(crate) fn count(verdict: &Verdict) {
    if let Some(counter) = EXITS.get_ptr_mut(verdict.exit.index()) {
        // SAFETY: a live slot of this CPU's own; XDP is not preempted by itself on one CPU.
        unsafe { *counter += 1 };
    }
    let Some(origin) = verdict.origin else {
        return;
    };
    if let Some(counters) = ORIGIN_COUNTERS.get_ptr_mut(u32::from(origin)) {
        // SAFETY: as above.
        unsafe {
            if verdict.exit.is_drop() {
                (*counters).dropped += 1;
            } else {
                (*counters).would_drop += 1;
            }
        }
    }
}

/// Leaves a clock reading for user space.
#[inline(always)]
pub(crate) fn tell_clock(reading: ClockReading) {
    if let Some(slot) = CLOCK.get_ptr_mut(0) {
        // SAFETY: a live, aligned slot; a reader takes either field from this or another reading,
        // and both are of the present.
        unsafe { *slot = reading };
    }
}
