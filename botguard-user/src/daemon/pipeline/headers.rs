//! What the application is told of a decision, as header fields of the forwarded request.

use std::fmt::Write as _;

use http::{HeaderName, HeaderValue};

use crate::engine::decision::Decision;

/// What the application is told. Ids, numbers and names of signals: nothing that a client wrote.
pub(super) fn to_upstream(request_id: &str, decision: &Decision) -> Vec<(HeaderName, HeaderValue)> {
    let mut signals = String::with_capacity(SIGNAL_BYTES * decision.score.signals.len());
    for (place, signal) in decision.score.signals.iter().enumerate() {
        let separator = if place == 0 { "" } else { ", " };
        let (id, contribution) = (signal.id, signal.contribution());
        let _infallible: std::fmt::Result = write!(signals, "{separator}{id}={contribution}");
    }
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
            HeaderValue::try_from(value).ok()?,
        ))
    })
    .collect()
}

/// What a signal usually takes.
const SIGNAL_BYTES: usize = 32;
