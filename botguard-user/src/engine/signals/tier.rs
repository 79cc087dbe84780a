//! `tier`: how much the operator distrusts the key's tier, as declared. Value: the tier's weight.

use super::View;
use crate::engine::decision::{Group, SignalReading};
use crate::words::points::Points;

pub(super) fn read(view: &View<'_>) -> Option<SignalReading> {
    let (tier, key) = (view.tier?, view.facts.key.as_ref()?);
    (tier.weight > Points::ZERO).then(|| SignalReading {
        id: "tier",
        group: Group::Key,
        weight: tier.weight,
        confidence: Points::ONE,
        value: tier.weight.as_decimal(),
        evidence: format!("{}, tier {}", key.shown, tier.name),
    })
}
