//! `fingerprint_churn`: one session, from one address, used by ever other clients within an hour.
//! Value: how many kinds, up to [`weights::KINDS`]`.to`.
//!
//! A session belongs to one browser. A person has some devices and a machine key a few programs, so
//! that a user or such a key counts half. An address, and a key that is in everybody's hands, are
//! shared by any number of clients, which is no evidence at all.

use super::View;
use crate::engine::decision::{Group, SignalReading};
use crate::engine::weights;
use crate::words::identity::ClientClass;
use crate::words::memo::Credential;
use crate::words::points::Points;

pub(super) fn read(view: &View<'_>) -> Option<SignalReading> {
    let (whose, share) = match view.holder? {
        Credential::Session(_) => ("session", Points::ONE),
        Credential::User(_) => ("user", weights::KINDS_OF_SEVERAL),
        Credential::Key(_) if view.class == ClientClass::Machine => {
            ("key", weights::KINDS_OF_SEVERAL)
        }
        Credential::Key(_) => return None,
    };
    let kinds = view.features.kinds;
    let confidence = weights::KINDS.confidence(u64::from(kinds)).scaled_by(share);
    (confidence > Points::ZERO).then(|| SignalReading {
        id: "fingerprint_churn",
        group: Group::Client,
        weight: weights::FINGERPRINT_CHURN,
        confidence,
        value: f64::from(kinds),
        evidence: format!("one {whose} used by {kinds} kinds of clients or more within an hour"),
    })
}
