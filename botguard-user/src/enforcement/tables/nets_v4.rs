//! IPv4 networks: a trie of pages, one byte of the address a level, painted in segments.
//!
//! A segment says what holds for a range of addresses, hosts apart. Cells are written once, with
//! what they are to be: no address is anything else meanwhile.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Relaxed, Release};

use botguard_common::lookup::{IS_PAGE, NETWORKS};

use super::hosts_v4::{clear_bits, set_bits};
use super::memory::{Memory, Tries};
use super::policies::Policy;
use super::{Full, Tables};

/// A range of addresses that is blocked alike, by networks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Segment {
    /// First address.
    pub first: u32,
    /// Last address, at least `first`.
    pub last: u32,
    /// What holds there; [`Policy::NONE`] where nothing does.
    pub policy: Policy,
}

/// Paints segments that come in ascending order.
#[derive(Debug, Default)]
pub struct Painter {
    /// Of the /24 that several segments share: its number and cells.
    shared: Option<(u32, [u32; 256])>,
}

impl Painter {
    /// Paints a segment behind the one before.
    ///
    /// Errors: no page is left; what was painted before stays.
    pub fn paint<M: Memory, T: Tries>(
        &mut self,
        tables: &mut Tables<M, T>,
        segment: Segment,
    ) -> Result<(), Full> {
        let Segment {
            mut first,
            last,
            policy,
        } = segment;
        loop {
            let net = first >> 8;
            if self.shared.is_some_and(|(of, _)| of != net) {
                self.finish(tables)?;
            }
            let covers = |n_bits: u32| {
                let end = first | ((1 << n_bits) - 1);
                first.trailing_zeros() >= n_bits && end <= last
            };
            let end = if covers(16) {
                tables.paint_16(first >> 16, policy);
                first | 0xffff
            } else if covers(8) {
                tables.paint_24(net, policy)?;
                first | 0xff
            } else {
                let end = last.min(first | 0xff);
                let (_, cells) = (self.shared).get_or_insert_with(|| (net, tables.cells_24(net)));
                cells[(first & 0xff) as usize..=(end & 0xff) as usize].fill(policy.0);
                end
            };
            if end >= last {
                return Ok(());
            }
            first = end + 1;
        }
    }

    /// Paints what is left of the last /24.
    ///
    /// Errors: as [`Self::paint`].
    pub fn finish<M: Memory, T: Tries>(&mut self, tables: &mut Tables<M, T>) -> Result<(), Full> {
        match self.shared.take() {
            Some((net, cells)) => tables.paint_cells(net, &cells),
            None => Ok(()),
        }
    }
}

impl<M: Memory, T: Tries> Tables<M, T> {
    /// A /24, address by address.
    fn paint_cells(&mut self, net: u32, cells: &[u32; 256]) -> Result<(), Full> {
        if cells.iter().all(|cell| *cell == cells[0]) {
            return self.paint_24(net, Policy(cells[0]));
        }
        let under = self.page_of_16(net >> 8)?;
        let value = self.cell(under, net & 0xff).load(Relaxed);
        if value & IS_PAGE != 0 {
            let page = self.page(value & !IS_PAGE);
            for (cell, policy) in page.iter().zip(cells) {
                store(cell, *policy);
            }
        } else {
            let page = self.new_page(|index| cells[index])?;
            self.cell(under, net & 0xff).store(IS_PAGE | page, Release);
        }
        set_bits(self.memory.filter_v4(), net, NETWORKS);
        Ok(())
    }

    /// A whole /16.
    fn paint_16(&self, net: u32, policy: Policy) {
        let filter = &self.memory.filter_v4()[(net << 3) as usize..][..8];
        // Every second bit, beginning with the second.
        const ALL: u64 = 0xaaaa_aaaa_aaaa_aaaa;
        store(self.cell(net >> 8, net & 0xff), policy.0);
        for word in filter {
            let before = word.load(Relaxed);
            let after = if policy == Policy::NONE {
                before & !ALL
            } else {
                before | ALL
            };
            if after != before {
                word.store(after, Release);
            }
        }
    }

    /// A whole /24.
    fn paint_24(&mut self, net: u32, policy: Policy) -> Result<(), Full> {
        if self.cell(net >> 16, net >> 8 & 0xff).load(Relaxed) != policy.0 {
            let page = self.page_of_16(net >> 8)?;
            store(self.cell(page, net & 0xff), policy.0);
        }
        let filter = self.memory.filter_v4();
        if policy == Policy::NONE {
            clear_bits(filter, net, NETWORKS);
        } else {
            set_bits(filter, net, NETWORKS);
        }
        Ok(())
    }

    /// The page of a /16's /24s, made where there is none.
    fn page_of_16(&mut self, net: u32) -> Result<u32, Full> {
        let value = self.cell(net >> 8, net & 0xff).load(Relaxed);
        if value & IS_PAGE != 0 {
            return Ok(value & !IS_PAGE);
        }
        let page = self.new_page(|_index| value)?;
        self.cell(net >> 8, net & 0xff)
            .store(IS_PAGE | page, Release);
        Ok(page)
    }

    /// What the networks say of each address of a /24 now.
    fn cells_24(&self, net: u32) -> [u32; 256] {
        let mut value = self.cell(net >> 16, net >> 8 & 0xff).load(Relaxed);
        if value & IS_PAGE != 0 {
            value = self.cell(value & !IS_PAGE, net & 0xff).load(Relaxed);
        }
        if value & IS_PAGE == 0 {
            return [value; 256];
        }
        let page = self.page(value & !IS_PAGE);
        std::array::from_fn(|index| page[index].load(Relaxed))
    }

    fn new_page(&mut self, cell: impl Fn(usize) -> u32) -> Result<u32, Full> {
        let number = self.n_pages;
        let page = self
            .memory
            .nets_v4()
            .as_chunks::<256>()
            .0
            .get(number as usize);
        let page = page.ok_or(Full("nets_v4"))?;
        for (index, place) in page.iter().enumerate() {
            store(place, cell(index));
        }
        self.n_pages += 1;
        Ok(number)
    }

    fn page(&self, number: u32) -> &[AtomicU32; 256] {
        // Only `new_page` gives numbers, and the roots are always there.
        &self.memory.nets_v4().as_chunks().0[number as usize]
    }

    fn cell(&self, page: u32, index: u32) -> &AtomicU32 {
        &self.page(page)[(index & 0xff) as usize]
    }
}

/// Nothing is written that is there already: other CPUs have the line in their caches.
fn store(cell: &AtomicU32, value: u32) {
    if cell.load(Relaxed) != value {
        cell.store(value, Release);
    }
}
