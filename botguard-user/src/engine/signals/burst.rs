//! `burst`: more requests of any kind than the tier allows. Value: requests in the window that the
//! evidence names.

use super::excess::{Floors, excess};
use super::{Grouped, View};
use crate::engine::decision::{Group, SignalReading};
use crate::engine::weights;
use crate::words::points::Points;

pub(super) fn read(view: &View<'_>) -> Option<SignalReading> {
    let floors = Floors {
        window: 0,
        haste: weights::PAGE_LOAD,
    };
    let excess = excess(view.features.requests, view.allowance, floors);
    (excess.confidence > Points::ZERO).then(|| SignalReading {
        id: "burst",
        group: Group::Pattern,
        weight: weights::BURST,
        confidence: excess.confidence,
        value: f64::from(excess.count),
        evidence: format!(
            "{} requests in {} s where {} are allowed",
            Grouped(excess.count),
            excess.window.as_secs(),
            Grouped(u32::try_from(excess.allowed).unwrap_or(u32::MAX)),
        ),
    })
}
