//! How many kinds of clients use one credential: an exact set of a few, in 14 bytes.

use crate::words::clock::Monotonic;

/// Kinds of clients in the hour that began with the first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kinds {
    /// Minute since boot, modulo 2^16, in which the hour began. A principal that is idle for the 45
    /// days after which it repeats may keep its kinds for another hour.
    since_minute: u16,
    /// Parts of their fingerprints; two in 65,536 are taken for one, which spares them.
    marks: [u16; Self::EXACT],
    /// How many; beyond [`Self::EXACT`] it is one more, and stays.
    n: u8,
}

const _: () = assert!(size_of::<Kinds>() <= 16);

/// How long a kind is remembered at most.
const HOUR: u16 = 60;

impl Kinds {
    const EXACT: usize = 5;

    /// The most that is counted.
    pub(crate) const MOST: u8 = 6;

    /// Notes a client that looks like `fingerprint`.
    pub(crate) fn note(&mut self, now: Monotonic, fingerprint: u64) {
        let minute = minute(now);
        if self.n == 0 || minute.wrapping_sub(self.since_minute) >= HOUR {
            self.since_minute = minute;
            self.n = 0;
        }
        // A part of a hash is a hash; the upper half tells newcomers apart.
        let [.., high, low] = fingerprint.to_be_bytes();
        let mark = u16::from_be_bytes([high, low]);
        let known = self.marks.iter().take(usize::from(self.n));
        if known.copied().any(|known| known == mark) {
            return;
        }
        if let Some(place) = self.marks.get_mut(usize::from(self.n)) {
            *place = mark;
        }
        self.n = (self.n + 1).min(Self::MOST);
    }

    /// How many there are in the hour that is running, up to [`Self::MOST`].
    pub(crate) fn count(&self, now: Monotonic) -> u8 {
        if minute(now).wrapping_sub(self.since_minute) >= HOUR {
            0
        } else {
            self.n
        }
    }
}

fn minute(at: Monotonic) -> u16 {
    let since_boot = at.since(Monotonic::default());
    let minutes = since_boot.as_secs() / 60;
    // Always fits.
    u16::try_from(minutes % (1 << 16)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(minutes: u64) -> Monotonic {
        Monotonic::from_boot(Duration::from_secs(60 * minutes))
    }

    #[test]
    fn kinds_are_counted_once_within_their_hour() {
        let check = |events: &[(u64, u64)], now: u64, expected: u8| {
            let mut kinds = Kinds::default();
            for (minute, fingerprint) in events {
                kinds.note(at(*minute), *fingerprint);
            }
            assert_eq!(kinds.count(at(now)), expected, "{events:?} at {now}");
        };
        check(&[], 0, 0);
        check(&[], 100, 0);
        check(&[(0, 0)], 0, 1);
        check(&[(5, 1), (6, 1), (7, 1)], 8, 1);
        check(&[(5, 1), (6, 2), (7, 1), (8, 3)], 9, 3);
        check(&[(5, 1), (6, 2)], 64, 2);
        check(&[(5, 1), (6, 2)], 65, 0);
        check(&[(5, 1), (6, 2), (65, 3)], 66, 1);
        check(&[(65_530, 1), (65_540, 2)], 65_541, 2);
        // Five are known again, and what is beyond them is one more.
        let many = |n| (1..=n).chain(1..=n).map(|it| (5, it)).collect::<Vec<_>>();
        check(&many(5), 6, 5);
        check(&many(6), 6, 6);
        check(&many(200), 6, 6);
    }
}
