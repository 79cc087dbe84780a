//! The good principals behind an address, network or key: whom a wider measure would hit too.

use std::time::Duration;

use super::ban_history::instant;
use super::policy::ban::BanPolicy;
use crate::words::clock::{Monotonic, Now, Wall, WallOffset};

/// The last good principals, each by a tag, and when each was seen last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GoodCompany([Option<Good>; REMEMBERED]);

#[derive(Clone, Copy, Debug)]
struct Good {
    tag: u64,
    seen: Monotonic,
}

const REMEMBERED: usize = BanPolicy::MOST_GOOD_PRINCIPALS as usize + 1;

/// Whether a sighting is worth remembering across a restart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sighting {
    /// Somebody new, or somebody not seen for so long.
    News,
    /// Seen a short while ago.
    Known,
}

impl GoodCompany {
    /// When all places are taken by others, the one seen longest ago gives way; that many are
    /// more than any policy asks for.
    pub(crate) fn note(&mut self, now: Monotonic, tag: u64) -> Sighting {
        let good = Some(Good { tag, seen: now });
        let known = (self.0.iter()).position(|it| it.is_some_and(|it| it.tag == tag));
        if let Some(place) = known {
            let last = self.0[place].map_or(now, |it| it.seen);
            // The place remembers the last sighting, and news is what the last *news* is an hour
            // older than; a sighting in each hour is enough.
            self.0[place] = good;
            let is_news = now.as_ms() / NEWS_MS != last.as_ms() / NEWS_MS;
            return if is_news {
                Sighting::News
            } else {
                Sighting::Known
            };
        }
        match self.0.iter().position(Option::is_none) {
            Some(place) => self.0[place] = good,
            None => {
                let oldest = self
                    .0
                    .iter_mut()
                    .min_by_key(|it| it.map_or(now, |it| it.seen));
                if let Some(oldest) = oldest {
                    *oldest = good;
                }
            }
        }
        Sighting::News
    }

    pub(crate) fn forget(&mut self, tag: u64) {
        for good in &mut self.0 {
            if good.is_some_and(|it| it.tag == tag) {
                *good = None;
            }
        }
    }

    /// How many were seen within `window`.
    pub(crate) fn count(&self, now: Monotonic, window: Duration) -> u32 {
        let recent = self.0.iter().flatten();
        let recent = recent.filter(|good| now.since(good.seen) < window);
        u32::try_from(recent.count()).unwrap_or(u32::MAX)
    }

    /// Takes in those of `other`.
    pub(crate) fn join(&mut self, other: &Self) {
        for good in other.0.iter().flatten() {
            self.note(good.seen, good.tag);
        }
    }

    pub(crate) fn memo(&self, offset: WallOffset) -> Vec<(u64, Wall)> {
        let good = self.0.iter().flatten();
        good.map(|good| (good.tag, offset.wall_at(good.seen)))
            .collect()
    }

    pub(crate) fn recalled(memo: &[(u64, Wall)], now: Now) -> Self {
        let mut company = Self::default();
        for (place, (tag, seen)) in company.0.iter_mut().zip(memo) {
            *place = Some(Good {
                tag: *tag,
                // Later than now is by a clock that has learnt better since.
                seen: instant(now, *seen).min(now.monotonic),
            });
        }
        company
    }
}

const NEWS_MS: u64 = 3_600_000;

/// Those who have not been seen often enough to be good ones, but are several: an address where many
/// have just arrived, as after a restart of the daemon, is not one bad client's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Newcomers {
    tags: [u32; CROWD],
    seen_s: [u32; CROWD],
}

/// So many that behave within [`CROWD_WITHIN`] count as one good principal.
const CROWD: usize = 4;
const CROWD_WITHIN: Duration = Duration::from_secs(60);

impl Newcomers {
    pub(crate) fn note(&mut self, now: Monotonic, tag: u64) {
        let tag = short(tag);
        let known = self.tags.iter().position(|it| *it == tag);
        let oldest = || (0..CROWD).min_by_key(|place| self.seen_s[*place]);
        if let Some(place) = known.or_else(oldest) {
            self.tags[place] = tag;
            self.seen_s[place] = seconds(now);
        }
    }

    pub(crate) fn forget(&mut self, tag: u64) {
        let tag = short(tag);
        for place in 0..CROWD {
            if self.tags[place] == tag {
                (self.tags[place], self.seen_s[place]) = (0, 0);
            }
        }
    }

    /// 1 where there is a crowd, else 0.
    pub(crate) fn count(&self, now: Monotonic) -> u32 {
        let within = u32::try_from(CROWD_WITHIN.as_secs()).unwrap_or(u32::MAX);
        let is_recent = |seen: &u32| *seen > 0 && seconds(now).saturating_sub(*seen) < within;
        u32::from(self.seen_s.iter().all(is_recent))
    }
}

/// Enough to tell a handful apart.
fn short(tag: u64) -> u32 {
    u32::try_from(tag >> 32 ^ tag & u64::from(u32::MAX)).unwrap_or(0)
}

fn seconds(at: Monotonic) -> u32 {
    u32::try_from(at.as_ms() / 1_000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_boot(Duration::from_secs(seconds))
    }

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_full_memory_of_good_ones_still_counts_them() {
        let mut company = GoodCompany::default();
        for tag in 0..1_000 {
            company.note(at(tag), tag);
        }
        assert_eq!(company.count(at(1_000), DAY), 8);
        company.forget(999);
        assert_eq!(company.count(at(1_000), DAY), 7);
        assert_eq!(company.count(at(1_000).after(DAY), DAY), 0);
    }

    #[test]
    fn it_is_news_once_an_hour() {
        let mut company = GoodCompany::default();
        let check = |company: &mut GoodCompany, second, tag, expected| {
            assert_eq!(company.note(at(second), tag), expected, "{second} {tag}");
        };
        check(&mut company, 0, 1, Sighting::News);
        check(&mut company, 10, 1, Sighting::Known);
        check(&mut company, 10, 2, Sighting::News);
        check(&mut company, 3_599, 1, Sighting::Known);
        check(&mut company, 3_601, 1, Sighting::News);
    }

    #[test]
    fn a_restart_remembers_them() {
        let mut company = GoodCompany::default();
        company.note(at(5_000), 1);
        company.note(at(9_000), 2);
        let offset = WallOffset::from_ms(1_700_000_000_000);
        let memo = company.memo(offset);
        let now = |seconds| Now {
            monotonic: at(seconds),
            wall: offset.wall_at(at(seconds)),
        };
        let check = |seconds, expected| {
            let recalled = GoodCompany::recalled(&memo, now(seconds));
            assert_eq!(recalled.count(at(seconds), DAY), expected, "{seconds}");
        };
        check(10_000, 2);
        check(93_000, 1);
        check(96_000, 0);
    }

    #[test]
    fn several_newcomers_are_a_crowd_for_a_minute() {
        let mut newcomers = Newcomers::default();
        for tag in 1..=3 {
            newcomers.note(at(100), tag);
        }
        newcomers.note(at(101), 3);
        assert_eq!(newcomers.count(at(101)), 0);
        newcomers.note(at(102), 4);
        assert_eq!(newcomers.count(at(102)), 1);
        assert_eq!(newcomers.count(at(161)), 0);
        newcomers.note(at(161), 5);
        newcomers.note(at(161), 6);
        assert_eq!(
            newcomers.count(at(161)),
            0,
            "the third is seen a minute ago"
        );
        newcomers.note(at(161), 7);
        assert_eq!(newcomers.count(at(161)), 1);
        newcomers.forget(6);
        assert_eq!(newcomers.count(at(161)), 0);
    }
}
