//! What was spent and must not be spent again: nonces of one-use tokens, remembered for as long as
//! the tokens could live. Pure and bounded.

use std::collections::HashSet;
use std::time::Duration;

use super::clock::Monotonic;

/// Nonces in two generations of one lifetime each: a nonce is forgotten one to two lifetimes after
/// it was spent, when its token has long expired.
#[derive(Debug)]
pub struct Spent {
    current: HashSet<u128>,
    previous: HashSet<u128>,
    since: Monotonic,
    lifetime: Duration,
    /// Of one generation.
    capacity: usize,
}

/// A nonce that cannot be spent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SpentError {
    /// It was spent before.
    Before,
    /// More are spent than can be remembered, until the oldest are forgotten.
    Full,
}

impl Spent {
    /// Remembers nonces of tokens that live for `lifetime`, at most `capacity` in one lifetime;
    /// each takes about 36 bytes, twice that many at most are kept.
    #[must_use]
    pub fn new(lifetime: Duration, capacity: usize) -> Self {
        Self {
            current: HashSet::new(),
            previous: HashSet::new(),
            since: Monotonic::default(),
            lifetime,
            capacity,
        }
    }

    /// Spends a nonce.
    ///
    /// Errors: [`SpentError`]; then it is as it was.
    pub fn insert(&mut self, now: Monotonic, nonce: u128) -> Result<(), SpentError> {
        let age = now.since(self.since);
        if age >= self.lifetime {
            let current = std::mem::take(&mut self.current);
            self.previous = if age < self.lifetime.saturating_mul(2) {
                current
            } else {
                HashSet::new()
            };
            self.since = now;
        }
        if self.previous.contains(&nonce) || self.current.contains(&nonce) {
            return Err(SpentError::Before);
        }
        if self.current.len() >= self.capacity {
            return Err(SpentError::Full);
        }
        self.current.insert(nonce);
        Ok(())
    }

    /// How many are remembered.
    #[must_use]
    pub fn n_remembered(&self) -> usize {
        self.current.len() + self.previous.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_spent_once_within_its_lifetime() {
        let mut spent = Spent::new(Duration::from_secs(10), 2);
        let mut check = |s: u64, nonce: u128, expected: Result<(), SpentError>| {
            let now = Monotonic::from_boot(Duration::from_secs(1_000 + s));
            assert_eq!(spent.insert(now, nonce), expected, "{nonce} at {s}");
            assert!(spent.n_remembered() <= 4);
        };
        check(0, 1, Ok(()));
        check(9, 1, Err(SpentError::Before));
        check(9, 2, Ok(()));
        check(9, 3, Err(SpentError::Full));
        check(9, 2, Err(SpentError::Before));
        // The generation of 1 and 2 is the previous one now.
        check(10, 3, Ok(()));
        check(18, 2, Err(SpentError::Before));
        check(20, 2, Ok(()));
        check(60, 3, Ok(()));
    }
}
