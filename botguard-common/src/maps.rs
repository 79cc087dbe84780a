//! Names, shapes, keys and values of the maps.
//!
//! The kernel half declares its maps from these; the user half checks pinned maps against
//! [`SHAPES`] before it uses them, since a loader would take any map of the right name and write
//! past the end of a smaller value.

use crate::entry::Entry;
use crate::exit::Exit;
use crate::lookup::{BucketV4, BucketV6};

/// Layout version: names the directory of the pins. Any change of a shape below is a new one.
pub const LAYOUT: u32 = 2;

/// What the kernel must say of a map.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shape {
    /// Its name; pinned as `map_<name>`.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Bytes of a key.
    pub key_bytes: u32,
    /// Bytes of a value, on one CPU.
    pub value_bytes: u32,
    /// Most entries it takes; of a table that grows, the fewest.
    pub capacity: u32,
    /// `BPF_F_…`.
    pub flags: u32,
    /// How long it lives.
    pub life: Life,
}

/// How long a map lives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Life {
    /// As long as the pins.
    Lasting,
    /// Until the next generation of tables, which is made beside the old one and replaces it,
    /// program and all, between two packets. Its size is always the same.
    Generation,
    /// As [`Life::Generation`], and each generation may be larger.
    Growing,
}

/// Map types in use; numbers are `enum bpf_map_type`'s.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum Kind {
    /// `BPF_MAP_TYPE_ARRAY`.
    Array = 2,
    /// `BPF_MAP_TYPE_PERCPU_ARRAY`.
    PerCpuArray = 6,
    /// `BPF_MAP_TYPE_LPM_TRIE`.
    LpmTrie = 11,
    /// `BPF_MAP_TYPE_RINGBUF`.
    RingBuf = 27,
}

/// Two bits a /24 of IPv4, 32 a word: [`crate::lookup::HOSTS`], [`crate::lookup::NETWORKS`].
pub const FILTER_V4: &str = "filter_v4";
/// IPv4 hosts: [`crate::lookup::BucketV4`].
pub const HOSTS_V4: &str = "hosts_v4";
/// IPv4 networks: [`Page`]s, of which the first 256 are the roots by first byte.
pub const NETS_V4: &str = "nets_v4";
/// Two bits a hashed /32 of IPv6.
pub const FILTER_V6_32: &str = "filter_v6_32";
/// Two bits a hashed /48 of IPv6.
pub const FILTER_V6_48: &str = "filter_v6_48";
/// IPv6 hosts and /64s: [`crate::lookup::BucketV6`].
pub const HOSTS_V6: &str = "hosts_v6";
/// IPv6 networks of any other length: LPM key to a `u32` policy.
pub const NETS_V6: &str = "nets_v6";
/// [`Entry`]s; 0 blocks nothing.
pub const POLICIES: &str = "policies";
/// One [`Header`].
pub const HEADER: &str = "header";
/// Allowed IPv4 prefixes: LPM key to a `u32` of 1.
pub const ALLOW_V4: &str = "allow_v4";
/// Allowed IPv6 prefixes: LPM key to a `u32` of 1.
pub const ALLOW_V6: &str = "allow_v6";
/// What listens here: [`BucketV6`]s of [`Listener`]s, in place of the prefix length their tag, in
/// place of the policy 1. Hashed with [`LISTENER_SEED`].
pub const LISTENERS: &str = "listeners";
/// One [`Config`].
pub const CONFIG: &str = "config";
/// Packets by [`Exit`], a `u64` a CPU.
pub const EXITS: &str = "exits";
/// [`RuleName`]s.
pub const RULE_NAMES: &str = "rules";
/// Packets by rule, a [`RuleCounters`] a CPU.
pub const RULE_COUNTERS: &str = "rule_counters";
/// Sampled [`DropEvent`]s, while somebody listens.
pub const EVENTS: &str = "events";
/// The tick until which drops are sampled to [`EVENTS`], a `u32`. Whoever listens keeps it ahead of
/// now; a map of its own, since that is not the process that writes the others.
pub const EVENTS_UNTIL: &str = "events_until";
/// What is left of a CPU's share of events: an [`EventTokens`] a CPU.
pub const EVENT_TOKENS: &str = "event_tokens";
/// One [`ClockReading`], written by `botguard_clock`.
pub const CLOCK: &str = "clock";

