//! `credential_churn`: an address from which ever new credentials come and hardly any comes twice.
//! Value: new ones in the last minute.
//!
//! Counts against the address and those whose credential is not accepted from it; who is known there
//! keeps a record of its own.

use super::{Grouped, View};
use crate::engine::decision::{Group, SignalReading};
use crate::engine::weights;
use crate::words::points::Points;

pub(super) fn read(view: &View<'_>) -> Option<SignalReading> {
    let newcomers = view.newcomers?;
    let confidence = weights::NEWCOMERS.confidence(u64::from(newcomers));
    (confidence > Points::ZERO).then(|| SignalReading {
        id: "credential_churn",
        group: Group::Key,
        weight: weights::CREDENTIAL_CHURN,
        confidence,
        value: f64::from(newcomers),
        evidence: format!(
            "{} new keys or sessions from one address in a minute, hardly any used twice",
            Grouped(newcomers)
        ),
    })
}
