//! Imported lists on the wire: as `block list` shows them, and as `block export` has them.

use serde::{Deserialize, Serialize};

use crate::daemon::enforcer::Exported;
use crate::words::block::{Effect, Scope};
use crate::words::clock::Wall;
use crate::words::layer::NamedList;

/// One imported list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ListEntry {
    /// Its name.
    pub name: String,
    /// On whose account its networks are blocked: `list:NAME`.
    pub rule: String,
    /// How many networks it has.
    pub n_networks: u64,
    /// Which packets.
    pub scope: Scope,
    /// Drop or count.
    pub effect: Effect,
    /// When it was imported, RFC 3339.
    pub created: String,
    /// When the last of its networks ends, RFC 3339; `null` is never.
    pub expires: Option<String>,
    /// Seconds until then.
    pub left_s: Option<u64>,
    /// Why.
    pub reason: String,
}

impl ListEntry {
    /// As of `now`.
    #[must_use]
    pub fn of(list: &NamedList, now: Wall) -> Self {
        let mut ends = list.groups.iter().map(|group| group.expires);
        // `None`, never, is the last of all, and that of a list without networks.
        let expires = ends.try_fold(Wall::default(), |last, end| Some(last.max(end?)));
        let expires = expires.filter(|_end| !list.groups.is_empty());
        Self {
            name: list.name.to_string(),
            rule: format!("list:{}", list.name),
            n_networks: list.len() as u64,
            scope: list.terms.scope,
            effect: list.terms.effect,
            created: list.terms.created.to_string(),
            expires: expires.map(|end| end.to_string()),
            left_s: expires.map(|end| now.until(end).as_secs()),
            reason: list.terms.reason.clone(),
        }
    }
}

/// What is in force, to be taken elsewhere.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Export {
    /// Networks that are blocked alike.
    pub parts: Vec<ExportPart>,
}

/// Networks that are blocked alike.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ExportPart {
    /// On whose account: `operator`, `automatic`, `AS16509`, `list:NAME`.
    pub rule: String,
    /// Which packets.
    pub scope: Scope,
    /// Drop or count.
    pub effect: Effect,
    /// When it was made, RFC 3339.
    pub created: String,
    /// When it ends, RFC 3339; `null` is never.
    pub expires: Option<String>,
    /// Why.
    pub reason: String,
    /// Whom: one a line, since there may be a million.
    pub networks: String,
}

impl From<&Exported> for ExportPart {
    fn from(part: &Exported) -> Self {
        use std::fmt::Write as _;
        let mut networks = String::new();
        for network in part.networks.iter() {
            // Writing to a string cannot fail.
            let _written: std::fmt::Result = writeln!(networks, "{network}");
        }
        Self {
            rule: part.rule.to_string(),
            scope: part.terms.scope,
            effect: part.terms.effect,
            created: part.terms.created.to_string(),
            expires: part.expires.map(|end| end.to_string()),
            reason: part.terms.reason.clone(),
            networks,
        }
    }
}