/// Words of [`FILTER_V4`]: 4 MiB.
pub const FILTER_V4_WORDS: u32 = (1 << 24) / crate::lookup::CELLS;
/// Words of [`FILTER_V6_32`]: 256 KiB.
pub const FILTER_V6_32_WORDS: u32 = (1 << crate::hash::CELL_32_BITS) / crate::lookup::CELLS;
/// Words of [`FILTER_V6_48`]: 2 MiB.
pub const FILTER_V6_48_WORDS: u32 = (1 << crate::hash::CELL_48_BITS) / crate::lookup::CELLS;
/// Fewest buckets of a family's hosts; always a power of two.
pub const LEAST_BUCKETS: u32 = 1 << 10;
/// Root pages of [`NETS_V4`], one for each first byte.
pub const ROOT_PAGES: u32 = 256;
/// Fewest pages of [`NETS_V4`], roots included.
pub const LEAST_PAGES: u32 = 384;
/// Fewest policies.
pub const LEAST_POLICIES: u32 = 1 << 12;
/// IPv6 prefixes that can be blocked, /64s and hosts apart; the trie allocates as it grows.
pub const NETWORKS_V6: u32 = 1 << 20;
/// Prefixes of a family that can be allowed.
pub const ALLOWS: u32 = 65_536;
/// Buckets of [`LISTENERS`]: room for some two and a half thousand local addresses times ports.
pub const LISTENER_BUCKETS: u32 = 1 << 10;
/// Nobody outside chooses what listens here.
pub const LISTENER_SEED: u64 = 0x6c69_7374_656e_6572;
/// Rules that have counters of their own: lists and systems that can be blocked at once, and two.
pub const RULES: u32 = 4_096;
/// Bytes of the ring of events: 4,096 of them and their headers.
pub const EVENT_RING_BYTES: u32 = 1 << 18;
/// `BPF_F_NO_PREALLOC`: memory for entries that exist, not for all that could.
pub const NO_PREALLOC: u32 = 1;
/// `BPF_F_MMAPABLE`: user space writes it without a system call.
pub const MMAPABLE: u32 = 1 << 10;

/// A page of [`NETS_V4`]: for each value of a byte of the address the policy's number, 0 for
/// none, or [`crate::lookup::IS_PAGE`] and the number of the page for the next byte.
pub type Page = [u32; 256];

#[expect(
    clippy::cast_possible_truncation,
    reason = "sizes of a few hundred bytes"
)]
const fn bytes<T>() -> u32 {
    size_of::<T>() as u32
}

const fn shape<K, V>(name: &'static str, kind: Kind, capacity: u32, life: Life) -> Shape {
    let (prefix_bytes, flags) = match (kind, life) {
        // An LPM key is a u32 of prefix length before the address.
        (Kind::LpmTrie, _) => (bytes::<u32>(), NO_PREALLOC),
        (Kind::Array, Life::Generation | Life::Growing) => (0, MMAPABLE),
        (Kind::Array | Kind::PerCpuArray | Kind::RingBuf, _) => (0, 0),
    };
    Shape {
        name,
        kind,
        key_bytes: prefix_bytes + bytes::<K>(),
        value_bytes: bytes::<V>(),
        capacity,
        flags,
        life,
    }
}

impl Shape {
    const fn mmapable(self) -> Self {
        Self {
            flags: MMAPABLE,
            ..self
        }
    }
}

/// Every map.
pub const SHAPES: [Shape; 20] = {
    use Kind::{Array, LpmTrie, PerCpuArray, RingBuf};
    use Life::{Generation, Growing, Lasting};
    [
        shape::<u32, u64>(FILTER_V4, Array, FILTER_V4_WORDS, Generation),
        shape::<u32, BucketV4>(HOSTS_V4, Array, LEAST_BUCKETS, Growing),
        shape::<u32, Page>(NETS_V4, Array, LEAST_PAGES, Growing),
        shape::<u32, u64>(FILTER_V6_32, Array, FILTER_V6_32_WORDS, Generation),
        shape::<u32, u64>(FILTER_V6_48, Array, FILTER_V6_48_WORDS, Generation),
        shape::<u32, BucketV6>(HOSTS_V6, Array, LEAST_BUCKETS, Growing),
        shape::<[u8; 16], u32>(NETS_V6, LpmTrie, NETWORKS_V6, Generation),
        shape::<u32, Entry>(POLICIES, Array, LEAST_POLICIES, Growing),
        shape::<u32, Header>(HEADER, Array, 1, Generation),
        shape::<[u8; 4], u32>(ALLOW_V4, LpmTrie, ALLOWS, Generation),
        shape::<[u8; 16], u32>(ALLOW_V6, LpmTrie, ALLOWS, Generation),
        shape::<u32, BucketV6>(LISTENERS, Array, LISTENER_BUCKETS, Lasting).mmapable(),
        shape::<u32, Config>(CONFIG, Array, 1, Lasting),
        shape::<u32, u64>(EXITS, PerCpuArray, Exit::COUNT, Lasting),
        shape::<u32, RuleName>(RULE_NAMES, Array, RULES, Lasting),
        shape::<u32, RuleCounters>(RULE_COUNTERS, PerCpuArray, RULES, Lasting),
        shape::<(), ()>(EVENTS, RingBuf, EVENT_RING_BYTES, Lasting),
        shape::<u32, u32>(EVENTS_UNTIL, Array, 1, Lasting),
        shape::<u32, EventTokens>(EVENT_TOKENS, PerCpuArray, 1, Lasting),
        shape::<u32, ClockReading>(CLOCK, Array, 1, Lasting),
    ]
};

