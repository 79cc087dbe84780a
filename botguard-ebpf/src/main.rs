//! botguard's XDP program: the filter of `botguard_common::verdict` on real packets and maps.
//!
//! Nothing is decided here but what a verdict means to the kernel ([`filter`]). [`ctx`] reads
//! packets, [`maps`] holds the tables, and the rules are the shared crate's, which the tests run on the host too.
//!
//! Fail-open: whatever the filter does not understand has an [`Exit`] that passes and is counted.
//! There is no other error path, and no packet leaves by XDP_ABORTED.
#![no_std]
#![no_main]
#![deny(clippy::float_arithmetic, clippy::indexing_slicing)]

mod ctx;
mod filter;
mod maps;

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_boot_ns};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use botguard_common::maps::ClockReading;

/// See [`filter`].
#[xdp(frags)]
fn botguard_xdp(ctx: XdpContext) -> u32 {
    filter::filter(&ctx)
}

/// Tells user space the jiffies, which it cannot read. Run by BPF_PROG_TEST_RUN only, never
/// attached.
#[xdp]
fn botguard_clock(_ctx: XdpContext) -> u32 {
    // SAFETY: both helpers take no argument and only read a clock.
    let (jiffies, boot_ns) = unsafe { (bpf_jiffies64(), bpf_ktime_get_boot_ns()) };
    maps::tell_clock(ClockReading { jiffies, boot_ns });
    XDP_PASS
}

/// Never reached: were a panic reachable, the verifier would reject this endless loop.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// What the kernel is told. None of the helpers used here asks for a GPL-compatible one.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 18] = *b"Apache-2.0 OR MIT\0";
