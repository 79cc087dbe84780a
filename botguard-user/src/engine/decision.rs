//! What the engine answers: a score with every contribution to it, what the route's policy makes
//! of it, and what should be blocked for it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::words::address::PeerAddress;
use crate::words::identity::ClientClass;
use crate::words::mode::Mode;
use crate::words::points::Points;

/// A decision on one request, with its evidence. Nothing in it is computed again by others.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The score and how it came about.
    pub score: Breakdown,
    /// What happens to the request.
    pub action: Action,
    /// What would happen if the mode were enforce.
    pub would: Action,
    /// How to answer a denied request; `None` exactly when the request is forwarded.
    pub denial: Option<Denial>,
    /// Effective mode of the route.
    pub mode: Mode,
    /// The route's template, or `default`.
    pub route: Arc<str>,
    /// The class of client that tier or route expects.
    pub class: ClientClass,
    /// The route's thresholds.
    pub thresholds: BothThresholds,
    /// The threshold that was reached, if any.
    pub threshold: Option<Points>,
    /// Why, in a sentence.
    pub reason: Reason,
    /// A block that this request earned its source.
    pub ban: Option<BanProposal>,
}

/// How a score was made: score = min(1, Σ over groups of min(cap, Σ contributions)).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Breakdown {
    /// The final score, at most 1.
    pub score: Points,
    /// Sum of the capped groups, before the last cap.
    pub raw: Points,
    /// Groups with at least one signal, in the order of [`Group`].
    pub groups: Vec<GroupTotal>,
    /// Signals with a contribution, in the order of their groups.
    pub signals: Vec<SignalReading>,
}

/// One group of the breakdown.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct GroupTotal {
    /// Which.
    pub group: Group,
    /// Sum of its signals' contributions.
    pub sum: Points,
    /// The same, at most the group's cap; this is what counts.
    pub total: Points,
}

/// Correlated evidence shares a group, and a group has a cap, so that it is not counted twice.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// What the key is.
    Key,
    /// What is asked for, over time.
    Pattern,
    /// How it is asked.
    Behaviour,
    /// Where from.
    Network,
}

/// One signal's contribution: weight × confidence.
#[derive(Clone, Debug, PartialEq)]
pub struct SignalReading {
    /// Stable name, a metric label: `paging`, `no_interaction`, ….
    pub id: &'static str,
    /// The group it counts in.
    pub group: Group,
    /// Weight at full confidence.
    pub weight: Points,
    /// From 0 to 1.
    pub confidence: Points,
    /// The measured value behind it, in the signal's own unit.
    pub value: f64,
    /// What was seen, for people.
    pub evidence: String,
}

impl SignalReading {
    /// Weight × confidence.
    #[must_use]
    pub fn contribution(&self) -> Points {
        self.weight.scaled_by(self.confidence)
    }
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Forwarded.
    Allow,
    /// Forwarded, though a threshold was reached: the mode is log.
    Log,
    /// Denied for now: 429.
    Throttle,
    /// Denied: 403.
    Block,
}

/// How to answer a request that is not forwarded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Denial {
    /// 429 with `Retry-After` of this many whole seconds, at least 1.
    Throttle {
        /// When a request would pass again.
        retry_after: Duration,
    },
    /// 403.
    Block,
}

/// Why a decision came out as it did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reason {
    /// No threshold was reached.
    BelowThresholds,
    /// The score reached the named threshold.
    ScoreReached(Threshold),
    /// The score is in the throttle band, within the allowed rate.
    WithinThrottleRate,
    /// The operator's allow list has the address.
    OperatorAllow,
    /// A live block covers the address.
    Banned {
        /// The most specific live block.
        rule: Arc<str>,
    },
    /// The effective mode is off.
    Off,
}

/// The thresholds of a policy, from mild to severe.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Threshold {
    /// `throttle`.
    Throttle,
    /// `block`.
    Block,
}

/// The thresholds of one route. `throttle` is at most `block`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct BothThresholds {
    /// From here on within a rate.
    pub throttle: Points,
    /// From here on not at all.
    pub block: Points,
}

/// A block that a source earned: narrow, with an end, and only for an address that is the TCP
/// peer's own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BanProposal {
    /// Whom.
    pub target: PeerAddress,
    /// For how long; never longer than the policy's `ttl_max`.
    pub ttl: Duration,
    /// Why, in a sentence, for the list and the record.
    pub reason: String,
}
