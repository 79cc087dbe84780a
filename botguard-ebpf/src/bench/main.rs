//! Programs for `cargo xtask bench kernel`: the filter on its own maps with a prelude that changes
//! the source of each packet, and what it is measured beside. Never part of the product.
//!
//! Each way of judging a packet comes three times: as it is (warm), and behind the prelude for
//! either family (cold). The floors pay the same prelude.
#![no_std]
#![no_main]

#[path = "../ctx.rs"]
mod ctx;
#[path = "../filter.rs"]
mod filter;
#[path = "../maps.rs"]
#[expect(
    dead_code,
    reason = "the product's, of which the filter's part is used"
)]
mod maps;

mod alternatives;
mod generator;
mod keys;
mod layout;
mod peers;

use aya_ebpf::bindings::xdp_action::XDP_ABORTED;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

macro_rules! programs {
    ($($judge:path => $warm:ident $cold_v4:ident $cold_v6:ident;)*) => {$(
        #[xdp(frags)]
        fn $warm(ctx: XdpContext) -> u32 {
            $judge(&ctx)
        }

        #[xdp(frags)]
        fn $cold_v4(ctx: XdpContext) -> u32 {
            match keys::next_v4(&ctx) {
                Some(_) => $judge(&ctx),
                None => XDP_ABORTED,
            }
        }

        #[xdp(frags)]
        fn $cold_v6(ctx: XdpContext) -> u32 {
            match keys::next_v6(&ctx) {
                Some(()) => $judge(&ctx),
                None => XDP_ABORTED,
            }
        }
    )*};
}

programs! {
    peers::empty => empty empty_cold_v4 empty_cold_v6;
    peers::parse => parse parse_cold_v4 parse_cold_v6;
    peers::hash => hash hash_cold_v4 hash_cold_v6;
    peers::lpm => lpm lpm_cold_v4 lpm_cold_v6;
    peers::hash_lpm => hash_lpm hash_lpm_cold_v4 hash_lpm_cold_v6;
    filter::filter => filter_warm filter_cold_v4 filter_cold_v6;
    alternatives::slots_of_8 => slots8 slots8_cold_v4 slots8_cold_v6;
    alternatives::slots_of_16 => slots16 slots16_cold_v4 slots16_cold_v6;
    alternatives::inner_slots_of_8 => inner8 inner8_cold_v4 inner8_cold_v6;
}

/// See [`generator`].
#[xdp]
fn generate(ctx: XdpContext) -> u32 {
    generator::generate(&ctx)
}

/// See [`alternatives::keep_inner`].
#[xdp]
fn keep_inner(_ctx: XdpContext) -> u32 {
    u32::from(alternatives::keep_inner())
}

/// Never reached: were a panic reachable, the verifier would reject this endless loop.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// `bpf_jiffies64` and the like ask for no GPL-compatible one.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 18] = *b"Apache-2.0 OR MIT\0";
