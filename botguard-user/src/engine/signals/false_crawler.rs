//! `false_crawler`: it calls itself a crawler whose operator publishes where it comes from, and does
//! not come from there. Value: 1.

use super::View;
use crate::engine::decision::{Group, SignalReading};
use crate::engine::weights;
use crate::words::identity::Crawler;
use crate::words::points::Points;

pub(super) fn read(view: &View<'_>) -> Option<SignalReading> {
    let Crawler::False { name } = &view.facts.crawler else {
        return None;
    };
    Some(SignalReading {
        id: "false_crawler",
        group: Group::Client,
        weight: weights::FALSE_CRAWLER,
        confidence: Points::ONE,
        value: 1.0,
        evidence: format!("says it is {name}, from an address that is not {name}'s"),
    })
}
