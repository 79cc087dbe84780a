//! What the application is told of a decision, as header fields of the forwarded request.

use http::{HeaderName, HeaderValue};

use crate::engine::decision::Decision;

/// What the application is told. Ids, numbers and names of signals: nothing that a client wrote.
pub(super) fn to_upstream(request_id: &str, decision: &Decision) -> Vec<(HeaderName, HeaderValue)> {
    let signals = (decision.score.signals.iter())
        .map(|signal| format!("{}={}", signal.id, signal.contribution()))
        .collect::<Vec<_>>()
        .join(", ");
    [
        ("botguard-request-id", request_id.to_owned()),
        ("botguard-score", decision.score.score.to_string()),
        ("botguard-action", decision.action.name().to_owned()),
        ("botguard-signals", signals),
    ]
    .into_iter()
    .filter_map(|(name, value)| {
        Some((
            HeaderName::from_static(name),
            HeaderValue::from_str(&value).ok()?,
        ))
    })
    .collect()
}
