//! `no_interaction`: many requests and nobody at the controls. Value: requests that no interaction
//! event excuses.
//!
//! Only where a browser is expected: machines have no controls, and apps report no events.

use super::{Grouped, View};
use crate::engine::decision::{Group, SignalReading};
use crate::engine::weights;
use crate::words::identity::ClientClass;
use crate::words::points::Points;

pub(super) fn read(view: &View<'_>) -> Option<SignalReading> {
    match view.class {
        ClientClass::Browser => {}
        ClientClass::Machine | ClientClass::Mobile | ClientClass::Any => return None,
    }
    let (requests, interactions) = (view.features.requests.window, view.features.interactions);
    let excused = u64::from(interactions).saturating_mul(weights::REQUESTS_PER_INTERACTION);
    let unexcused = u64::from(requests).saturating_sub(excused);
    let confidence = weights::UNEXCUSED.confidence(unexcused);
    (confidence > Points::ZERO).then(|| SignalReading {
        id: "no_interaction",
        group: Group::Behaviour,
        weight: weights::NO_INTERACTION,
        confidence,
        // At most `requests`, so the conversion is exact.
        value: f64::from(u32::try_from(unexcused).unwrap_or(u32::MAX)),
        evidence: match interactions {
            0 => format!("no UI interaction in {} requests", Grouped(requests)),
            1 => format!("1 UI interaction in {} requests", Grouped(requests)),
            n => format!(
                "{} UI interactions in {} requests",
                Grouped(n),
                Grouped(requests)
            ),
        },
    })
}