/// Seed and sizes of a generation of tables, and whether it is being written.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Header {
    /// Of the hashes, random for each generation.
    pub seed: u64,
    /// Buckets of [`HOSTS_V4`], less one.
    pub mask_v4: u32,
    /// Buckets of [`HOSTS_V6`], less one.
    pub mask_v6: u32,
    /// [`DIRTY`] while a change of several words is under way, else 0. Left at [`DIRTY`] it says
    /// that the writer was killed in the middle: the next one makes a new generation.
    pub state: u32,
    /// How many policies there are, the first one included; those beyond are not used yet.
    pub n_policies: u32,
    /// How many networks are allowed: with none, the tries of allows are not asked.
    pub n_allows: u32,
    /// Zero.
    pub padding: u32,
}

/// [`Header::state`] while a change is under way.
pub const DIRTY: u32 = 1;

/// Something that listens on a local address: the key of a slot of [`LISTENERS`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Listener {
    /// Upper half of the local address; IPv4 as an IPv4-mapped one.
    pub high: u64,
    /// Its lower half.
    pub low: u64,
    /// Port (upper half) and protocol, [`crate::packet::TCP`] or [`crate::packet::UDP`]; 0 in
    /// [`Listener::any_of`].
    pub tag: u32,
}

impl Listener {
    /// A port of an address.
    #[inline(always)]
    #[must_use]
    pub const fn new(high: u64, low: u64, port_be: [u8; 2], protocol: u8) -> Self {
        let port = u16::from_be_bytes(port_be);
        Self {
            high,
            low,
            tag: (port as u32) << 16 | protocol as u32,
        }
    }

    /// The key that stands for any listener of the address: asked for packets that hide their
    /// ports, written beside each of the address's listeners.
    #[inline(always)]
    #[must_use]
    pub const fn any_of(high: u64, low: u64) -> Self {
        Self { high, low, tag: 0 }
    }
}

/// What changes while the filter runs. All zero, as the kernel makes it, drops nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Config {
    /// The `bpf_jiffies64` from which [`crate::entry::Term::end`] counts; 0 is not yet set.
    pub anchor_jiffies: u64,
    /// Jiffies a second, for user space.
    pub jiffies_per_second: u32,
    /// A [`Mode`].
    pub mode: u32,
}

/// Whether a drop is carried out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum Mode {
    /// Counted, and the packet passes.
    Log = 0,
    /// Carried out.
    Enforce = 1,
}

/// A number that is no mode's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnknownMode(pub u32);

impl TryFrom<u32> for Mode {
    type Error = UnknownMode;

    #[inline(always)]
    fn try_from(mode: u32) -> Result<Self, UnknownMode> {
        match mode {
            0 => Ok(Self::Log),
            1 => Ok(Self::Enforce),
            _ => Err(UnknownMode(mode)),
        }
    }
}

/// Packets of blocked sources, by rule.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RuleCounters {
    /// Dropped.
    pub dropped: u64,
    /// Passed, and would have been dropped but for log mode or a block that only counts.
    pub would_drop: u64,
}

/// A rule's name as text, padded with zeros; all zero is a number not in use.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RuleName(pub [u8; 64]);

/// A drop, or what would have been one, as a sample.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DropEvent {
    /// When, `bpf_jiffies64`.
    pub jiffies: u64,
    /// Source address; IPv4 as an IPv4-mapped one.
    pub source: [u8; 16],
    /// Index of the interface.
    pub interface: u32,
    /// An [`Exit`].
    pub exit: u32,
    /// Index of the rule.
    pub rule: u32,
    /// Length of the frame in bytes, of its first buffer where it has several.
    pub frame_bytes: u32,
}

/// A CPU's share of events.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct EventTokens {
    /// The tick that the share is for.
    pub tick: u32,
    /// What is left of it.
    pub left: u32,
}

/// Events a CPU and tick: enough to see what goes on, too few to cost anything.
pub const EVENTS_PER_TICK: u32 = 64;

/// The kernel's clocks at one instant. User space sees neither jiffies nor their rate.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ClockReading {
    /// `bpf_jiffies64`.
    pub jiffies: u64,
    /// `CLOCK_BOOTTIME`, nanoseconds.
    pub boot_ns: u64,
}

const _: () = assert!(size_of::<Config>() == 16 && align_of::<Config>() == 8);
const _: () = assert!(size_of::<Header>() == 32 && align_of::<Header>() == 8);
const _: () = assert!(size_of::<RuleCounters>() == 16 && align_of::<RuleCounters>() == 8);
const _: () = assert!(size_of::<RuleName>() == 64 && align_of::<RuleName>() == 1);
const _: () = assert!(size_of::<DropEvent>() == 40 && align_of::<DropEvent>() == 8);
const _: () = assert!(size_of::<EventTokens>() == 8 && align_of::<EventTokens>() == 4);
const _: () = assert!(size_of::<ClockReading>() == 16 && align_of::<ClockReading>() == 8);
