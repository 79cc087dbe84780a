//! An explanation as text for people, line by line as the score was made.

use std::fmt;

use super::Explanation;
use crate::audit::record::{LimitRecord, UpstreamFailureRecord};
use crate::engine::decision::{Action, Group, LimitUnit, RouteThresholds};
use crate::words::key::{KeyRuling, KeyStanding};
use crate::words::plain::Plain;
use crate::words::points::Points;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "request     {} at {}", self.request_id, self.ts)?;
        let status =
            (self.status).map_or_else(|| "not ended yet".to_owned(), |it| format!("status {it}"));
        writeln!(f, "            {}, {status}", Plain(&self.request))?;
        if let Some(failure) = &self.upstream_failure {
            writeln!(f, "upstream    {}", Plain(&failure_text(failure)))?;
        }
        writeln!(f, "client      {}", Plain(&self.client))?;
        for group in &self.groups {
            let name = name(group.group);
            if group.sum > group.total {
                writeln!(
                    f,
                    "{name:<11} +{} ({} capped at {})",
                    exact(group.total),
                    exact(group.sum),
                    exact(group.cap)
                )?;
            } else {
                let (total, cap) = (exact(group.total), exact(group.cap));
                writeln!(f, "{name:<11} +{total} of at most {cap}")?;
            }
            for signal in &group.signals {
                writeln!(
                    f,
                    "  {:<16} {} × {} = {}  {}",
                    signal.id,
                    exact(signal.weight),
                    exact(signal.confidence),
                    exact(signal.contribution),
                    Plain(&signal.evidence)
                )?;
            }
        }
        writeln!(f, "sum         {}", exact(self.raw))?;
        for trust in &self.trust {
            let (credit, evidence) = (exact(trust.credit), Plain(&trust.evidence));
            writeln!(f, "trust       -{credit} {}  {evidence}", trust.id)?;
        }
        writeln!(f, "score       {}", exact(self.score))?;
        writeln!(
            f,
            "thresholds  {} (route {})",
            thresholds(&self.thresholds),
            self.route
        )?;
        if let Some(limit) = &self.limit {
            writeln!(f, "limit       {}", Plain(&limit_text(limit)))?;
        }
        if let Some(state) = self.key_state {
            writeln!(f, "key state   {state}")?;
        }
        if let Some(ruling) = &self.ruling {
            writeln!(f, "operator    {}", ruling_text(ruling))?;
        }
        let action = self.action.name();
        write!(
            f,
            "decision    {action} in mode {}: {}",
            self.mode,
            Plain(&self.reason)
        )?;
        if self.would != self.action {
            write!(f, "; enforced it would be {}", self.would.name())?;
        }
        writeln!(f)?;
        if let Some(enforcement) = &self.enforcement {
            writeln!(f, "ban         {enforcement}")?;
        }
        if let Some(list) = &self.decided_by_list {
            let list = Plain(list);
            writeln!(f, "The score did not decide this request: {list} did.")?;
        }
        for other in &self.counterfactuals {
            let (without, score) = (Plain(&other.without).to_string(), exact(other.score));
            writeln!(f, "without {without:<10} {score} → {}", other.band.name())?;
        }
        for change in &self.would_change {
            writeln!(f, "changed by  {}", Plain(change))?;
        }
        for command in &self.undo {
            writeln!(f, "undo        {}", Plain(command))?;
        }
        Ok(())
    }
}

/// Every digit that counts: two decimals where they are exact, else all four.
fn exact(points: Points) -> String {
    if points.as_basis().is_multiple_of(100) {
        format!("{points:.2}")
    } else {
        format!("{points:.4}")
    }
}

pub(super) const fn name(group: Group) -> &'static str {
    match group {
        Group::Key => "key",
        Group::Pattern => "pattern",
        Group::Behaviour => "behaviour",
        Group::Network => "network",
        Group::Client => "client",
    }
}

fn thresholds(thresholds: &RouteThresholds) -> String {
    let RouteThresholds {
        throttle,
        challenge,
        step_up,
        block,
    } = *thresholds;
    [
        (Action::Throttle, Some(throttle)),
        (Action::Challenge, challenge),
        (Action::StepUp, step_up),
        (Action::Block, Some(block)),
    ]
    .into_iter()
    .filter_map(|(action, at)| Some(format!("{} {}", action.name(), exact(at?))))
    .collect::<Vec<_>>()
    .join(", ")
}

/// `key: 0 of 60 requests in 30 s left, more in 1 s`.
fn limit_text(limit: &LimitRecord) -> String {
    let LimitRecord {
        name,
        unit,
        quota,
        window_s,
        remaining,
        reset_s,
    } = limit;
    let unit = match unit {
        LimitUnit::Requests => "requests",
        LimitUnit::Bytes => "bytes",
    };
    format!("{name}: {remaining} of {quota} {unit} in {window_s} s left, more in {reset_s} s")
}

/// `app at http://127.0.0.1:3000 gave no response: broken`.
fn failure_text(failure: &UpstreamFailureRecord) -> String {
    let (upstream, kind) = (&failure.upstream, &failure.kind);
    match &failure.endpoint {
        Some(endpoint) => format!("{upstream} at {endpoint} gave no response: {kind}"),
        None => format!("{upstream} gave no response: {kind}"),
    }
}

/// What the operator decided about the key: `pinned, 5/s at most, mode log at most`.
fn ruling_text(ruling: &KeyRuling) -> String {
    let standing = match ruling.standing {
        KeyStanding::Earned => "judged by its reputation",
        KeyStanding::Suspended => "suspended",
        KeyStanding::Pinned => "pinned",
    };
    let mut text = standing.to_owned();
    if let Some(limit) = ruling.limit {
        text += &format!(", {} in place of its tier's rate", limit.rate);
    }
    if let Some(mode) = ruling.mode {
        text += &format!(", mode {mode} at most");
    }
    text
}
