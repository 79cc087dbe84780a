//! A blocked autonomous system, as `block list` shows it.

use serde::{Deserialize, Serialize};

use crate::daemon::enforcer::ListedAsn;
use crate::words::block::{Effect, Scope};
use crate::words::clock::Wall;
use crate::words::rule::Rule;

/// One blocked autonomous system.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AsnEntry {
    /// `AS16509`.
    pub rule: String,
    /// Its name; `null` where the table does not know it.
    pub name: Option<String>,
    /// How many networks of IPv4 it has in the table.
    pub n_networks_v4: u64,
    /// How many of IPv6.
    pub n_networks_v6: u64,
    /// Which packets.
    pub scope: Scope,
    /// Drop or count.
    pub effect: Effect,
    /// When it was made, RFC 3339.
    pub created: String,
    /// When it ends, RFC 3339; `null` is never.
    pub expires: Option<String>,
    /// Seconds until then.
    pub left_s: Option<u64>,
    /// Why.
    pub reason: String,
}

impl AsnEntry {
    /// As of `now`.
    #[must_use]
    pub fn of(listed: &ListedAsn, now: Wall) -> Self {
        let block = &listed.block;
        let (n_v4, n_v6) = listed.n_networks;
        Self {
            rule: Rule::Asn(block.number).to_string(),
            name: listed.name.as_deref().map(ToOwned::to_owned),
            n_networks_v4: n_v4 as u64,
            n_networks_v6: n_v6 as u64,
            scope: block.terms.scope,
            effect: block.terms.effect,
            created: block.terms.created.to_string(),
            expires: block.expires.map(|expires| expires.to_string()),
            left_s: block.expires.map(|expires| now.until(expires).as_secs()),
            reason: block.terms.reason.clone(),
        }
    }
}
