//! Names, shapes, keys and values of the maps.
//!
//! The kernel half declares its maps from these; the user half checks pinned maps against
//! [`SHAPES`] before it uses them, since a loader would take any map of the right name and write
//! past the end of a smaller value.

use crate::entry::Entry;
use crate::exit::Exit;

/// Layout version: names the directory of the pins. Any change of a shape below is a new one.
pub const LAYOUT: u32 = 1;

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
    /// Most entries it takes.
    pub capacity: u32,
    /// `BPF_F_…`.
    pub flags: u32,
}

/// Map types in use; numbers are `enum bpf_map_type`'s.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum Kind {
    /// `BPF_MAP_TYPE_HASH`.
    Hash = 1,
    /// `BPF_MAP_TYPE_ARRAY`.
    Array = 2,
    /// `BPF_MAP_TYPE_PERCPU_ARRAY`.
    PerCpuArray = 6,
    /// `BPF_MAP_TYPE_LPM_TRIE`.
    LpmTrie = 11,
}

/// Single IPv4 sources: `[u8; 4]` to [`Entry`].
pub const BLOCK_HOST_V4: &str = "block_host_v4";
/// Single IPv6 sources: `[u8; 16]` to [`Entry`].
pub const BLOCK_HOST_V6: &str = "block_host_v6";
/// IPv4 prefixes: LPM key to [`Entry`].
pub const BLOCK_NET_V4: &str = "block_net_v4";
/// IPv6 prefixes: LPM key to [`Entry`].
pub const BLOCK_NET_V6: &str = "block_net_v6";
/// Allowed IPv4 prefixes: LPM key to a `u32` of 1.
pub const ALLOW_V4: &str = "allow_v4";
/// Allowed IPv6 prefixes: LPM key to a `u32` of 1.
pub const ALLOW_V6: &str = "allow_v6";
/// What listens here: [`Listener`] to a `u32` of 1.
pub const LISTENERS: &str = "listeners";
/// One [`Config`].
pub const CONFIG: &str = "config";
/// Packets by [`Exit`], a `u64` a CPU.
pub const EXITS: &str = "exits";
/// Packets by origin, an [`OriginCounters`] a CPU.
pub const ORIGIN_COUNTERS: &str = "origins";
/// One [`ClockReading`], written by `botguard_clock`.
pub const CLOCK: &str = "clock";

/// Single sources of a family that can be blocked. The bucket array costs 16 bytes each.
pub const HOSTS: u32 = 262_144;
/// Prefixes of a family that can be blocked; the trie allocates as it grows.
pub const NETWORKS: u32 = 524_288;
/// Prefixes of a family that can be allowed.
pub const ALLOWS: u32 = 65_536;
/// Local addresses times ports.
pub const LISTENER_SLOTS: u32 = 4_096;
/// Origins that have counters of their own.
pub const ORIGINS: u32 = 16;
/// `BPF_F_NO_PREALLOC`: memory for entries that exist, not for all that could.
pub const NO_PREALLOC: u32 = 1;

#[expect(
    clippy::cast_possible_truncation,
    reason = "sizes of a few dozen bytes"
)]
const fn bytes<T>() -> u32 {
    size_of::<T>() as u32
}

const fn shape<K, V>(name: &'static str, kind: Kind, capacity: u32) -> Shape {
    let (prefix_bytes, flags) = match kind {
        // An LPM key is a u32 of prefix length before the address.
        Kind::LpmTrie => (bytes::<u32>(), NO_PREALLOC),
        Kind::Hash => (0, NO_PREALLOC),
        Kind::Array | Kind::PerCpuArray => (0, 0),
    };
    Shape {
        name,
        kind,
        key_bytes: prefix_bytes + bytes::<K>(),
        value_bytes: bytes::<V>(),
        capacity,
        flags,
    }
}

/// Every map.
pub const SHAPES: [Shape; 11] = [
    shape::<[u8; 4], Entry>(BLOCK_HOST_V4, Kind::Hash, HOSTS),
    shape::<[u8; 16], Entry>(BLOCK_HOST_V6, Kind::Hash, HOSTS),
    shape::<[u8; 4], Entry>(BLOCK_NET_V4, Kind::LpmTrie, NETWORKS),
    shape::<[u8; 16], Entry>(BLOCK_NET_V6, Kind::LpmTrie, NETWORKS),
    shape::<[u8; 4], u32>(ALLOW_V4, Kind::LpmTrie, ALLOWS),
    shape::<[u8; 16], u32>(ALLOW_V6, Kind::LpmTrie, ALLOWS),
    shape::<Listener, u32>(LISTENERS, Kind::Hash, LISTENER_SLOTS),
    shape::<u32, Config>(CONFIG, Kind::Array, 1),
    shape::<u32, u64>(EXITS, Kind::PerCpuArray, Exit::COUNT),
    shape::<u32, OriginCounters>(ORIGIN_COUNTERS, Kind::PerCpuArray, ORIGINS),
    shape::<u32, ClockReading>(CLOCK, Kind::Array, 1),
];

/// Something that listens on a local address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Listener {
    /// Local address; IPv4 as an IPv4-mapped one.
    pub address: [u8; 16],
    /// Port, network order; 0 in [`Listener::any_of`].
    pub port_be: [u8; 2],
    /// [`crate::packet::TCP`] or [`crate::packet::UDP`]; 0 in [`Listener::any_of`].
    pub protocol: u8,
    /// Zero.
    pub padding: u8,
}

impl Listener {
    /// A port of an address.
    #[inline(always)]
    #[must_use]
    pub const fn new(address: [u8; 16], port_be: [u8; 2], protocol: u8) -> Self {
        Self {
            address,
            port_be,
            protocol,
            padding: 0,
        }
    }

    /// The key that stands for any listener of the address: asked for packets that hide their
    /// ports, written beside each of the address's listeners.
    #[inline(always)]
    #[must_use]
    pub const fn any_of(address: [u8; 16]) -> Self {
        Self::new(address, [0, 0], 0)
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

/// Packets of blocked sources, by the origin of the block.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct OriginCounters {
    /// Dropped.
    pub dropped: u64,
    /// Passed, and would have been dropped but for log mode or a block that only counts.
    pub would_drop: u64,
}

/// The kernel's clocks at one instant. User space sees neither jiffies nor their rate.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ClockReading {
    /// `bpf_jiffies64`.
    pub jiffies: u64,
    /// `CLOCK_BOOTTIME`, nanoseconds.
    pub boot_ns: u64,
}

const _: () = assert!(size_of::<Listener>() == 20 && align_of::<Listener>() == 1);
const _: () = assert!(size_of::<Config>() == 16 && align_of::<Config>() == 8);
const _: () = assert!(size_of::<OriginCounters>() == 16 && align_of::<OriginCounters>() == 8);
const _: () = assert!(size_of::<ClockReading>() == 16 && align_of::<ClockReading>() == 8);
