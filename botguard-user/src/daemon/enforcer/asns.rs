//! Blocked autonomous systems: which networks they come to by the table of `[intel] asn`, and how
//! they follow it when it changes.
//!
//! A process that cannot read the table does not know what the kernel holds on their account. It
//! then leaves the kernel's lists as they are and refuses to change any ([`AsnSource::Unreadable`]),
//! rather than to unblock in silence; the kill switch and `kernel detach` work all the same.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use parking_lot::RwLockWriteGuard;

use super::Enforcer;
use super::operator::{BlockRequest, OperatorError};
use crate::enforcement::layer_index::MAX_LAYERS;
use crate::enforcement::list::{self, BlockList};
use crate::intel::{Announced, AsnTable};
use crate::store::Change;
use crate::words::address::host_network;
use crate::words::block::{Effect, Scope};
use crate::words::clock::Wall;
use crate::words::layer::{AsnBlock, Terms};
use crate::words::network_set::NetworkSet;

/// Where the networks of systems are known from.
#[derive(Clone, Debug)]
pub enum AsnSource {
    /// `[intel] asn` names no table.
    Unset,
    /// The table.
    Table(Arc<AsnTable>),
    /// There is no table to be had, for this reason, and systems are blocked.
    Unreadable(String),
}

impl AsnSource {
    /// The table, if one is configured.
    #[must_use]
    pub fn of(table: Option<&Arc<AsnTable>>) -> Self {
        table.map_or(Self::Unset, |table| Self::Table(Arc::clone(table)))
    }

    /// What a system announces; nothing where that is not known.
    pub(super) fn networks(&self, number: u32) -> NetworkSet {
        match self {
            Self::Table(table) => table.announced(number),
            Self::Unset | Self::Unreadable(_) => None,
        }
        .map(|announced| announced.networks)
        .unwrap_or_default()
    }

    fn announced(&self, number: u32) -> Result<(Announced, Arc<str>), OperatorError> {
        match self {
            Self::Unset => Err(OperatorError::NoTable { number }),
            Self::Unreadable(reason) => Err(OperatorError::Blind(reason.clone())),
            Self::Table(table) => match table.announced(number) {
                Some(announced) if !announced.networks.is_empty() => {
                    Ok((announced, Arc::clone(table.label())))
                }
                _ => Err(OperatorError::UnknownAsn {
                    number,
                    table: Arc::clone(table.label()),
                }),
            },
        }
    }
}

/// A system that was blocked.
#[derive(Clone, Debug)]
pub struct BlockedAsn {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: Arc<str>,
    /// File and date of the table.
    pub table: Arc<str>,
    /// What is blocked, less [`Self::left_out`].
    pub networks: Arc<NetworkSet>,
    /// What of it is spared, with the reason.
    pub left_out: Vec<String>,
}

/// A blocked system as lists show it.
#[derive(Clone, Debug)]
pub struct ListedAsn {
    /// Terms and end.
    pub block: AsnBlock,
    /// Its name, where the table knows it.
    pub name: Option<Arc<str>>,
    /// Networks of IPv4 and IPv6, before guarded ones are cut out.
    pub n_networks: (usize, usize),
}

impl Enforcer {
    /// What would be blocked. Nothing is changed.
    ///
    /// Errors: there is no table, or it does not know a system; or the block would end the
    /// operator's session.
    pub(super) fn resolve(
        &self,
        lists: &BlockList,
        request: &BlockRequest,
        scope: Scope,
    ) -> Result<Vec<BlockedAsn>, OperatorError> {
        let source = self.asn_source.lock().clone();
        let guard = Arc::clone(&self.guard.read());
        let mut systems: Vec<BlockedAsn> = vec![];
        for number in &request.asns {
            if systems.iter().any(|system| system.number == *number) {
                continue;
            }
            let (announced, table) = source.announced(*number)?;
            let networks = announced.networks.without(&lists.layers().spared);
            if let Some(peer) = session_hit(request, scope, &networks) {
                return Err(OperatorError::Session {
                    number: *number,
                    peer,
                });
            }
            systems.push(BlockedAsn {
                number: *number,
                name: announced.name,
                table,
                left_out: (guard.all())
                    .filter(|covered| announced.networks.touches(&covered.network))
                    .map(|covered| covered.to_string())
                    .collect(),
                networks: Arc::new(announced.networks),
            });
        }
        let layers = lists.layers();
        let n_new = systems
            .iter()
            .filter(|system| !layers.asns.contains_key(&system.number))
            .count();
        if layers.count() + n_new > MAX_LAYERS {
            return Err(OperatorError::TooMany);
        }
        Ok(systems)
    }

    /// Blocks systems in the list. A repeated block is extended as a single one is. Returns what the
    /// store has to take.
    pub(super) fn insert_asns(
        lists: &mut BlockList,
        systems: &[BlockedAsn],
        terms: &Terms,
        expires: Option<Wall>,
    ) -> Vec<Change> {
        if systems.is_empty() {
            return vec![];
        }
        lists.edit_layers(|layers| {
            let blocks = systems.iter().map(|system| {
                let mut block = AsnBlock {
                    number: system.number,
                    terms: terms.clone(),
                    expires,
                };
                if let Some((old, _networks)) = layers.asns.get(&system.number)
                    && list::is_before(terms.created, old.expires)
                {
                    block.terms.created = old.terms.created;
                    block.expires = list::later(old.expires, expires);
                }
                let entry = (block.clone(), Arc::clone(&system.networks));
                layers.asns.insert(system.number, entry);
                Change::PutAsn(block)
            });
            blocks.collect()
        })
    }

