//! What would have changed a decision, and the commands that undo what holds on after it. From the
//! record alone: what holds now may be something else, and these commands show it.

use crate::audit::record::{BanScope, RequestRecord, StandingRecord};
use crate::engine::decision::Action;
use crate::engine::facts::Clearance;
use crate::words::key::{KeyStanding, KeyState};

/// What would have let the request through, most specific first. Empty of one that was.
pub(super) fn would_change(request: &RequestRecord) -> Vec<String> {
    let decision = &request.decision;
    let mut changes = Vec::new();
    if decision.unrecordable {
        changes.push(
            "room for the audit log: with `[audit] strict` what cannot be recorded is refused"
                .to_owned(),
        );
    }
    match decision.would {
        Action::Allow | Action::Log => {}
        Action::Throttle => changes.push(match &decision.limit {
            Some(limit) if limit.remaining == 0 => format!(
                "waiting {} s, a higher limit `{}`, or fewer requests",
                limit.reset_s, limit.name
            ),
            _ => "a slower client: in this band the allowed rate passes".to_owned(),
        }),
        Action::Challenge => changes.push(match request.facts.clearance {
            Clearance::None => "a browser that solves the challenge".to_owned(),
            Clearance::Valid => "a lower score: the challenge was solved already".to_owned(),
        }),
        Action::StepUp => changes.push(match &request.facts.authentication {
            None => {
                "a token that says when the user authenticated, or the application's signed word"
                    .to_owned()
            }
            Some(authentication) => format!(
                "fresh authentication: the user's was {} s old",
                authentication.age_ns / 1_000_000_000
            ),
        }),
        Action::Block => {
            if is_suspended(request) {
                changes.push("another key, or this one when it is resumed".to_owned());
            } else if let StandingRecord::Blocked(_) = request.facts.standing {
                changes.push("another address, or the end of the block".to_owned());
            } else if decision.threshold.is_some() {
                changes.push("one group less that is shown above with a milder band".to_owned());
            }
        }
    }
    if decision.threshold.is_some() {
        changes.extend(looks(request).map(ToOwned::to_owned));
    }
    if decision.would != decision.action {
        changes.push(format!(
            "nothing was denied, since the mode is {}: `botguard mode enforce`, or the route's \
             `mode`, carries it out",
            decision.mode
        ));
    }
    changes
}

/// What a client would have to look like.
fn looks(request: &RequestRecord) -> impl Iterator<Item = &'static str> {
    request
        .signals
        .iter()
        .filter_map(|signal| match &*signal.id {
            "client_mismatch" => Some(
                "a User-Agent that says what the client is; if a proxy opens TLS on the way, \
             `[trust] proxies` tells botguard",
            ),
            "fingerprint_churn" => Some(
                "a session of its own for each client; one that was stolen ends with a sign-out",
            ),
            _ => None,
        })
}

/// Commands for what outlasts the request.
pub(super) fn undo(request: &RequestRecord) -> Vec<String> {
    let mut commands = Vec::new();
    let ip = request.client.ip;
    if let StandingRecord::Blocked(rule) = &request.facts.standing {
        // The rule begins with the network that is blocked.
        let network = rule.split(' ').next().unwrap_or_default();
        if network.parse::<ipnet::IpNet>().is_ok() {
            commands.push(format!("botguard block del {network}"));
        } else {
            commands.push(format!("botguard would-block {ip}"));
        }
        commands.push(format!("botguard allow add {ip}"));
    }
    if let Some(ban) = &request.enforcement {
        commands.push(match ban.scope {
            BanScope::Address | BanScope::Network => format!("botguard block del {}", ban.target),
            BanScope::Pair => format!(
                "none needed: {} is refused for {} s, its address is not",
                ban.target, ban.ttl_s
            ),
        });
    }
    if let Some(key_id) = &request.identity.key_id {
        let is_held = matches!(
            request.decision.key_state,
            Some(KeyState::Throttled | KeyState::Suspended)
        );
        if is_held || is_suspended(request) {
            commands.push(format!("botguard key resume {key_id}"));
        } else if request.facts.ruling.is_some() {
            commands.push(format!("botguard key show {key_id}"));
        }
    }
    commands
}

fn is_suspended(request: &RequestRecord) -> bool {
    let by_operator =
        (request.facts.ruling).is_some_and(|ruling| ruling.standing == KeyStanding::Suspended);
    by_operator || request.decision.key_state == Some(KeyState::Suspended)
}
