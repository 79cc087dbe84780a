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
                seen: instant(now, *seen),
            });
        }
        company
    }
}

const NEWS_MS: u64 = 3_600_000;

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
}
