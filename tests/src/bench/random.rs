//! Numbers that are the same in each run.

/// xorshift64*: fast, small, and random enough to lay out tables with.
///
/// Source: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled",
/// 2016, table II (shifts 12, 25, 27).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// Numbers that follow from `seed`, and from nothing else.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        // Zero is the one state that it never leaves.
        Self {
            state: seed ^ 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// The next 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// The next number below `bound`, which is not 0. Skewed by at most `bound` in 2^32.
    pub fn below(&mut self, bound: u32) -> u32 {
        let wide = (self.bits() >> 32) * u64::from(bound);
        u32::try_from(wide >> 32).unwrap_or(0)
    }

    /// A member of `all`, which is not empty.
    pub fn choose<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let n_all = u32::try_from(all.len()).unwrap_or(u32::MAX);
        &all[self.below(n_all) as usize]
    }

    /// Puts `all` into a random order.
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            let bound = u32::try_from(last + 1).unwrap_or(u32::MAX);
            all.swap(last, self.below(bound) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_within_bounds() {
        let mut one = Random::seeded(7);
        let mut other = Random::seeded(7);
        for _ in 0..1_000 {
            let number = one.below(10);
            assert_eq!(number, other.below(10));
            assert!(number < 10);
        }
        assert_ne!(one.bits(), Random::seeded(8).bits());
    }

    #[test]
    fn shuffling_loses_nothing() {
        let mut all: Vec<u32> = (0..100).collect();
        Random::seeded(1).shuffle(&mut all);
        assert!(!all.is_sorted());
        all.sort_unstable();
        assert!(all.into_iter().eq(0..100));
    }
}
