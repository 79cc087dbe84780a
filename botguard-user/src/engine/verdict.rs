//! From everything that speaks for and against a request to what happens.
//!
//! The order is fixed (DESIGN §6): operator allow, partner pins, verified crawlers, bans, limits,
//! score. First the *wish*, what would happen if the mode were enforce; then its *course*, in which
//! only [`carry_out`] can produce a [`Denial`]: [`watch`], the way of log and off, returns a type
//! that has no place for one.
//!
//! Of a limit that is used up and a score at the block threshold, the score decides: it is the
//! severer, and a source that is blocked goes on to a ban while one that waits does not.

use std::sync::Arc;
use std::time::Duration;

use super::decision::{
    Action, Denial, Reason, RouteThresholds, StepUpDemand, Threshold, ThrottleCause,
};
use super::facts::Standing;
use super::limits::LimitVerdict;
use super::throttle::Passage;
use crate::words::identity::Crawler;
use crate::words::key::{KeyStanding, KeyState};
use crate::words::mode::Mode;
use crate::words::points::Points;

/// What is known of a request when it is decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case<'a> {
    pub(crate) standing: &'a Standing,
    /// What the operator's word makes of its key.
    pub(crate) key: KeyStanding,
    /// What the key earned.
    pub(crate) key_state: KeyState,
    pub(crate) crawler: &'a Crawler,
    /// Whether its pair of credential and address is refused for some time.
    pub(crate) pair: Held,
    pub(crate) limits: &'a LimitVerdict,
    pub(crate) score: Points,
    pub(crate) thresholds: &'a RouteThresholds,
    /// What the principal's bucket said; it counts where the score is in a band above throttle.
    pub(crate) passage: Passage,
    pub(crate) challenge: Remedy,
    pub(crate) step_up: Remedy,
}

/// Whether a pair is refused for some time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Held {
    No,
    Yes,
}

/// Whether a client can do something about its score.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Remedy {
    /// Not this client, or not here: it is held to its rate.
    Impossible,
    /// It could, and has not.
    Open,
    /// It has.
    Done,
}

/// What would happen if the mode were enforce.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Wish {
    pub(crate) kind: WishKind,
    pub(crate) reason: Reason,
    pub(crate) threshold: Option<Points>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum WishKind {
    Pass,
    Throttle {
        retry_after: Duration,
        cause: ThrottleCause,
    },
    Challenge,
    StepUp,
    /// Deny for the score.
    Block,
    /// Deny for a ban of the pair that was earned earlier.
    PairBan,
    /// Deny for a ban that was earned earlier.
    Ban,
    /// Deny for the key's suspension.
    Suspend,
}

/// A request that is forwarded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Forward {
    pub(crate) action: Forwarding,
    pub(crate) reason: Reason,
}

/// The actions that forward.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Forwarding {
    Allow,
    Log,
}

/// A request that is denied, and for what.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Denied {
    Throttled {
        retry_after: Duration,
        cause: ThrottleCause,
    },
    Challenged,
    SteppedUp,
    /// For its score: counts towards a ban of the pair and of the address.
    Blocked,
    /// For a ban of its pair: counts towards one of the address.
    PairBanned,
    /// For a ban, which needs no second one.
    Banned,
    Suspended,
}

/// Forwarded or denied.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Course {
    Forward(Forward),
    Deny(Denied, Reason),
}

impl Wish {
    pub(crate) fn new(case: &Case<'_>) -> Self {
        let reached = case.thresholds.reached(case.score);
        let (kind, reason) = privileged(case)
            .or_else(|| banned(case.standing, case))
            .unwrap_or_else(|| judged(case, reached));
        Self {
            kind,
            reason,
            threshold: reached.and_then(|reached| case.thresholds.value(reached)),
        }
    }

    /// For a request without a score.
    pub(crate) fn of_standing(standing: &Standing) -> Self {
        let (kind, reason) = match standing {
            Standing::Allowed => (WishKind::Pass, Reason::OperatorAllow),
            Standing::Unlisted => (WishKind::Pass, Reason::BelowThresholds),
            Standing::Blocked { rule } => ban(rule),
        };
        Self {
            kind,
            reason,
            threshold: None,
        }
    }

