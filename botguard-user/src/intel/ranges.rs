//! Sorted, disjoint ranges of addresses: what tables of all kinds become at load.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::path::Path;

use super::error::RowProblem;

/// A table of both families while it is read.
#[derive(Debug, Default)]
pub(super) struct Rows {
    v4: Vec<Row<u32>>,
    v6: Vec<Row<u128>>,
}

/// A table of both families, and what overlapped in it.
#[derive(Debug)]
pub(super) struct BothRanges {
    pub(super) v4: Ranges<u32>,
    pub(super) v6: Ranges<u128>,
    pub(super) overlaps: Vec<Overlap>,
}

impl Rows {
    /// Adds the range from `start` to `end`, both included.
    pub(super) fn add(
        &mut self,
        start: IpAddr,
        end: IpAddr,
        place: u32,
        line: u64,
    ) -> Result<(), RowProblem> {
        match (start, end) {
            (IpAddr::V4(start), IpAddr::V4(end)) => {
                let row = Row::new(start.into(), end.into(), place, line)?;
                self.v4.push(row);
            }
            (IpAddr::V6(start), IpAddr::V6(end)) => {
                let row = Row::new(start.into(), end.into(), place, line)?;
                self.v6.push(row);
            }
            _ => return Err(RowProblem::Families),
        }
        Ok(())
    }

    pub(super) fn sorted(self) -> BothRanges {
        let (v4, mut overlaps) = Ranges::new(self.v4);
        let (v6, overlaps_v6) = Ranges::new(self.v6);
        overlaps.extend(overlaps_v6);
        BothRanges { v4, v6, overlaps }
    }
}

impl BothRanges {
    /// The place of an address, which is canonical.
    pub(super) fn find(&self, ip: IpAddr) -> Option<u32> {
        match ip {
            IpAddr::V4(ip) => self.v4.find(u32::from(ip)),
            IpAddr::V6(ip) => self.v6.find(u128::from(ip)),
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Which rows overlap, if any do, in words.
    pub(super) fn warning(&self, path: &Path) -> Option<String> {
        let first = self.overlaps.first()?;
        Some(format!(
            "{}:{}: the range overlaps that of line {}, and counts where it does ({} such in all)",
            path.display(),
            first.inner,
            first.outer,
            self.overlaps.len()
        ))
    }
}

/// Which place each address has; found by binary search.
#[derive(Debug)]
pub(super) struct Ranges<A>(Vec<Range<A>>);

#[derive(Clone, Copy, Debug)]
struct Range<A> {
    start: A,
    /// Included.
    end: A,
    place: u32,
}

/// A range as it was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<A> {
    range: Range<A>,
    line: u64,
}

impl<A: Copy + Ord> Row<A> {
    pub(super) fn new(start: A, end: A, place: u32, line: u64) -> Result<Self, RowProblem> {
        if start > end {
            return Err(RowProblem::Reversed);
        }
        let range = Range { start, end, place };
        Ok(Self { range, line })
    }
}

/// The lines of two rows that share addresses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Overlap {
    /// The one that counts where they do.
    pub(super) inner: u64,
    pub(super) outer: u64,
}

impl<A: Address> Ranges<A> {
    /// Sorts the rows, cuts them where they overlap, and joins neighbours of one place.
    ///
    /// Of rows that share an address, the one that starts last counts there, then the shorter,
    /// then the later line: as with routes, the more specific.
    pub(super) fn new(mut rows: Vec<Row<A>>) -> (Self, Vec<Overlap>) {
        rows.sort_unstable_by_key(|row| (row.range.start, Reverse(row.range.end), row.line));
        let mut ranges = Self(Vec::with_capacity(rows.len()));
        let mut overlaps = Vec::new();
        // Rows that are not at their end, each started after the one below it.
        let mut open: Vec<Row<A>> = Vec::new();
        for row in rows {
            let start = row.range.start;
            while let Some(over) = open.pop_if(|top| top.range.end < start) {
                ranges.fill(over.range);
            }
            if let Some(outer) = open.last() {
                overlaps.push(Overlap {
                    inner: row.line,
                    outer: outer.line,
                });
                if let Some(end) = start.before() {
                    ranges.fill(Range { end, ..outer.range });
                }
            }
            open.push(row);
        }
        while let Some(over) = open.pop() {
            ranges.fill(over.range);
        }
        ranges.0.shrink_to_fit();
        (ranges, overlaps)
    }

    /// Appends what of `range` lies behind the last one.
    fn fill(&mut self, range: Range<A>) {
        let Some(last) = self.0.last_mut() else {
            self.0.push(range);
            return;
        };
        if range.end <= last.end {
            return;
        }
        let meets = range.start <= last.end || range.start.before() == Some(last.end);
        if meets && last.place == range.place {
            last.end = range.end;
        } else if let Some(after) = last.end.after() {
            let start = range.start.max(after);
            self.0.push(Range { start, ..range });
        }
    }

