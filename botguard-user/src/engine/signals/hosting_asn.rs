//! `hosting_asn`: the address belongs to a network that rents out machines. Value: the AS number.
//!
//! Full where a person is expected (`browser`, `mobile`), nothing where a machine is, and
//! [`weights::HOSTING_WHERE_ANYTHING_GOES`] where nothing is declared.

use super::View;
use crate::engine::decision::{Group, SignalReading};
use crate::engine::facts::Hosting;
use crate::engine::weights;
use crate::words::identity::ClientClass;
use crate::words::points::Points;

pub(super) fn read(view: &View<'_>) -> Option<SignalReading> {
    let network = &view.facts.network;
    let asn = network.asn.as_ref()?;
    let list = match &network.hosting {
        Hosting::Verified { list } => list,
        Hosting::Unlisted => return None,
    };
    let confidence = match view.class {
        ClientClass::Browser | ClientClass::Mobile => Points::ONE,
        ClientClass::Any => weights::HOSTING_WHERE_ANYTHING_GOES,
        ClientClass::Machine => return None,
    };
    Some(SignalReading {
        id: "hosting_asn",
        group: Group::Network,
        weight: weights::HOSTING_ASN,
        confidence,
        value: f64::from(asn.number),
        evidence: format!(
            "AS{} {}: hosting ({} and {list} list)",
            asn.number, asn.name, asn.table
        ),
    })
}