    /// The action, if the mode were enforce.
    pub(crate) const fn action(&self) -> Action {
        match self.kind {
            WishKind::Pass => Action::Allow,
            WishKind::Throttle { .. } => Action::Throttle,
            WishKind::Challenge => Action::Challenge,
            WishKind::StepUp => Action::StepUp,
            WishKind::Block | WishKind::PairBan | WishKind::Ban | WishKind::Suspend => {
                Action::Block
            }
        }
    }

    /// What happens under the global mode and the effective one.
    ///
    /// A ban or suspension was earned where decisions are carried out, or is the operator's own
    /// word, so it binds every route; only the global mode suspends it.
    pub(crate) fn course(&self, global: Mode, effective: Mode) -> Course {
        let binding = match self.kind {
            WishKind::Ban | WishKind::PairBan | WishKind::Suspend => global,
            WishKind::Pass
            | WishKind::Throttle { .. }
            | WishKind::Challenge
            | WishKind::StepUp
            | WishKind::Block => effective,
        };
        match binding {
            Mode::Enforce => carry_out(self),
            Mode::Log => Course::Forward(watch(self)),
            Mode::Off => Course::Forward(Forward {
                action: Forwarding::Allow,
                reason: Reason::Off,
            }),
        }
    }
}

/// Those whom no score and no ban denies.
fn privileged(case: &Case<'_>) -> Option<(WishKind, Reason)> {
    let reason = match (case.standing, case.key, case.crawler) {
        (Standing::Allowed, _, _) => return Some((WishKind::Pass, Reason::OperatorAllow)),
        (_, KeyStanding::Pinned, _) => Reason::KeyPinned,
        (_, KeyStanding::Earned, Crawler::Verified { name }) => Reason::VerifiedCrawler {
            name: Arc::clone(name),
        },
        _ => return None,
    };
    Some(limited(case).unwrap_or((WishKind::Pass, reason)))
}

fn banned(standing: &Standing, case: &Case<'_>) -> Option<(WishKind, Reason)> {
    let suspended = |by| Some((WishKind::Suspend, Reason::KeySuspended { by }));
    match (standing, case.key, case.key_state) {
        (Standing::Blocked { rule }, _, _) => Some(ban(rule)),
        (_, KeyStanding::Suspended, _) => suspended("the operator"),
        (_, _, KeyState::Suspended) => suspended("its reputation"),
        _ if case.pair == Held::Yes => Some((WishKind::PairBan, Reason::PairBanned)),
        _ => None,
    }
}

fn ban(rule: &Arc<str>) -> (WishKind, Reason) {
    let rule = Arc::clone(rule);
    (WishKind::Ban, Reason::Banned { rule })
}

fn limited(case: &Case<'_>) -> Option<(WishKind, Reason)> {
    let retry_after = case.limits.wait?;
    let kind = WishKind::Throttle {
        retry_after,
        cause: ThrottleCause::Limit,
    };
    let reason = match (&case.limits.tightest, case.key_state) {
        (_, KeyState::Throttled) | (None, _) => Reason::KeyThrottled,
        (Some(limit), _) => Reason::LimitReached {
            limit: Arc::clone(&limit.name),
        },
    };
    Some((kind, reason))
}

fn judged(case: &Case<'_>, reached: Option<Threshold>) -> (WishKind, Reason) {
    if reached == Some(Threshold::Block) {
        return (WishKind::Block, Reason::ScoreReached(Threshold::Block));
    }
    if let Some(limited) = limited(case) {
        return limited;
    }
    match reached {
        None | Some(Threshold::Block) => (WishKind::Pass, Reason::BelowThresholds),
        Some(Threshold::Throttle) => held_to_rate(case, Reason::WithinThrottleRate),
        Some(Threshold::StepUp) => match case.step_up {
            Remedy::Open => (WishKind::StepUp, Reason::ScoreReached(Threshold::StepUp)),
            Remedy::Done => held_to_rate(case, Reason::FreshlyAuthenticated),
            // Nothing less will do where that is impossible, if it is possible.
            Remedy::Impossible => challenged(case),
        },
        Some(Threshold::Challenge) => match case.step_up {
            Remedy::Done => held_to_rate(case, Reason::FreshlyAuthenticated),
            Remedy::Open | Remedy::Impossible => challenged(case),
        },
    }
}

