//! Sorted, disjoint ranges of addresses of one family.

use crate::intel::error::RowProblem;

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

impl<A: Address> Ranges<A> {
    /// Sorts the rows and joins neighbours of one place.
    ///
    /// Errors: the lines of two that overlap, the later one first.
    pub(super) fn new(mut rows: Vec<Row<A>>) -> Result<Self, (u64, u64)> {
        rows.sort_unstable_by_key(|row| row.range.start);
        let mut ranges: Vec<Range<A>> = Vec::with_capacity(rows.len());
        let mut before: Option<Row<A>> = None;
        for row in rows {
            if let Some(before) = before
                && before.range.end >= row.range.start
            {
                return Err((before.line.max(row.line), before.line.min(row.line)));
            }
            before = Some(row);
            match ranges.last_mut() {
                Some(last) if last.place == row.range.place && last.end.meets(row.range.start) => {
                    last.end = row.range.end;
                }
                _ => ranges.push(row.range),
            }
        }
        ranges.shrink_to_fit();
        Ok(Self(ranges))
    }

    pub(super) fn find(&self, address: A) -> Option<u32> {
        let after = self.0.partition_point(|range| range.start <= address);
        let range = self.0.get(after.checked_sub(1)?)?;
        (address <= range.end).then_some(range.place)
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }
}

/// An address as a number.
pub(super) trait Address: Copy + Ord {
    /// Whether `next` is the address after this one.
    fn meets(self, next: Self) -> bool;
}

impl Address for u32 {
    fn meets(self, next: Self) -> bool {
        self.checked_add(1) == Some(next)
    }
}

impl Address for u128 {
    fn meets(self, next: Self) -> bool {
        self.checked_add(1) == Some(next)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_of_one_place_are_joined() {
        let rows = [
            (20u32, 29, 1),
            (0, 9, 1),
            (10, 19, 1),
            (30, 39, 2),
            (50, u32::MAX, 2),
        ];
        let rows = rows.map(|(start, end, place)| Row::new(start, end, place, 0).unwrap());
        let ranges = Ranges::new(rows.to_vec()).unwrap();
        assert_eq!(ranges.len(), 3);
        let check = |address, expected| assert_eq!(ranges.find(address), expected, "{address}");
        check(0, Some(1));
        check(29, Some(1));
        check(30, Some(2));
        check(40, None);
        check(u32::MAX, Some(2));
    }

    proptest! {
        #[test]
        fn finds_what_a_search_in_order_finds(
            rows in prop::collection::vec((0u32..200, 0u32..8, 0u32..3), 0..12),
            address in 0u32..220,
        ) {
            let rows: Vec<Row<u32>> = rows
                .into_iter()
                .zip(1..)
                .map(|((start, length, place), line)| {
                    Row::new(start, start + length, place, line).unwrap()
                })
                .collect();
            let covers = |row: &Row<u32>, address| {
                row.range.start <= address && address <= row.range.end
            };
            let disjoint = (0..220).all(|it| rows.iter().filter(|row| covers(row, it)).count() < 2);
            match Ranges::new(rows.clone()) {
                Ok(ranges) => {
                    prop_assert!(disjoint);
                    let expected = rows.iter().find(|row| covers(row, address));
                    prop_assert_eq!(ranges.find(address), expected.map(|row| row.range.place));
                }
                Err((line, other)) => {
                    prop_assert!(!disjoint);
                    prop_assert!(other < line);
                }
            }
        }
    }
}