    pub(super) fn find(&self, address: A) -> Option<u32> {
        let after = self.0.partition_point(|range| range.start <= address);
        let range = self.0.get(after.checked_sub(1)?)?;
        (address <= range.end).then_some(range.place)
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The ranges, grouped by their places, of which there are `n_places`. Cost: two passes.
    pub(super) fn by_place(&self, n_places: usize) -> ByPlace {
        let mut starts = vec![0_u32; n_places + 1];
        for range in &self.0 {
            starts[range.place as usize + 1] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut next = starts.clone();
        let mut ranges = vec![0_u32; self.0.len()];
        for (range, index) in self.0.iter().zip(0_u32..) {
            let next = &mut next[range.place as usize];
            ranges[*next as usize] = index;
            *next += 1;
        }
        ByPlace {
            starts: starts.into_boxed_slice(),
            ranges: ranges.into_boxed_slice(),
        }
    }

    /// First and last address of each range of a place, in order.
    pub(super) fn of(&self, place: u32, by_place: &ByPlace) -> impl Iterator<Item = (A, A)> {
        let place = place as usize;
        let [start, end] = [place, place + 1].map(|place| by_place.starts[place] as usize);
        let ranges = by_place.ranges[start..end].iter();
        ranges.map(|index| {
            let range = &self.0[*index as usize];
            (range.start, range.end)
        })
    }
}

/// Indices of ranges, those of each place together.
#[derive(Debug)]
pub(super) struct ByPlace {
    /// Where in [`Self::ranges`] each place starts, and the end.
    starts: Box<[u32]>,
    ranges: Box<[u32]>,
}

/// An address as a number.
pub(super) trait Address: Copy + Ord {
    fn before(self) -> Option<Self>;
    fn after(self) -> Option<Self>;
}

impl Address for u32 {
    fn before(self) -> Option<Self> {
        self.checked_sub(1)
    }

    fn after(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Address for u128 {
    fn before(self) -> Option<Self> {
        self.checked_sub(1)
    }

    fn after(self) -> Option<Self> {
        self.checked_add(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(rows: &[(u32, u32, u32)]) -> Vec<Row<u32>> {
        rows.iter()
            .zip(1..)
            .map(|((start, end, place), line)| Row::new(*start, *end, *place, line).unwrap())
            .collect()
    }

    #[test]
    fn neighbours_of_one_place_are_joined() {
        let (ranges, overlaps) = Ranges::new(rows(&[
            (20, 29, 1),
            (0, 9, 1),
            (10, 19, 1),
            (30, 39, 2),
            (50, u32::MAX, 2),
        ]));
        assert_eq!((ranges.len(), overlaps.len()), (3, 0));
        let check = |address, expected| assert_eq!(ranges.find(address), expected, "{address}");
        check(0, Some(1));
        check(29, Some(1));
        check(30, Some(2));
        check(40, None);
        check(u32::MAX, Some(2));
    }

    #[test]
    fn the_more_specific_row_counts() {
        let (ranges, overlaps) = Ranges::new(rows(&[
            (0, u32::MAX, 1),
            (10, 19, 2),
            (15, 25, 3),
            (15, 16, 4),
        ]));
        let check = |address, expected| assert_eq!(ranges.find(address), expected, "{address}");
        check(9, Some(1));
        check(14, Some(2));
        check(16, Some(4));
        check(17, Some(3));
        check(25, Some(3));
        check(26, Some(1));
        check(u32::MAX, Some(1));
        let lines: Vec<_> = overlaps.iter().map(|it| (it.inner, it.outer)).collect();
        assert_eq!(lines, [(2, 1), (3, 2), (4, 3)]);
    }

    proptest! {
        #[test]
        fn finds_what_a_search_in_order_finds(
            parts in prop::collection::vec((0u32..200, 0u32..30, 0u32..3), 0..12),
        ) {
            let parts: Vec<_> = parts.iter().map(|(it, length, p)| (*it, it + length, *p)).collect();
            let rows = rows(&parts);
            let (ranges, overlaps) = Ranges::new(rows.clone());
            let mut n_shared = 0;
            for address in 0..240 {
                let covering: Vec<_> = rows
                    .iter()
                    .filter(|row| row.range.start <= address && address <= row.range.end)
                    .collect();
                let expected = covering
                    .iter()
                    .max_by_key(|row| (row.range.start, Reverse(row.range.end), row.line))
                    .map(|row| row.range.place);
                prop_assert_eq!(ranges.find(address), expected, "{}", address);
                n_shared += usize::from(covering.len() > 1);
            }
            prop_assert_eq!(overlaps.is_empty(), n_shared == 0);
            let disjoint = ranges.0.windows(2).all(|pair| pair[0].end < pair[1].start);
            prop_assert!(disjoint);
            let by_place = ranges.by_place(3);
            for place in 0..3 {
                let grouped: Vec<_> = ranges.of(place, &by_place).collect();
                let all = ranges.0.iter().filter(|range| range.place == place);
                let expected: Vec<_> = all.map(|range| (range.start, range.end)).collect();
                prop_assert_eq!(grouped, expected);
            }
        }
    }
}
