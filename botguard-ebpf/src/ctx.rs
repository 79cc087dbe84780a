//! The packet's bytes: the only pointer arithmetic of the program.

use core::marker::PhantomData;

use aya_ebpf::programs::XdpContext;
use botguard_common::packet::PacketBytes;

/// The first buffer of the packet that a context describes. Headers never span buffers.
pub(crate) struct Packet<'a> {
    start: usize,
    end: usize,
    context: PhantomData<&'a XdpContext>,
}

impl<'a> Packet<'a> {
    /// The packet of `context`, for as long as the program runs.
    #[inline(always)]
    pub(crate) fn of(context: &'a XdpContext) -> Self {
        Self {
            start: context.data(),
            end: context.data_end(),
            context: PhantomData,
        }
    }
}

impl PacketBytes for Packet<'_> {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        // The longest chain of headers ends below this; the verifier wants the bound spelled out
        // before it lets a variable be added to a packet pointer.
        if offset > MAX_OFFSET || self.start + offset + N > self.end {
            return None;
        }
        // SAFETY: `start..end` is the packet's first buffer, alive and unchanged while the program
        // runs; `start + offset + N <= end` was just checked, and the verifier checks it again.
        // The alignment of the read is 1, and every bit pattern is a `[u8; N]`.
        Some(unsafe { core::ptr::read_unaligned((self.start + offset) as *const [u8; N]) })
    }
}

/// 22 bytes of Ethernet, 40 of IPv6, and eight extension headers of at most 2,048 each.
const MAX_OFFSET: usize = 0x7fff;
