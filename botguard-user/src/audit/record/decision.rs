//! What was decided on a request, what speaks for it, and what it earned.

use serde::{Deserialize, Serialize};

use crate::engine::decision::{
    Action, BanProposal, Decision, LimitState, LimitUnit, PairBan, RouteThresholds, TrustCredit,
};
use crate::engine::facts::RequestFacts;
use crate::words::address::host_network;
use crate::words::block::Origin;
use crate::words::key::KeyState;
use crate::words::mode::Mode;
use crate::words::points::Points;

/// Something that speaks for the client.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct TrustRecord {
    /// Stable name.
    pub id: String,
    /// What it takes off the sum.
    pub credit: Points,
    /// What was seen.
    pub evidence: String,
}

/// How much of a limit was left after the request.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LimitRecord {
    /// The limit's name.
    pub name: String,
    /// What it counts.
    pub unit: LimitUnit,
    /// How much there is in a window.
    pub quota: u64,
    /// The window, in seconds.
    pub window_s: f64,
    /// How much was left.
    pub remaining: u64,
    /// Seconds until there is more.
    pub reset_s: f64,
}

/// What was decided.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DecisionRecord {
    /// What happened.
    pub action: Action,
    /// What would have happened if the mode were enforce.
    pub would: Action,
    /// Effective mode.
    pub mode: Mode,
    /// Template of the route.
    pub route: String,
    /// The threshold that was reached.
    pub threshold: Option<Points>,
    /// All thresholds of the route, for `explain`.
    pub thresholds: RouteThresholds,
    /// Why, in a sentence.
    pub reason: String,
    /// The limit that was closest to being used up, if the request was subject to any.
    #[serde(default)]
    pub limit: Option<LimitRecord>,
    /// State of the key.
    #[serde(default)]
    pub key_state: Option<KeyState>,
    /// Refused, whatever was decided, since it could not be recorded (`[audit] strict`).
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub unrecordable: bool,
}

/// A ban that this request earned.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct EnforcementRecord {
    /// Whom: a network, or a credential and an address.
    pub target: String,
    /// How wide that is.
    #[serde(default)]
    pub scope: BanScope,
    /// For how long, in seconds.
    pub ttl_s: u64,
    /// The rule's origin.
    pub rule: String,
    /// Whether it was on disk when this was written; never yet, the store commits within 100 ms.
    pub durable: bool,
}

/// How wide a ban is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BanScope {
    /// One credential from one address, refused at the edge.
    Pair,
    /// All from one address, dropped in the kernel.
    #[default]
    Address,
    /// All from a network.
    Network,
}

impl BanScope {
    /// As it is serialised.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pair => "pair",
            Self::Address => "address",
            Self::Network => "network",
        }
    }
}

impl DecisionRecord {
    /// Of this decision.
    #[must_use]
    pub fn of(decision: &Decision) -> Self {
        Self {
            action: decision.action,
            would: decision.would,
            mode: decision.mode,
            route: decision.route.to_string(),
            threshold: decision.threshold,
            thresholds: decision.thresholds,
            reason: decision.reason.to_string(),
            limit: decision.limit.as_ref().map(Into::into),
            key_state: decision.key_state,
            unrecordable: false,
        }
    }
}

impl EnforcementRecord {
    /// Of a block of packets.
    #[must_use]
    pub fn of_ban(ban: &BanProposal) -> Self {
        Self {
            target: ban.network.to_string(),
            scope: if ban.network == host_network(ban.target.ip()) {
                BanScope::Address
            } else {
                BanScope::Network
            },
            ttl_s: ban.ttl.as_secs(),
            rule: Origin::Automatic.name().to_owned(),
            durable: false,
        }
    }

    /// Of a refusal of these facts' credential.
    #[must_use]
    pub fn of_pair(ban: &PairBan, facts: &RequestFacts) -> Self {
        let credential = match (&facts.key, &facts.session, &facts.user) {
            (Some(key), _, _) => format!("key {}", key.public_id),
            (None, Some(session), _) => format!("session #{:016x}", session.hash.0 >> 64),
            (None, None, Some(user)) => format!("user #{:016x}", user.hash.0 >> 64),
            (None, None, None) => "its requests".to_owned(),
        };
        Self {
            target: format!("{credential} from {}", facts.client.ip()),
            scope: BanScope::Pair,
            ttl_s: ban.ttl.as_secs(),
            rule: Origin::Automatic.name().to_owned(),
            durable: false,
        }
    }
}

impl From<&LimitState> for LimitRecord {
    fn from(limit: &LimitState) -> Self {
        Self {
            name: limit.name.to_string(),
            unit: limit.unit,
            quota: limit.quota,
            window_s: limit.window.as_secs_f64(),
            remaining: limit.remaining,
            reset_s: limit.reset.as_secs_f64(),
        }
    }
}

impl From<&TrustCredit> for TrustRecord {
    fn from(trust: &TrustCredit) -> Self {
        Self {
            id: trust.id.to_owned(),
            credit: trust.credit,
            evidence: trust.evidence.clone(),
        }
    }
}
