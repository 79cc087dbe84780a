//! From a score to what happens.
//!
//! The order is fixed: operator allow, then bans, then the score. First the *wish*, what would
//! happen if the mode were enforce; then its *course*, in which only [`carry_out`] can produce a
//! [`Denial`]: [`watch`], the way of log and off, returns a type that has no place for one.

use std::sync::Arc;
use std::time::Duration;

use super::decision::{Action, Denial, Reason, Threshold, ThrottleCause};
use super::facts::Standing;
use super::policy::thresholds::Thresholds;
use super::throttle::Passage;
use crate::words::mode::Mode;
use crate::words::points::Points;

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
    },
    /// Deny for the score.
    Block,
    /// Deny for a ban that was earned earlier.
    Ban,
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
    },
    /// For its score: the only kind that counts towards a ban.
    Blocked,
    /// For a ban, which needs no second one.
    Banned,
}

/// Forwarded or denied.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Course {
    Forward(Forward),
    Deny(Denied, Reason),
}

impl Wish {
    /// `passage` is what the principal's bucket said to the request; it counts where the score is
    /// in the throttle band.
    pub(crate) fn new(
        standing: &Standing,
        score: Points,
        thresholds: &Thresholds,
        passage: Passage,
    ) -> Self {
        let reached = thresholds.reached(score);
        let threshold = reached.map(|reached| thresholds.value(reached));
        let (kind, reason) = match (standing, reached) {
            (Standing::Allowed, _) => (WishKind::Pass, Reason::OperatorAllow),
            (Standing::Blocked { rule }, _) => (
                WishKind::Ban,
                Reason::Banned {
                    rule: Arc::clone(rule),
                },
            ),
            (Standing::Unlisted, None) => (WishKind::Pass, Reason::BelowThresholds),
            (Standing::Unlisted, Some(Threshold::Block)) => {
                (WishKind::Block, Reason::ScoreReached(Threshold::Block))
            }
            (Standing::Unlisted, Some(_milder)) => match passage {
                Passage::Pass => (WishKind::Pass, Reason::WithinThrottleRate),
                Passage::Wait { retry_after } => (
                    WishKind::Throttle { retry_after },
                    Reason::ScoreReached(Threshold::Throttle),
                ),
            },
        };
        Self {
            kind,
            reason,
            threshold,
        }
    }

    /// For a request without a score.
    pub(crate) fn of_standing(standing: &Standing) -> Self {
        let (kind, reason) = match standing {
            Standing::Allowed => (WishKind::Pass, Reason::OperatorAllow),
            Standing::Unlisted => (WishKind::Pass, Reason::BelowThresholds),
            Standing::Blocked { rule } => (
                WishKind::Ban,
                Reason::Banned {
                    rule: Arc::clone(rule),
                },
            ),
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
            WishKind::Block | WishKind::Ban => Action::Block,
        }
    }

    /// What happens under the global mode and the route's effective one.
    ///
    /// A ban was earned where decisions are carried out, so it binds every route; only the global
    /// mode suspends it.
    pub(crate) fn course(&self, global: Mode, effective: Mode) -> Course {
        let binding = match self.kind {
            WishKind::Ban => global,
            WishKind::Pass | WishKind::Throttle { .. } | WishKind::Block => effective,
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
            Self::Blocked | Self::Banned => Action::Block,
        }
    }

    pub(crate) const fn denial(self) -> Denial {
        match self {
            Self::Throttled { retry_after } => Denial::Throttle {
                retry_after,
                cause: ThrottleCause::Score,
            },
            Self::Blocked | Self::Banned => Denial::Block,
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
        WishKind::Throttle { retry_after } => Denied::Throttled { retry_after },
        WishKind::Block => Denied::Blocked,
        WishKind::Ban => Denied::Banned,
    };
    Course::Deny(denied, wish.reason.clone())
}