fn challenged(case: &Case<'_>) -> (WishKind, Reason) {
    match case.challenge {
        Remedy::Open => (
            WishKind::Challenge,
            Reason::ScoreReached(Threshold::Challenge),
        ),
        Remedy::Done => held_to_rate(case, Reason::Cleared),
        Remedy::Impossible => held_to_rate(case, Reason::WithinThrottleRate),
    }
}

fn held_to_rate(case: &Case<'_>, within: Reason) -> (WishKind, Reason) {
    match case.passage {
        Passage::Pass => (WishKind::Pass, within),
        Passage::Wait { retry_after } => (
            WishKind::Throttle {
                retry_after,
                cause: ThrottleCause::Score,
            },
            Reason::ScoreReached(Threshold::Throttle),
        ),
    }
}

impl Forwarding {
    pub(crate) const fn action(self) -> Action {
        match self {
            Self::Allow => Action::Allow,
            Self::Log => Action::Log,
        }
    }
}

impl Denied {
    pub(crate) const fn action(self) -> Action {
        match self {
            Self::Throttled { .. } => Action::Throttle,
            Self::Challenged => Action::Challenge,
            Self::SteppedUp => Action::StepUp,
            Self::Blocked | Self::PairBanned | Self::Banned | Self::Suspended => Action::Block,
        }
    }

    pub(crate) fn denial(self, step_up: &StepUpDemand) -> Denial {
        match self {
            Self::Throttled { retry_after, cause } => Denial::Throttle { retry_after, cause },
            Self::Challenged => Denial::Challenge,
            Self::SteppedUp => Denial::StepUp(step_up.clone()),
            Self::Blocked | Self::PairBanned | Self::Banned => Denial::Block,
            Self::Suspended => Denial::Suspended,
        }
    }
}

fn watch(wish: &Wish) -> Forward {
    let noteworthy = match (&wish.reason, wish.kind) {
        (Reason::OperatorAllow, _) => false,
        (_, WishKind::Pass) => wish.threshold.is_some(),
        _ => true,
    };
    Forward {
        action: if noteworthy {
            Forwarding::Log
        } else {
            Forwarding::Allow
        },
        reason: wish.reason.clone(),
    }
}