    /// Lifts the blocks of systems from the list. Returns what the store has to take.
    pub(super) fn remove_asns(lists: &mut BlockList, numbers: &[u32]) -> Vec<Change> {
        let asns = &lists.layers().asns;
        if !numbers.iter().any(|number| asns.contains_key(number)) {
            return vec![];
        }
        lists.edit_layers(|layers| {
            let removed = numbers
                .iter()
                .filter(|number| layers.asns.remove(number).is_some());
            removed.map(|number| Change::DeleteAsn(*number)).collect()
        })
    }

    /// Goes over to another table: each blocked system to the networks it has there, all in one
    /// step. Without a table they stay as they are. Returns how many systems changed.
    pub fn set_asn_table(&self, table: Option<&Arc<AsnTable>>, now: Wall) -> usize {
        let source = AsnSource::of(table);
        {
            let _order = self.lists.write();
            *self.asn_source.lock() = source.clone();
        }
        let AsnSource::Table(_) = source else {
            return 0;
        };
        // Whoever is blocked from here on has the new table's networks already.
        let changed: Vec<_> = {
            let lists = self.lists.read();
            let asns = lists.layers().asns.iter();
            let renewed = asns.map(|(number, (_, old))| (*number, old, source.networks(*number)));
            renewed
                .filter(|(_, old, new)| ***old != *new)
                .map(|(number, _, new)| (number, Arc::new(new)))
                .collect()
        };
        if changed.is_empty() {
            return 0;
        }
        let mut lists = self.lists_mut();
        lists.edit_layers(|layers| {
            for (number, networks) in &changed {
                if let Some((_block, old)) = layers.asns.get_mut(number) {
                    *old = Arc::clone(networks);
                }
            }
        });
        let lists = RwLockWriteGuard::downgrade(lists);
        self.kernel.lock().fill(&lists, now);
        changed.len()
    }

    /// Blocked systems, in the order of their numbers.
    #[must_use]
    pub fn asns(&self, now: Wall) -> Vec<ListedAsn> {
        let lists = self.lists.read();
        let source = self.asn_source.lock().clone();
        let asns = lists.layers().asns.iter();
        asns.filter(|(_, (block, _))| list::is_before(now, block.expires))
            .map(|(number, (block, networks))| ListedAsn {
                block: block.clone(),
                name: match &source {
                    AsnSource::Table(table) => table.name(*number),
                    AsnSource::Unset | AsnSource::Unreadable(_) => None,
                },
                n_networks: (networks.v4().len(), networks.v6().len()),
            })
            .collect()
    }

    /// How many systems are blocked.
    #[must_use]
    pub fn n_asns(&self) -> usize {
        self.lists.read().layers().asns.len()
    }

    /// Refuses a change of lists whose networks this process does not know in full.
    ///
    /// Errors: [`OperatorError::Blind`].
    pub fn sees_all(&self) -> Result<(), OperatorError> {
        self.sees_all_of(&self.lists.read())
    }

    /// [`Self::sees_all`] for who has the lists.
    pub(super) fn sees_all_of(&self, lists: &BlockList) -> Result<(), OperatorError> {
        match &*self.asn_source.lock() {
            AsnSource::Unreadable(reason) if !lists.layers().asns.is_empty() => {
                Err(OperatorError::Blind(reason.clone()))
            }
            _ => Ok(()),
        }
    }

    /// What blocked systems want and have not.
    pub(super) fn asn_problem(&self) -> Option<String> {
        let lists = self.lists.read();
        let asns = &lists.layers().asns;
        if asns.is_empty() {
            return None;
        }
        let list_of = |numbers: Vec<u32>| {
            let names: Vec<_> = numbers.iter().map(|number| format!("AS{number}")).collect();
            names.join(" ")
        };
        match &*self.asn_source.lock() {
            AsnSource::Unreadable(reason) => Some(format!(
                "{} blocked, but what they announce is not known: {reason}",
                list_of(asns.keys().copied().collect())
            )),
            AsnSource::Unset => Some(format!(
                "{} blocked, but `[intel] asn` names no table: they have the networks last known, \
                 none after a restart",
                list_of(asns.keys().copied().collect())
            )),
            AsnSource::Table(table) => {
                let empty = asns.iter().filter(|(_, (_, networks))| networks.is_empty());
                let empty: Vec<_> = empty.map(|(number, _)| *number).collect();
                (!empty.is_empty()).then(|| {
                    format!(
                        "{} blocked, but {} has no networks of it; `botguard block del` ends this",
                        list_of(empty),
                        table.label()
                    )
                })
            }
        }
    }

    /// Cuts whom nobody may block out of lists and systems. Returns whether that changed anything.
    pub(super) fn spare(lists: &mut BlockList, spared: Vec<IpNet>) -> bool {
        if lists.layers().spared == spared {
            return false;
        }
        let is_empty = lists.layers().count() == 0;
        lists.edit_layers(|layers| layers.spared = spared);
        !is_empty
    }
}

/// The peer of the operator's SSH session, if the block would take every packet of it.
fn session_hit(request: &BlockRequest, scope: Scope, networks: &NetworkSet) -> Option<IpAddr> {
    let peer = request.session?;
    let is_hit = scope == Scope::Host
        && request.effect == Effect::Drop
        && networks.covering(&host_network(peer)).is_some();
    is_hit.then_some(peer)
}
