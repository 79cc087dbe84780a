//! A packet's whole way through the filter: judged, counted, told of, and what the kernel is to do
//! with it. The programs are thin entries to this, those of the bench too.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::programs::XdpContext;
use botguard_common::maps::DropEvent;
use botguard_common::packet::network;
use botguard_common::verdict::{NO_RULE, Verdict, judge};

use crate::ctx::Packet;
use crate::maps;

/// Judges a packet and counts its way out, once.
#[inline(always)]
pub(crate) fn filter(ctx: &XdpContext) -> u32 {
    let verdict: Verdict = judge(&Packet::of(ctx), &maps::KernelTables);
    maps::count(&verdict);
    if verdict.rule != NO_RULE {
        tell(ctx, &verdict);
    }
    if verdict.exit.is_drop() {
        XDP_DROP
    } else {
        XDP_PASS
    }
}

/// Samples drops, and what would have been one, for whoever listens.
#[inline(always)]
fn tell(ctx: &XdpContext, verdict: &Verdict) {
    let Some(jiffies) = maps::may_tell() else {
        return;
    };
    let Ok(network) = network(&Packet::of(ctx)) else {
        return;
    };
    maps::tell(&DropEvent {
        jiffies,
        source: network.source.as_v6(),
        interface: ctx.ingress_ifindex() as u32,
        exit: verdict.exit.index(),
        rule: verdict.rule,
        frame_bytes: (ctx.data_end() - ctx.data()) as u32,
    });
}
