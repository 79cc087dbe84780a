//! The maps, and all access to them. Shapes and names are `botguard_common::maps`'.

use aya_ebpf::helpers::generated::bpf_jiffies64;
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::{Key, LpmTrie};
use aya_ebpf::maps::{Array, PerCpuArray, RingBuf};
use botguard_common::entry::{Entry, ticks};
use botguard_common::exit::Exit;
use botguard_common::hash::buckets_v6;
use botguard_common::lookup::{BucketV4, BucketV6, Memory, Word, in_bucket_v6};
use botguard_common::maps::{
    ALLOWS, ClockReading, Config, DropEvent, EVENT_RING_BYTES, EVENTS_PER_TICK, EventTokens,
    FILTER_V4_WORDS, FILTER_V6_32_WORDS, FILTER_V6_48_WORDS, Header, LEAST_BUCKETS, LEAST_PAGES,
    LEAST_POLICIES, LISTENER_BUCKETS, LISTENER_SEED, Listener, MMAPABLE, Mode, NETWORKS_V6,
    NO_PREALLOC, Page, RULES, RuleCounters, RuleName,
};
use botguard_common::packet::Source;
use botguard_common::verdict::{NO_RULE, Tables, Verdict};

// A generation of tables. The loader makes those that grow as large as they need to be.
#[map(name = "filter_v4")]
static FILTER_V4: Array<u64> = Array::with_max_entries(FILTER_V4_WORDS, MMAPABLE);
#[map(name = "hosts_v4")]
static HOSTS_V4: Array<BucketV4<Shared>> = Array::with_max_entries(LEAST_BUCKETS, MMAPABLE);
#[map(name = "nets_v4")]
static NETS_V4: Array<Page> = Array::with_max_entries(LEAST_PAGES, MMAPABLE);
#[map(name = "filter_v6_32")]
static FILTER_V6_32: Array<u64> = Array::with_max_entries(FILTER_V6_32_WORDS, MMAPABLE);
#[map(name = "filter_v6_48")]
static FILTER_V6_48: Array<u64> = Array::with_max_entries(FILTER_V6_48_WORDS, MMAPABLE);
#[map(name = "hosts_v6")]
static HOSTS_V6: Array<BucketV6<Shared>> = Array::with_max_entries(LEAST_BUCKETS, MMAPABLE);
#[map(name = "nets_v6")]
static NETS_V6: LpmTrie<[u8; 16], u32> = LpmTrie::with_max_entries(NETWORKS_V6, NO_PREALLOC);
#[map(name = "policies")]
static POLICIES: Array<Entry> = Array::with_max_entries(LEAST_POLICIES, MMAPABLE);
#[map(name = "header")]
static HEADER: Array<Header> = Array::with_max_entries(1, MMAPABLE);
#[map(name = "allow_v4")]
static ALLOW_V4: LpmTrie<[u8; 4], u32> = LpmTrie::with_max_entries(ALLOWS, NO_PREALLOC);
#[map(name = "allow_v6")]
static ALLOW_V6: LpmTrie<[u8; 16], u32> = LpmTrie::with_max_entries(ALLOWS, NO_PREALLOC);

// What lasts as long as the pins.
#[map(name = "listeners")]
static LISTENERS: Array<BucketV6<Shared>> = Array::with_max_entries(LISTENER_BUCKETS, MMAPABLE);
#[map(name = "config")]
static CONFIG: Array<Config> = Array::with_max_entries(1, 0);
#[map(name = "exits")]
static EXITS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Exit::COUNT, 0);
#[map(name = "rules")]
static RULE_NAMES: Array<RuleName> = Array::with_max_entries(RULES, 0);
#[map(name = "rule_counters")]
static RULE_COUNTERS: PerCpuArray<RuleCounters> = PerCpuArray::with_max_entries(RULES, 0);
#[map(name = "events")]
static EVENTS: RingBuf = RingBuf::with_byte_size(EVENT_RING_BYTES, 0);
#[map(name = "events_until")]
static EVENTS_UNTIL: Array<u32> = Array::with_max_entries(1, 0);
#[map(name = "event_tokens")]
static EVENT_TOKENS: PerCpuArray<EventTokens> = PerCpuArray::with_max_entries(1, 0);
#[map(name = "clock")]
static CLOCK: Array<ClockReading> = Array::with_max_entries(1, 0);

/// A word that user space may write at any time. The target has no atomic loads; a volatile one
/// of an aligned word is a single instruction.
#[repr(transparent)]
pub(crate) struct Shared(u64);

