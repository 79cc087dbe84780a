//! `botguard explain`: a decision taken apart, from its audit record alone. The numbers are the
//! record's own; nothing is measured again, and the sum shown is the sum that decided. `render`
//! is the text, `remedy` what to do about it.

mod remedy;
mod render;

use std::fmt::{self, Write as _};

use serde::Serialize;

use crate::audit::record::{
    LimitRecord, RequestRecord, StandingRecord, TrustRecord, UpstreamFailureRecord,
};
use crate::audit::search::Found;
use crate::engine::decision::{Action, Group, RouteThresholds};
use crate::words::key::{KeyRuling, KeyState};
use crate::words::mode::Mode;
use crate::words::points::Points;

/// A decision with everything that made it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// When the response ended, RFC 3339.
    pub ts: String,
    /// Which request.
    pub request_id: String,
    /// What it asked: method, host and path.
    pub request: String,
    /// Set where the upstream gave no response.
    pub upstream_failure: Option<UpstreamFailureRecord>,
    /// Who asked.
    pub client: String,
    /// The contributions, by group.
    pub groups: Vec<GroupLine>,
    /// Sum of the groups' totals.
    pub raw: Points,
    /// What speaks for the client, taken off.
    pub trust: Vec<TrustRecord>,
    /// What is left, at most 1.
    pub score: Points,
    /// Template of the route that decided.
    pub route: String,
    /// Effective mode.
    pub mode: Mode,
    /// The route's thresholds.
    pub thresholds: RouteThresholds,
    /// What happened.
    pub action: Action,
    /// What would have happened if the mode were enforce.
    pub would: Action,
    /// Why.
    pub reason: String,
    /// Status sent.
    pub status: Option<u16>,
    /// The limit that was closest to being used up.
    pub limit: Option<LimitRecord>,
    /// State of the key by its reputation.
    pub key_state: Option<KeyState>,
    /// What the operator decided about the key.
    pub ruling: Option<KeyRuling>,
    /// The ban it earned.
    pub enforcement: Option<String>,
    /// What each group, and each credit, changed.
    pub counterfactuals: Vec<Counterfactual>,
    /// Set where a list or a ban decided, and the score did not.
    pub decided_by_list: Option<String>,
    /// What would have let it through, or would do so now.
    pub would_change: Vec<String>,
    /// Commands that undo what holds on.
    pub undo: Vec<String>,
}

/// One group's part in the score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupLine {
    /// Which.
    pub group: Group,
    /// Sum of its signals.
    pub sum: Points,
    /// The most it can count for.
    pub cap: Points,
    /// What it counts for.
    pub total: Points,
    /// Its signals.
    pub signals: Vec<SignalLine>,
}

/// One signal's part in its group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SignalLine {
    /// Which.
    pub id: String,
    /// At full confidence.
    pub weight: Points,
    /// From 0 to 1.
    pub confidence: Points,
    /// Weight × confidence.
    pub contribution: Points,
    /// What was seen.
    pub evidence: String,
}

/// What the score would have been, and what it would have led to in mode enforce.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Counterfactual {
    /// Without this group or credit.
    pub without: String,
    /// The score.
    pub score: Points,
    /// The band it lies in. In the throttle band the allowed rate still passes, in that of
    /// challenge and step-up whoever has passed it.
    pub band: Action,
}

