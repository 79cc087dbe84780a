//! One key's reputation and state.

use std::sync::Arc;
use std::time::Duration;

use super::decay::Suspicion;
use crate::engine::ban_history::instant;
use crate::engine::good_company::GoodCompany;
use crate::engine::policy::reputation::{ReputationSettings, Suspension};
use crate::words::clock::{Monotonic, Now, WallOffset};
use crate::words::identity::KeyHash;
use crate::words::key::{KeyMemo, KeyState, KeyTransition, SPANS};
use crate::words::points::Points;

/// How long a good client speaks for a key.
pub(super) const GOOD_WINDOW: Duration = Duration::from_secs(86_400);

/// How long a state lasts at least.
const DWELL: Duration = Duration::from_secs(600);

/// What is known of one key.
#[derive(Clone, Debug, Default)]
pub(super) struct Key {
    pub(super) name: Option<Name>,
    pub(super) spans: [Suspicion; SPANS.len()],
    pub(super) state: KeyState,
    pub(super) since: Monotonic,
    /// The hour, counted from boot, of the lowest bit of `bad_hours`; the next bit is the hour
    /// before it.
    hour: u64,
    pub(super) bad_hours: u32,
    pub(super) good: GoodCompany,
    pub(super) history: Vec<Change>,
    /// When it was handed out last, and whether it is about to be again.
    pub(super) kept: Option<Monotonic>,
    pub(super) is_queued: bool,
    pub(super) suspension: Option<Suspension>,
}

#[derive(Clone, Debug)]
pub(super) struct Name {
    pub(super) public_id: Arc<str>,
    pub(super) shown: Arc<str>,
    pub(super) tier: Option<Arc<str>>,
}

#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) at: Monotonic,
    pub(super) from: KeyState,
    pub(super) to: KeyState,
    pub(super) reputation: Option<Points>,
    pub(super) reason: String,
}

impl Key {
    /// The worst of the spans, the week by four fifths. Notes the hour if it was a bad one.
    pub(super) fn reputation(&mut self, now: Monotonic, settings: &ReputationSettings) -> Points {
        let [hour, day, week] =
            [0, 1, 2].map(|span: usize| self.spans[span].share(now, SPANS[span]));
        self.turn_hour(now);
        if hour >= settings.suspend {
            self.bad_hours |= 1;
        }
        hour.max(day).max(week.scaled_by(Points::from_basis(8_000)))
    }

    fn turn_hour(&mut self, now: Monotonic) {
        let hour = now.as_ms() / HOUR_MS;
        let gone = u32::try_from(hour.saturating_sub(self.hour)).unwrap_or(u32::MAX);
        self.bad_hours = self.bad_hours.checked_shl(gone).unwrap_or(0);
        self.hour = hour;
    }

    pub(super) fn n_bad_hours(&self, now: Monotonic) -> u32 {
        let gone = (now.as_ms() / HOUR_MS).saturating_sub(self.hour);
        let gone = u32::try_from(gone).unwrap_or(u32::MAX);
        let day = (1 << 24) - 1;
        (self.bad_hours.checked_shl(gone).unwrap_or(0) & day).count_ones()
    }

    /// The state to go to, if it is another.
    pub(super) fn next_state(
        &self,
        now: Monotonic,
        reputation: Points,
        settings: &ReputationSettings,
    ) -> Option<KeyState> {
        let most = if self.good.count(now, GOOD_WINDOW) > 0 {
            KeyState::Watch
        } else if self.suspension == Some(Suspension::Automatic) {
            KeyState::Suspended
        } else {
            KeyState::Throttled
        };
        let is_sustained = self.n_bad_hours(now) >= settings.suspend_after_hours;
        let earned = if reputation >= settings.suspend && is_sustained {
            KeyState::Suspended
        } else if reputation >= settings.throttle {
            KeyState::Throttled
        } else if reputation >= settings.watch {
            KeyState::Watch
        } else {
            KeyState::Ok
        };
        let to = earned.min(most);
        if to > self.state {
            return Some(to);
        }
        let kept_by = match self.state {
            KeyState::Ok => Points::ZERO,
            KeyState::Watch => settings.watch,
            KeyState::Throttled => settings.throttle,
            KeyState::Suspended => settings.suspend,
        };
        let is_well_below =
            reputation + settings.margin < kept_by && now.since(self.since) >= DWELL;
        // A good client need not wait.
        (to < self.state && (is_well_below || most < self.state)).then_some(to)
    }