impl Word for Shared {
    #[inline(always)]
    fn read(&self) -> u64 {
        // SAFETY: a reference is live and aligned, and any bits are a `u64`.
        unsafe { core::ptr::read_volatile(&raw const self.0) }
    }
}

/// The maps as the filter asks them.
pub(crate) struct KernelTables;

impl Memory for KernelTables {
    type Word = Shared;

    #[inline(always)]
    fn header(&self) -> Header {
        HEADER.get(0).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn filter_v4(&self, word: u32) -> u64 {
        FILTER_V4.get(word).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn hosts_v4(&self, bucket: u32) -> Option<&BucketV4<Shared>> {
        HOSTS_V4.get(bucket)
    }

    #[inline(always)]
    fn page_v4(&self, page: u32, cell: u8) -> u32 {
        NETS_V4
            .get(page)
            .and_then(|page| page.get(usize::from(cell)).copied())
            .unwrap_or(0)
    }

    #[inline(always)]
    fn filter_v6_32(&self, word: u32) -> u64 {
        FILTER_V6_32.get(word).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn filter_v6_48(&self, word: u32) -> u64 {
        FILTER_V6_48.get(word).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn hosts_v6(&self, bucket: u32) -> Option<&BucketV6<Shared>> {
        HOSTS_V6.get(bucket)
    }

    #[inline(always)]
    fn net_v6(&self, source: &Source) -> u32 {
        NETS_V6
            .get(Key::new(128, source.as_v6()))
            .copied()
            .unwrap_or(0)
    }

    #[inline(always)]
    fn policy(&self, number: u32) -> Option<&Entry> {
        POLICIES.get(number)
    }
}

impl Tables for KernelTables {
    #[inline(always)]
    fn is_allowed(&self, source: &Source) -> bool {
        // A call that finds nothing costs as much as the rest of the way.
        if self.header().n_allows == 0 {
            return false;
        }
        match source.as_v4() {
            Some(address) => ALLOW_V4.get(Key::new(32, address.to_be_bytes())).is_some(),
            None => ALLOW_V6.get(Key::new(128, source.as_v6())).is_some(),
        }
    }

    #[inline(always)]
    fn has_listener(&self, listener: &Listener) -> bool {
        let Listener { high, low, tag } = *listener;
        let mask = LISTENER_BUCKETS - 1;
        let [first, second] = buckets_v6(high, low, tag, LISTENER_SEED, mask);
        let is_in = |bucket| {
            let bucket = LISTENERS.get(bucket);
            bucket.is_some_and(|bucket| in_bucket_v6(bucket, high, low, tag) != 0)
        };
        is_in(first) || is_in(second)
    }

    #[inline(always)]
    fn now(&self) -> u32 {
        ticks(
            jiffies(),
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
    if verdict.rule == NO_RULE {
        return;
    }
    if let Some(counters) = RULE_COUNTERS.get_ptr_mut(verdict.rule) {
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

/// Whether somebody listens for drops and this CPU has not told enough of them in this tick. With
/// nobody listening it costs one comparison.
#[inline(always)]
pub(crate) fn may_tell() -> Option<u64> {
    let until = *EVENTS_UNTIL.get(0)?;
    if until == 0 {
        return None;
    }
    let jiffies = jiffies();
    let tick = ticks(jiffies, CONFIG.get(0)?.anchor_jiffies);
    (tick < until && take_token(tick)).then_some(jiffies)
}

/// Tells of a packet that was dropped, or would have been.
#[inline(always)]
pub(crate) fn tell(event: &DropEvent) {
    // A full ring loses the event, which is a sample anyway.
    let _full: Result<(), i32> = EVENTS.output::<DropEvent>(event, BPF_RB_NO_WAKEUP);
}

/// The reader polls; a wake-up for each event would cost more than the event.
const BPF_RB_NO_WAKEUP: u64 = 1;

#[inline(always)]
fn take_token(tick: u32) -> bool {
    let Some(tokens) = EVENT_TOKENS.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: a live slot of this CPU's own; XDP is not preempted by itself on one CPU.
    unsafe {
        if (*tokens).tick != tick {
            *tokens = EventTokens {
                tick,
                left: EVENTS_PER_TICK,
            };
        }
        if (*tokens).left == 0 {
            return false;
        }
        (*tokens).left -= 1;
    }
    true
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

#[inline(always)]
fn jiffies() -> u64 {
    // SAFETY: the helper takes no argument and only reads a clock.
    unsafe { bpf_jiffies64() }
}
