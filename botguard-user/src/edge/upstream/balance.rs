//! Which of several targets gets a request: power of two choices. Two are drawn, and the less busy
//! gets it, which keeps the busiest within log log n of the others without looking at all of them
//! (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001).

use std::sync::atomic::{AtomicU64, Ordering};

/// What is known of a target.
pub(super) trait Candidate {
    /// Whether requests are to be offered.
    fn is_up(&self) -> bool;
    /// Requests that it has at the moment.
    fn load(&self) -> usize;
}

/// The place of the target for the next request: one that is up, where there is one, else the less
/// busy of two; none where all are `excluded`.
pub(super) fn choose<C: Candidate>(
    candidates: &[C],
    random: u64,
    excluded: impl Fn(usize) -> bool,
) -> Option<usize> {
    let n = candidates.len();
    if n == 0 {
        return None;
    }
    // Two places that differ, where there are two; the halves of `random` are independent.
    let below = |random: u64, limit: usize| {
        usize::try_from(random % limit.max(1) as u64).unwrap_or_default()
    };
    let first = below(random >> 32, n);
    let step = if n == 1 {
        0
    } else {
        1 + below(random & 0xffff_ffff, n - 1)
    };
    let second = (first + step) % n;
    let better = |a: usize, b: usize| {
        let load = |place: usize| candidates.get(place).map_or(usize::MAX, Candidate::load);
        if load(b) < load(a) { b } else { a }
    };
    let is_good =
        |place: usize| !excluded(place) && candidates.get(place).is_some_and(Candidate::is_up);
    match (is_good(first), is_good(second)) {
        (true, true) => return Some(better(first, second)),
        (true, false) => return Some(first),
        (false, true) => return Some(second),
        (false, false) => {}
    }
    let in_turn = || (0..n).map(|offset| (first + offset) % n);
    in_turn()
        .filter(|place| is_good(*place))
        .reduce(better)
        .or_else(|| in_turn().filter(|place| !excluded(*place)).reduce(better))
}

/// Numbers that spread requests; nothing secret hangs on them. `SplitMix64` (Steele, Lea, Flood,
/// "Fast Splittable Pseudorandom Number Generators", 2014) over a shared counter.
#[derive(Debug, Default)]
pub(super) struct Spread(AtomicU64);

impl Spread {
    pub(super) fn next(&self) -> u64 {
        let counter = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (counter ^ (counter >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Candidate for (bool, usize) {
        fn is_up(&self) -> bool {
            self.0
        }

        fn load(&self) -> usize {
            self.1
        }
    }

    #[test]
    fn the_less_busy_that_is_up_is_chosen() {
        let check = |candidates: &[(bool, usize)], excluded: &[usize], expected: &[usize]| {
            let spread = Spread::default();
            let mut chosen: Vec<_> = (0..200)
                .filter_map(|_| {
                    choose(candidates, spread.next(), |place| excluded.contains(&place))
                })
                .collect();
            chosen.sort_unstable();
            chosen.dedup();
            assert_eq!(chosen, expected, "{candidates:?} without {excluded:?}");
        };
        check(&[], &[], &[]);
        check(&[(true, 9)], &[], &[0]);
        check(&[(true, 0)], &[0], &[]);
        check(&[(true, 1), (true, 0)], &[], &[1]);
        check(&[(true, 0), (true, 0)], &[], &[0, 1]);
        check(&[(true, 1), (false, 0)], &[], &[0]);
        // The busiest of three is in no pair the better one.
        check(&[(true, 2), (true, 1), (true, 0)], &[], &[1, 2]);
        check(&[(false, 0), (false, 0), (true, 9), (false, 0)], &[], &[2]);
        // None is up: tried anyway.
        check(&[(false, 1), (false, 0)], &[], &[1]);
        check(&[(true, 0), (true, 5), (false, 0)], &[0], &[1]);
        check(&[(true, 0), (false, 5)], &[0], &[1]);
    }

    proptest! {
        #[test]
        fn what_is_chosen_is_up_if_anything_is(
            candidates in proptest::collection::vec((any::<bool>(), 0_usize..5), 1..12),
            random: u64,
        ) {
            let place = choose(&candidates, random, |_| false).unwrap();
            let any_up = candidates.iter().any(Candidate::is_up);
            prop_assert_eq!(candidates[place].is_up(), any_up);
        }
    }

    /// Requests that never end go to all alike.
    #[test]
    fn load_is_spread() {
        let spread = Spread::default();
        let mut candidates = vec![(true, 0); 10];
        for _ in 0..1_000 {
            let place = choose(&candidates, spread.next(), |_| false).unwrap();
            candidates[place].1 += 1;
        }
        assert!(
            candidates.iter().all(|(_, load)| (90..=110).contains(load)),
            "{candidates:?}"
        );
    }
}