fn carry_out(wish: &Wish) -> Course {
    let denied = match wish.kind {
        WishKind::Pass => {
            return Course::Forward(Forward {
                action: Forwarding::Allow,
                reason: wish.reason.clone(),
            });
        }
        WishKind::Throttle { retry_after, cause } => Denied::Throttled { retry_after, cause },
        WishKind::Challenge => Denied::Challenged,
        WishKind::StepUp => Denied::SteppedUp,
        WishKind::Block => Denied::Blocked,
        WishKind::PairBan => Denied::PairBanned,
        WishKind::Ban => Denied::Banned,
        WishKind::Suspend => Denied::Suspended,
    };
    Course::Deny(denied, wish.reason.clone())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Everything that can be said of a request, in the order of `docs/decisions.md`.
    #[derive(Clone, Copy, Debug)]
    struct Says {
        allowed: bool,
        pinned: bool,
        crawler: bool,
        banned: bool,
        suspended: bool,
        held: bool,
        limited: bool,
        /// In 1/10,000.
        score: u32,
        can_step_up: Remedy,
        can_be_challenged: Remedy,
    }

    const THRESHOLDS: RouteThresholds = RouteThresholds {
        throttle: Points::from_basis(5_000),
        challenge: Some(Points::from_basis(6_000)),
        step_up: Some(Points::from_basis(7_000)),
        block: Points::from_basis(9_000),
    };

    fn wish(says: Says) -> Wish {
        let wait = says.limited.then_some(Duration::from_secs(1));
        Wish::new(&Case {
            standing: &match (says.allowed, says.banned) {
                (true, _) => Standing::Allowed,
                (false, true) => Standing::Blocked { rule: "x".into() },
                (false, false) => Standing::Unlisted,
            },
            key: match says.pinned {
                true => KeyStanding::Pinned,
                false => KeyStanding::Earned,
            },
            key_state: match says.suspended {
                true => KeyState::Suspended,
                false => KeyState::Ok,
            },
            crawler: &match says.crawler {
                true => Crawler::Verified { name: "x".into() },
                false => Crawler::No,
            },
            pair: if says.held { Held::Yes } else { Held::No },
            limits: &LimitVerdict {
                tightest: None,
                wait,
            },
            score: Points::from_basis(says.score),
            thresholds: &THRESHOLDS,
            passage: Passage::Pass,
            challenge: says.can_be_challenged,
            step_up: says.can_step_up,
        })
    }

    fn remedies() -> impl Strategy<Value = Remedy> {
        prop::sample::select(&[Remedy::Impossible, Remedy::Open, Remedy::Done][..])
    }

    prop_compose! {
        fn says()(
            flags in prop::array::uniform7(prop::bool::weighted(0.3)), score in 0u32..=10_000,
            can_step_up in remedies(), can_be_challenged in remedies(),
        ) -> Says {
            let [allowed, pinned, crawler, banned, suspended, held, limited] = flags;
            Says {
                allowed, pinned, crawler, banned, suspended, held, limited, score,
                can_step_up, can_be_challenged,
            }
        }
    }

    /// The table of the documentation, row by row.
    fn expected(says: Says) -> Action {
        let throttled = || {
            if says.limited {
                Action::Throttle
            } else {
                Action::Allow
            }
        };
        if says.allowed {
            return Action::Allow;
        }
        if says.pinned || says.crawler {
            return throttled();
        }
        if says.banned || says.suspended || says.held || says.score >= 9_000 {
            return Action::Block;
        }
        if says.limited {
            return Action::Throttle;
        }
        let challenge = says.can_be_challenged == Remedy::Open;
        match (says.score, says.can_step_up) {
            (7_000.., Remedy::Open) => Action::StepUp,
            (6_000.., Remedy::Done) => Action::Allow,
            (6_000.., _) if challenge => Action::Challenge,
            _ => Action::Allow,
        }
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_the_documentation(says in says()) {
            prop_assert_eq!(wish(says).action(), expected(says));
        }

        /// Log and off have no place for a denial; enforce denies exactly what it wishes.
        #[test]
        fn only_enforce_denies(says in says(), global in 0u8..3, effective in 0u8..3) {
            let mode = |number| match number {
                0 => Mode::Off,
                1 => Mode::Log,
                _ => Mode::Enforce,
            };
            let (global, wish) = (mode(global), wish(says));
            let effective = mode(effective).min(global);
            let is_denied = matches!(wish.course(global, effective), Course::Deny(..));
            let is_earned = says.banned || says.suspended || says.held;
            prop_assert!(!is_denied || effective == Mode::Enforce || is_earned);
            prop_assert!(!is_denied || global == Mode::Enforce);
            prop_assert!(global != Mode::Enforce || effective != Mode::Enforce
                || is_denied == (wish.action() != Action::Allow));
        }

        #[test]
        fn a_higher_score_is_never_answered_more_mildly(says in says(), more in 0u32..5_000) {
            let severity = |action| match action {
                Action::Allow | Action::Log => 0,
                Action::Throttle => 1,
                Action::Challenge => 2,
                Action::StepUp => 3,
                Action::Block => 4,
            };
            let worse = Says { score: (says.score + more).min(10_000), ..says };
            // Whoever has authenticated or solved is excused from what that remedies.
            if says.can_step_up == Remedy::Done {
                return Ok(());
            }
            prop_assert!(severity(wish(says).action()) <= severity(wish(worse).action()));
        }
    }
}
