//! `burst`: more requests of any kind than the tier allows. Value: requests in the window.

use super::{Grouped, View};
use crate::engine::decision::{Group, SignalReading};
use crate::engine::weights::{self, Ramp};
use crate::words::points::Points;

pub(super) fn read(view: &View<'_>) -> Option<SignalReading> {
    let requests = view.features.requests;
    let ramp = Ramp {
        from: view.allowed,
        to: view.allowed.saturating_mul(weights::FULL_AT_ALLOWANCES),
    };
    let confidence = ramp.confidence(u64::from(requests));
    (confidence > Points::ZERO).then(|| SignalReading {
        id: "burst",
        group: Group::Pattern,
        weight: weights::BURST,
        confidence,
        value: f64::from(requests),
        evidence: format!(
            "{} requests in {} s where {} are allowed",
            Grouped(requests),
            weights::WINDOW.as_secs(),
            Grouped(u32::try_from(view.allowed).unwrap_or(u32::MAX)),
        ),
    })
}