    pub(super) fn memo(&self, id: [u8; 16], now: Monotonic, offset: WallOffset) -> Option<KeyMemo> {
        let name = self.name.as_ref()?;
        let bad = (0..24u32).filter(|age| self.bad_hours & (1 << age) != 0);
        let bad = bad.filter_map(|age| self.hour.checked_sub(u64::from(age)));
        Some(KeyMemo {
            hash: KeyHash(u128::from_be_bytes(id)),
            public_id: name.public_id.to_string(),
            shown: name.shown.to_string(),
            tier: name.tier.as_ref().map(ToString::to_string),
            state: self.state,
            since: offset.wall_at(self.since),
            at: offset.wall_at(now),
            spans: [0, 1, 2].map(|span: usize| self.spans[span].memo(now, SPANS[span])),
            bad_hours: bad.filter_map(|hour| wall_hour(hour, offset)).collect(),
            good: self.good.memo(offset),
            history: (self.history.iter())
                .map(|change| change.transition(offset))
                .collect(),
        })
    }

    pub(super) fn recalled(memo: &KeyMemo, now: Now) -> Self {
        // Later than now is by a clock that has learnt better since.
        let past = |at| instant(now, at).min(now.monotonic);
        let age = memo.at.until(now.wall);
        let ages = memo
            .bad_hours
            .iter()
            .filter_map(|hour| age_in_hours(*hour, now));
        Self {
            name: Some(Name {
                public_id: memo.public_id.as_str().into(),
                shown: memo.shown.as_str().into(),
                tier: memo.tier.as_deref().map(Arc::from),
            }),
            spans: [0, 1, 2].map(|span: usize| {
                Suspicion::recalled(memo.spans[span], age, now.monotonic, SPANS[span])
            }),
            state: memo.state,
            since: past(memo.since),
            hour: now.monotonic.as_ms() / HOUR_MS,
            bad_hours: ages
                .filter(|age| *age < 24)
                .fold(0, |bits, age| bits | 1 << age),
            good: GoodCompany::recalled(&memo.good, now),
            history: (memo.history.iter())
                .skip(memo.history.len().saturating_sub(KeyMemo::MAX_HISTORY))
                .map(|it| Change {
                    at: past(it.at),
                    from: it.from,
                    to: it.to,
                    reputation: it.reputation,
                    reason: it.reason.clone(),
                })
                .collect(),
            kept: Some(past(memo.at)),
            // What its tier says comes with its next request; until then it stays as it was.
            suspension: (memo.state == KeyState::Suspended).then_some(Suspension::Automatic),
            ..Self::default()
        }
    }
}

impl Change {
    pub(super) fn transition(&self, offset: WallOffset) -> KeyTransition {
        KeyTransition {
            at: offset.wall_at(self.at),
            from: self.from,
            to: self.to,
            reputation: self.reputation,
            reason: self.reason.clone(),
        }
    }
}

const HOUR_MS: u64 = 3_600_000;

/// The hour of the wall clock that holds the middle of this hour since boot: one for each.
fn wall_hour(hour: u64, offset: WallOffset) -> Option<u32> {
    let middle = Duration::from_millis(hour * HOUR_MS + HOUR_MS / 2);
    let wall = offset.wall_at(Monotonic::from_boot(middle));
    u32::try_from(wall.as_unix_ms() / HOUR_MS).ok()
}

/// How many hours since boot ago the middle of this hour of the wall clock was; that may be before
/// boot.
fn age_in_hours(wall_hour: u32, now: Now) -> Option<u32> {
    let hour_ms = HOUR_MS.cast_signed();
    let middle = i64::from(wall_hour) * hour_ms + hour_ms / 2 - now.offset().as_ms();
    let hour_now = (now.monotonic.as_ms() / HOUR_MS).cast_signed();
    u32::try_from(hour_now - middle.div_euclid(hour_ms)).ok()
}

pub(super) const fn octets(hash: KeyHash) -> [u8; 16] {
    hash.0.to_be_bytes()
}
