//! What the tables hold for a blocked network: until when it is blocked, and how.
//!
//! A packet is dropped if *any* live block covers its source, but a lookup gives only the most
//! specific entry. So user space compiles into each entry all blocks that cover its network: one
//! [`Term`] for each of the four things that a block can mean, each with the latest end among
//! them. Time alone then never makes a compiled entry wrong, and nobody needs to be there when a
//! short block inside a long one ends.
//!
//! Networks that are blocked alike share one entry, a *policy*: the tables of hosts and networks
//! hold its number. Ends come in ticks of a second or so, so there are few distinct ones.

/// A policy: the value of the `policies` table.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Entry {
    /// Everything is dropped.
    pub drop_host: Term,
    /// What is meant for a listener is dropped.
    pub drop_listeners: Term,
    /// Everything is counted as one that would be dropped.
    pub count_host: Term,
    /// What is meant for a listener is counted.
    pub count_listeners: Term,
}

impl Entry {
    /// Whether any of its terms is live.
    #[inline(always)]
    #[must_use]
    pub const fn is_live(&self, now: u32) -> bool {
        self.drop_host.is_live(now)
            || self.drop_listeners.is_live(now)
            || self.count_host.is_live(now)
            || self.count_listeners.is_live(now)
    }

    /// The entry as the words of its map, in the host's byte order: a policy a `u64` quadruple.
    #[must_use]
    pub const fn words(&self) -> [u64; 4] {
        [
            self.drop_host.word(),
            self.drop_listeners.word(),
            self.count_host.word(),
            self.count_listeners.word(),
        ]
    }

    /// Both entries' terms; of each kind the one that ends last.
    #[must_use]
    pub const fn joined(self, other: Self) -> Self {
        Self {
            drop_host: self.drop_host.or_later(other.drop_host),
            drop_listeners: self.drop_listeners.or_later(other.drop_listeners),
            count_host: self.count_host.or_later(other.count_host),
            count_listeners: self.count_listeners.or_later(other.count_listeners),
        }
    }
}

/// Until when, and on whose account.
///
/// Drops are charged to the rule of the block that ends last, since that one is live whenever
/// the term is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Term {
    /// First tick (see [`ticks`]) at which it no longer holds; 0 is never.
    pub end: u32,
    /// On whose account: index of the rules and their counters, below [`crate::maps::RULES`].
    pub rule: u16,
    /// [`ABSENT`] or [`PRESENT`].
    pub state: u8,
    /// Zero.
    pub padding: u8,
}

/// [`Term::state`]: no block of this kind covers the network. The zero value.
pub const ABSENT: u8 = 0;
/// [`Term::state`]: at least one block of this kind covers the network.
pub const PRESENT: u8 = 1;

impl Term {
    /// A term until tick `end`; 0 is for ever.
    #[must_use]
    pub const fn until(end: u32, rule: u16) -> Self {
        Self {
            end,
            rule,
            state: PRESENT,
            padding: 0,
        }
    }

    /// Whether it holds at tick `now`.
    #[inline(always)]
    #[must_use]
    pub const fn is_live(&self, now: u32) -> bool {
        self.state == PRESENT && (self.end == 0 || now < self.end)
    }

    const fn word(&self) -> u64 {
        let [a, b, c, d] = self.end.to_ne_bytes();
        let [e, f] = self.rule.to_ne_bytes();
        u64::from_ne_bytes([a, b, c, d, e, f, self.state, self.padding])
    }

    const fn or_later(self, other: Self) -> Self {
        let other_ends_later = self.end != 0 && (other.end == 0 || other.end > self.end);
        if other.state == PRESENT && (self.state != PRESENT || other_ends_later) {
            other
        } else {
            self
        }
    }
}

/// Time in ticks of 256 jiffies since the anchor; saturates. A u32 of them lasts 34 years at the
/// highest rate of jiffies, 1,000 a second.
#[inline(always)]
#[must_use]
pub const fn ticks(jiffies: u64, anchor_jiffies: u64) -> u32 {
    let ticks = jiffies.saturating_sub(anchor_jiffies) >> TICK_SHIFT;
    if ticks > u32::MAX as u64 {
        u32::MAX
    } else {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it fits, as was just compared"
        )]
        let ticks = ticks as u32;
        ticks
    }
}

/// A tick is `1 << TICK_SHIFT` jiffies.
pub const TICK_SHIFT: u32 = 8;

const _: () = assert!(size_of::<Term>() == 8 && align_of::<Term>() == 4);
const _: () = assert!(size_of::<Entry>() == 32 && align_of::<Entry>() == 4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_holds_until_its_end() {
        let check = |term: Term, now, expected| assert_eq!(term.is_live(now), expected, "{term:?}");
        check(Term::default(), 0, false);
        check(Term::until(5, 0), 4, true);
        check(Term::until(5, 0), 5, false);
        check(Term::until(0, 0), u32::MAX, true);
    }

    #[test]
    fn joining_keeps_the_latest_end_and_permanent_wins() {
        let check = |a: Term, b: Term, expected: Term| {
            assert_eq!(a.or_later(b), expected, "{a:?} {b:?}");
            assert_eq!(b.or_later(a), expected, "{b:?} {a:?}");
        };
        check(Term::default(), Term::until(3, 1), Term::until(3, 1));
        check(Term::until(9, 0), Term::until(3, 1), Term::until(9, 0));
        check(Term::until(9, 0), Term::until(0, 1), Term::until(0, 1));
        check(Term::default(), Term::default(), Term::default());
    }

    #[test]
    fn ticks_saturate() {
        let check = |jiffies, anchor, expected| assert_eq!(ticks(jiffies, anchor), expected);
        check(1_000, 1_000, 0);
        check(1_255, 1_000, 0);
        check(1_256, 1_000, 1);
        check(0, 1_000, 0);
        check(u64::MAX, 0, u32::MAX);
    }
}