impl Explanation {
    /// Takes a record apart.
    #[must_use]
    pub fn of(found: &Found) -> Self {
        let request = &found.request;
        let thresholds = request.decision.thresholds;
        Self {
            ts: found.record.ts.0.to_string(),
            request_id: request.request_id.clone(),
            request: format!(
                "{} {}{}",
                request.http.method, request.http.host, request.http.path
            ),
            client: client(request),
            groups: groups(request),
            raw: request.raw,
            trust: request.trust.clone(),
            score: request.score,
            route: request.decision.route.clone(),
            mode: request.decision.mode,
            thresholds,
            action: request.decision.action,
            would: request.decision.would,
            reason: request.decision.reason.clone(),
            status: request.http.status,
            upstream_failure: request.upstream_failure.clone(),
            enforcement: request.enforcement.as_ref().map(|ban| {
                let durable = if ban.durable { "" } else { ", not on disk yet" };
                let scope = ban.scope.name();
                let (target, ttl_s, rule) = (&ban.target, ban.ttl_s, &ban.rule);
                format!("{target} ({scope}) for {ttl_s} s, rule {rule}{durable}")
            }),
            counterfactuals: counterfactuals(request),
            limit: request.decision.limit.clone(),
            key_state: request.decision.key_state,
            ruling: request.facts.ruling,
            would_change: remedy::would_change(request),
            undo: remedy::undo(request),
            decided_by_list: match &request.facts.standing {
                StandingRecord::Unlisted => None,
                StandingRecord::Allowed => Some("the operator's allow list".to_owned()),
                StandingRecord::Blocked(rule) => Some(rule.clone()),
            },
        }
    }
}

/// The score without each group, and without each credit: min(1, max(0, Σ groups − Σ credits)).
fn counterfactuals(request: &RequestRecord) -> Vec<Counterfactual> {
    let of = |without: String, groups: Points, credits: Points| {
        let rest = groups.as_basis().saturating_sub(credits.as_basis());
        let score = Points::from_basis(rest).min(Points::ONE);
        Counterfactual {
            without,
            score,
            band: band(score, request.decision.thresholds),
        }
    };
    let groups = || request.groups.iter();
    let credits = || request.trust.iter();
    let all_groups = groups().map(|(_, &total)| total).sum();
    let all_credits = credits().map(|trust| trust.credit).sum();
    let without_group = groups().map(|(&without, _)| {
        let rest = groups().filter(|(group, _)| **group != without);
        let rest = rest.map(|(_, &total)| total).sum();
        of(render::name(without).to_owned(), rest, all_credits)
    });
    let without_credit = credits().map(|without| {
        let rest = credits().filter(|trust| trust.id != without.id);
        let rest = rest.map(|trust| trust.credit).sum();
        of(without.id.clone(), all_groups, rest)
    });
    without_group.chain(without_credit).collect()
}

fn client(request: &RequestRecord) -> String {
    let mut text = request.client.ip.to_string();
    if let (Some(asn), Some(name)) = (request.client.asn, &request.client.as_name) {
        // Writing to a String cannot fail.
        let _written: fmt::Result = write!(text, ", AS{asn} {name}");
    }
    if let Some(key) = &request.identity.key {
        let _written: fmt::Result = write!(text, ", key {key}");
    }
    if let Some(tier) = &request.identity.tier {
        let _written: fmt::Result = write!(text, " (tier {tier})");
    }
    text
}

fn groups(request: &RequestRecord) -> Vec<GroupLine> {
    (request.groups.iter())
        .map(|(&group, &total)| {
            let signals: Vec<_> = (request.signals.iter())
                .filter(|signal| signal.group == group)
                .map(|signal| SignalLine {
                    id: signal.id.clone(),
                    weight: signal.weight,
                    confidence: signal.confidence,
                    contribution: signal.weight.scaled_by(signal.confidence),
                    evidence: signal.evidence.clone(),
                })
                .collect();
            GroupLine {
                group,
                sum: signals.iter().map(|signal| signal.contribution).sum(),
                cap: request.caps.get(&group).copied().unwrap_or(total),
                total,
                signals,
            }
        })
        .collect()
}

/// What a score leads to in mode enforce, by the thresholds alone.
fn band(score: Points, thresholds: RouteThresholds) -> Action {
    let reached = |threshold: Option<Points>| threshold.is_some_and(|it| score >= it);
    if score >= thresholds.block {
        Action::Block
    } else if reached(thresholds.step_up) {
        Action::StepUp
    } else if reached(thresholds.challenge) {
        Action::Challenge
    } else if score >= thresholds.throttle {
        Action::Throttle
    } else {
        Action::Allow
    }
}

#[cfg(test)]
mod tests;
