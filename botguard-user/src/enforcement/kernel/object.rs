//! The compiled kernel half, embedded by the build script.

/// The ELF object, aligned as its parser needs it.
pub(super) static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/botguard-ebpf"));

/// The filter.
pub(super) const FILTER: &str = "botguard_xdp";
/// Tells the jiffies.
pub(super) const CLOCK: &str = "botguard_clock";
