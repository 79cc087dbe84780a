//! A source of traffic: BPF_PROG_TEST_RUN in live-frames mode calls this once a frame, and it sends
//! the frame by an interface, each from another source of the key table.
//!
//! The pace is kept in here, since many small calls cost a scheduler tick each.

use aya_ebpf::bindings::xdp_action::XDP_ABORTED;
use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_redirect};
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use aya_ebpf::programs::XdpContext;

use crate::keys;
use crate::layout::generator::{DUE_NS, HEADER_SUM, INTERFACE, INTERVAL_NS, N, SENT};

#[map(name = "generator")]
static GENERATOR: Array<[u64; N]> = Array::with_max_entries(1, 0);

/// Sends the frame, once it is due. The kernel passes frames on by the batch, as a driver does.
#[inline(always)]
pub(crate) fn generate(ctx: &XdpContext) -> u32 {
    let Some(generator) = GENERATOR.get_ptr_mut(0) else {
        return XDP_ABORTED;
    };
    // SAFETY: a live value; the harness reads and writes it only between two calls.
    let generator = unsafe { &mut *generator };
    if generator[INTERVAL_NS] != 0 {
        let mut now = 0;
        for _ in 0..MOST_READINGS {
            // SAFETY: the helper takes no argument and only reads a clock.
            now = unsafe { bpf_ktime_get_ns() };
            if now >= generator[DUE_NS] {
                break;
            }
        }
        // Falling behind is not made up for by a burst.
        generator[DUE_NS] = now.max(generator[DUE_NS] + generator[INTERVAL_NS]);
    }
    let Some(source) = keys::next_v4(ctx) else {
        return XDP_ABORTED;
    };
    // Netfilter's hooks stand behind the IP layer's check of the header.
    let [a, b, c, d] = source;
    let sum = generator[HEADER_SUM] as u32
        + u32::from(u16::from_be_bytes([a, b]))
        + u32::from(u16::from_be_bytes([c, d]));
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    if keys::write(ctx, CHECKSUM, (!(sum as u16)).to_be_bytes()).is_none() {
        return XDP_ABORTED;
    }
    generator[SENT] += 1;
    // SAFETY: the helper takes numbers and answers with an action.
    unsafe { bpf_redirect(generator[INTERFACE] as u32, 0) as u32 }
}

/// Of the clock, while a frame waits; each takes 20 ns and more.
const MOST_READINGS: u32 = 512;
/// Offset of an IPv4 header's checksum behind an Ethernet header of 14 bytes.
const CHECKSUM: usize = 14 + 10;
