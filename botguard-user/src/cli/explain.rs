//! `botguard explain`: a decision taken apart, from its audit record alone. The numbers are the
//! record's own; nothing is measured again, and the sum shown is the sum that decided.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::plain::Plain;
use crate::audit::record::{RequestRecord, StandingRecord};
use crate::audit::search::Found;
use crate::engine::decision::{Action, Group, RouteThresholds};
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
    /// Who asked.
    pub client: String,
    /// The contributions, by group.
    pub groups: Vec<GroupLine>,
    /// Sum of the groups' totals.
    pub raw: Points,
    /// The same, at most 1.
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
    /// The ban it earned.
    pub enforcement: Option<String>,
    /// What each group changed.
    pub counterfactuals: Vec<Counterfactual>,
    /// Set where a list or a ban decided, and the score did not.
    pub decided_by_list: Option<String>,
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
    /// Without this group.
    pub without: Group,
    /// The score.
    pub score: Points,
    /// The band it lies in; in the throttle band the allowed rate still passes.
    pub band: Action,
}

impl Explanation {
    /// Takes a record apart.
    #[must_use]
    pub fn of(found: &Found) -> Self {
        let request = &found.request;
        let thresholds = request.decision.thresholds;
        let counterfactuals = (request.groups.iter())
            .map(|(&without, _)| {
                let rest = request
                    .groups
                    .iter()
                    .filter(|(group, _)| **group != without);
                let score: Points = rest
                    .map(|(_, &total)| total)
                    .sum::<Points>()
                    .min(Points::ONE);
                Counterfactual {
                    without,
                    score,
                    band: band(score, thresholds),
                }
            })
            .collect();
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
            score: request.score,
            route: request.decision.route.clone(),
            mode: request.decision.mode,
            thresholds,
            action: request.decision.action,
            would: request.decision.would,
            reason: request.decision.reason.clone(),
            status: request.http.status,
            enforcement: request
                .enforcement
                .as_ref()
                .map(|ban| format!("{} for {} s, rule {}", ban.target, ban.ttl_s, ban.rule)),
            counterfactuals,
            decided_by_list: match &request.facts.standing {
                StandingRecord::Unlisted => None,
                StandingRecord::Allowed => Some("the operator's allow list".to_owned()),
                StandingRecord::Blocked(rule) => Some(rule.clone()),
            },
        }
    }
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
    if score >= thresholds.block {
        Action::Block
    } else if score >= thresholds.throttle {
        Action::Throttle
    } else {
        Action::Allow
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "request     {} at {}", self.request_id, self.ts)?;
        let status =
            (self.status).map_or_else(|| "not ended yet".to_owned(), |it| format!("status {it}"));
        writeln!(f, "            {}, {status}", Plain(&self.request))?;
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
        writeln!(f, "score       {}", exact(self.score))?;
        writeln!(
            f,
            "thresholds  throttle {}, block {} (route {})",
            exact(self.thresholds.throttle),
            exact(self.thresholds.block),
            self.route
        )?;
        let action = action(self.action);
        write!(
            f,
            "decision    {action} in mode {}: {}",
            self.mode,
            Plain(&self.reason)
        )?;
        if self.would != self.action {
            write!(f, "; enforced it would be {}", self::action(self.would))?;
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
            let (without, score) = (name(other.without), exact(other.score));
            let band = self::action(other.band);
            writeln!(f, "without {without:<10} {score} → {band}")?;
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

const fn name(group: Group) -> &'static str {
    match group {
        Group::Key => "key",
        Group::Pattern => "pattern",
        Group::Behaviour => "behaviour",
        Group::Network => "network",
        Group::Client => "client",
    }
}

const fn action(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Log => "log",
        Action::Throttle => "throttle",
        Action::Challenge => "challenge",
        Action::StepUp => "step_up",
        Action::Block => "block",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::{Event, Record, Timestamp, VERSION, tests::request};
    use crate::words::clock::Wall;

    fn found(request: RequestRecord) -> Found {
        Found {
            record: Record {
                v: VERSION,
                seq: 0,
                ts: Timestamp(Wall::from_unix_ms(1_795_435_200_000)),
                event: Event::Request(Box::new(request.clone())),
            },
            request,
        }
    }

    #[test]
    fn the_worked_example_is_explained_to_the_digit() {
        let text = Explanation::of(&found(request("r1"))).to_string();
        let expected = "\
request     r1 at 2026-11-23T12:00:00.000Z
            GET api.example.com/users, status 403
client      192.0.2.1, AS16509 Amazon.com, Inc., key sk_pub_xyz123… (tier free)
key         +0.10 of at most 0.40
  tier             0.10 × 1.00 = 0.10  sk_pub_xyz123…, tier free
pattern     +0.40 of at most 0.40
  paging           0.40 × 1.00 = 0.40  GET /users?cursor=… × 4,200 in 60 s
behaviour   +0.25 of at most 0.25
  no_interaction   0.25 × 1.00 = 0.25  no UI interaction
network     +0.30 of at most 0.30
  hosting_asn      0.30 × 1.00 = 0.30  AS16509: hosting
sum         1.05
score       1.00
thresholds  throttle 0.50, block 0.90 (route /users)
decision    block in mode enforce: score reached the block threshold
without key        0.95 → block
without pattern    0.65 → throttle
without behaviour  0.80 → throttle
without network    0.75 → throttle
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_cap_is_shown_where_it_bites() {
        let mut capped = request("r2");
        let mut burst = capped.signals[1].clone();
        burst.id = "burst".to_owned();
        burst.weight = Points::from_basis(2_000);
        capped.signals.push(burst);
        let text = Explanation::of(&found(capped)).to_string();
        assert!(
            text.contains("pattern     +0.40 (0.60 capped at 0.40)"),
            "{text}"
        );
    }

    #[test]
    fn parts_of_a_weight_are_shown_with_every_digit() {
        let mut partial = request("r4");
        partial.signals[2].confidence = Points::from_basis(3_333);
        let text = Explanation::of(&found(partial)).to_string();
        assert!(text.contains("0.25 × 0.3333 = 0.0833"), "{text}");
    }

    #[test]
    fn a_request_writes_no_lines_of_its_own() {
        let mut forged = request("r5");
        forged.http.path = "/users\nscore       0.00\u{1b}[8m".to_owned();
        forged.signals[1].evidence = forged.http.path.clone();
        let text = Explanation::of(&found(forged)).to_string();
        assert!(!text.contains("\nscore       0.00"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_list_that_decided_is_named() {
        let mut banned = request("r3");
        banned.facts.standing = StandingRecord::Blocked("192.0.2.1/32 automatic".to_owned());
        let text = Explanation::of(&found(banned)).to_string();
        assert!(
            text.contains("did not decide this request: 192.0.2.1/32 automatic"),
            "{text}"
        );
    }
}
