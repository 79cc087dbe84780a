//! What the engine answers: a score with every contribution to it, what the route's policy makes
//! of it, and what should be blocked for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::words::address::PeerAddress;
use crate::words::identity::ClientClass;
use crate::words::key::KeyState;
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
    /// The thresholds that applied.
    pub thresholds: RouteThresholds,
    /// The threshold that was reached, if any.
    pub threshold: Option<Points>,
    /// Why, in a sentence.
    pub reason: Reason,
    /// The limit that is closest to being used up, if the request is subject to any.
    pub limit: Option<LimitState>,
    /// A block that this request earned its source.
    pub ban: Option<BanProposal>,
    /// A refusal for some time that this request earned its pair of credential and address.
    pub pair_ban: Option<PairBan>,
    /// The state of the request's key, where it has one that is known.
    pub key_state: Option<KeyState>,
}

/// How a score was made: score = min(1, max(0, Σ over groups of min(cap, Σ contributions) − trust)).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Breakdown {
    /// The final score, at most 1.
    pub score: Points,
    /// Sum of the capped groups, before trust and the last cap.
    pub raw: Points,
    /// What speaks for the client, taken off the sum.
    pub trust: Vec<TrustCredit>,
    /// Groups with at least one signal, in the order of [`Group`].
    pub groups: Vec<GroupTotal>,
    /// Signals with a contribution, in the order of their groups.
    pub signals: Vec<SignalReading>,
}

/// Something that speaks for a client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrustCredit {
    /// Stable name: `fresh_authentication`, ….
    pub id: &'static str,
    /// What it takes off.
    pub credit: Points,
    /// What was seen.
    pub evidence: String,
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
    /// What it says it is, and is not.
    Client,
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
    /// Denied until the browser has solved a challenge: 403.
    Challenge,
    /// Denied until the user has proved again who they are: 401.
    StepUp,
    /// Denied: 403.
    Block,
}

impl Action {
    /// Stable name, a metric label: as it is serialised.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Log => "log",
            Self::Throttle => "throttle",
            Self::Challenge => "challenge",
            Self::StepUp => "step_up",
            Self::Block => "block",
        }
    }
}

/// How to answer a request that is not forwarded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Denial {
    /// 429 with `Retry-After` of this many whole seconds, at least 1.
    Throttle {
        /// When a request would pass again.
        retry_after: Duration,
        /// For what.
        cause: ThrottleCause,
    },
    /// 403: to a browser's page the challenge, to anybody else where to find it.
    Challenge,
    /// 401 with `insufficient_user_authentication` (RFC 9470 section 3).
    StepUp(StepUpDemand),
    /// 403.
    Block,
    /// 403: the key is suspended.
    Suspended,
    /// 503: it could not be recorded, and is to be recorded or refused. No decision of the
    /// engine's; whoever records says so.
    Unrecordable,
}

/// For what a request has to wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ThrottleCause {
    /// A declared limit is used up: [`Decision::limit`].
    Limit,
    /// The score is in the throttle band.
    Score,
}

/// What a step-up asks for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StepUpDemand {
    /// The user must have proved who they are no longer ago than this.
    pub max_age: Duration,
    /// Authentication context classes that will do, in the operator's order; empty is any.
    pub acr_values: Vec<Arc<str>>,
    /// Where a person can do so, for applications with cookies.
    pub url: Option<Arc<str>>,
}

/// How much of a limit is left, after the request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LimitState {
    /// The limit's name, of letters, digits, `_` and `-`: `key`, `address`, `route`, ….
    pub name: Arc<str>,
    /// Of what.
    pub unit: LimitUnit,
    /// How much there is in a window: the burst and what comes in meanwhile.
    pub quota: u64,
    /// The window.
    pub window: Duration,
    /// How much is left now.
    pub remaining: u64,
    /// Time until there is more.
    pub reset: Duration,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitUnit {
    /// Requests, or what they cost.
    Requests,
    /// Bytes of responses.
    Bytes,
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
    /// The score reached the challenge threshold, and the client has solved one.
    Cleared,
    /// The score reached the step-up threshold, and the user has just proved who they are.
    FreshlyAuthenticated,
    /// A declared limit is used up.
    LimitReached {
        /// Its name.
        limit: Arc<str>,
    },
    /// The key is suspended.
    KeySuspended {
        /// By whom: `the operator` or `its reputation`.
        by: &'static str,
    },
    /// The key is held to a part of its rate.
    KeyThrottled,
    /// The operator has pinned the key.
    KeyPinned,
    /// It is the crawler that it claims to be.
    VerifiedCrawler {
        /// Which.
        name: Arc<str>,
    },
    /// The operator's allow list has the address.
    OperatorAllow,
    /// A live block covers the address.
    Banned {
        /// The most specific live block.
        rule: Arc<str>,
    },
    /// The pair of credential and address is refused for some time.
    PairBanned,
    /// The effective mode is off.
    Off,
}

/// A sentence, as records have it.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BelowThresholds => "below every threshold",
            Self::ScoreReached(Threshold::Throttle) => {
                "score reached the throttle threshold and the rate is used up"
            }
            Self::ScoreReached(Threshold::Challenge) => "score reached the challenge threshold",
            Self::ScoreReached(Threshold::StepUp) => "score reached the step-up threshold",
            Self::ScoreReached(Threshold::Block) => "score reached the block threshold",
            Self::WithinThrottleRate => {
                "score reached the throttle threshold, within the allowed rate"
            }
            Self::Cleared => "score reached the challenge threshold, and a challenge was solved",
            Self::FreshlyAuthenticated => {
                "score reached the step-up threshold, and the user has just authenticated"
            }
            Self::LimitReached { limit } => {
                return write!(f, "the limit `{limit}` is used up");
            }
            Self::KeySuspended { by } => return write!(f, "the key is suspended by {by}"),
            Self::KeyThrottled => "the key is held to a part of its rate for its reputation",
            Self::KeyPinned => "the operator has pinned the key",
            Self::VerifiedCrawler { name } => return write!(f, "verified crawler {name}"),
            Self::OperatorAllow => "on the operator's allow list",
            Self::Banned { rule } => return write!(f, "blocked by {rule}"),
            Self::PairBanned => "the credential is refused from this address for some time",
            Self::Off => "mode is off",
        })
    }
}

/// The thresholds of a policy, from mild to severe.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Threshold {
    /// `throttle`.
    Throttle,
    /// `challenge`.
    Challenge,
    /// `step_up`.
    StepUp,
    /// `block`.
    Block,
}

/// The thresholds of one route, rising.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RouteThresholds {
    /// From here on within a rate.
    pub throttle: Points,
    /// From here on after a challenge; `None` is never.
    #[serde(default)]
    pub challenge: Option<Points>,
    /// From here on after fresh authentication; `None` is never.
    #[serde(default)]
    pub step_up: Option<Points>,
    /// From here on not at all.
    pub block: Points,
}

/// A block that a source earned: narrow, with an end, and only for an address that is the TCP
/// peer's own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BanProposal {
    /// Whose request earned it.
    pub target: PeerAddress,
    /// What is blocked: the address, or the network around it where several addresses of it earned
    /// bans. Holds `target`; never wider than the policy's `widest`.
    pub network: IpNet,
    /// For how long; never longer than the policy's `ttl_max`.
    pub ttl: Duration,
    /// Why, in a sentence, for the list and the record.
    pub reason: String,
}

/// A refusal of one credential from one address, narrower than any block of packets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PairBan {
    /// For how long; never longer than the policy's `ttl_max`.
    pub ttl: Duration,
    /// Why, in a sentence, with what kept the address out of it.
    pub reason: String,
}
