//! Blocks that come by the thousand: imported lists and autonomous systems. Each is set and lifted
//! as a whole; single blocks and bans are [`super::block::Block`]s.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::block::{Effect, Scope};
use super::clock::Wall;
use super::network_set::NetworkSet;
use super::rule::{ListName, Rule};

/// What the members of a list or system have in common.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Terms {
    /// Which packets.
    pub scope: Scope,
    /// Drop, or only count.
    pub effect: Effect,
    /// When it was made.
    pub created: Wall,
    /// Why, in a sentence.
    pub reason: String,
}

/// An imported list. A network stands in as many groups as it was given ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamedList {
    /// Its name; importing one of the same name replaces it.
    pub name: ListName,
    /// What its members have in common.
    pub terms: Terms,
    /// Its members, by when they end. Ends are distinct.
    pub groups: Vec<Group>,
}

/// The members of a list that end together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Group {
    /// When they end; `None` is never.
    pub expires: Option<Wall>,
    /// The members.
    pub networks: Arc<NetworkSet>,
}

impl NamedList {
    /// How many networks it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.iter().map(|group| group.networks.len()).sum()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An autonomous system that the operator blocked. Which networks that is, the ASN table says.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AsnBlock {
    /// AS number.
    pub number: u32,
    /// What its networks have in common.
    #[serde(flatten)]
    pub terms: Terms,
    /// When it ends; `None` is never.
    pub expires: Option<Wall>,
}

/// Networks that are blocked alike: what lists and systems come to.
#[derive(Clone, Debug)]
pub struct Layer {
    /// On whose account.
    pub rule: Rule,
    /// Scope, effect, and the rest that its networks share.
    pub terms: Arc<Terms>,
    /// When it ends; `None` is never.
    pub expires: Option<Wall>,
    /// Whom, less whom no list may block.
    pub networks: Arc<NetworkSet>,
}
