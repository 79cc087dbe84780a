//! Blocked autonomous systems: which networks they come to by the table of `[intel] asn`, and how
//! they follow it when it changes.
//!
//! A process that cannot read the table does not know what the kernel holds on their account. It
//! then leaves the kernel's lists as they are and refuses to change any ([`AsnSource::Unreadable`]),
//! rather than to unblock in silence; the kill switch and `kernel detach` work all the same.

use std::net::IpAddr;
use std::sync::Arc;

use super::Enforcer;
use super::lists::OnRefusal;
use super::operator::{BlockRequest, OperatorError};
use crate::enforcement::layers::Layers;
use crate::enforcement::list::{self, BlockList};
use crate::intel::{Announced, AsnTable};
use crate::store::journal::Receipt;
use crate::store::{Change, StoreError};
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

/// Changes that the journal has, or refused.
type Queued = Result<Receipt, StoreError>;

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
    /// Blocks the systems of a request: all of them, or none. A repeated block is extended as a
    /// single one is. Returns them, and the journal's receipt.
    ///
    /// Errors: there is no table, or it does not know a system; the block would end the operator's
    /// session; or the kernel does not take it.
    pub(super) fn block_asns(
        &self,
        request: &BlockRequest,
        terms: &Terms,
        expires: Option<Wall>,
        now: Wall,
    ) -> Result<(Vec<BlockedAsn>, Option<Queued>), OperatorError> {
        if request.asns.is_empty() {
            return Ok((vec![], None));
        }
        let mut lists = self.lists.upgradable_read();
        let systems = self.resolve(&lists, request, terms.scope)?;
        let asns = &lists.layers().asns;
        let blocks = systems.iter().map(|system| {
            let mut block = AsnBlock {
                number: system.number,
                terms: terms.clone(),
                expires,
            };
            if let Some((old, _networks)) = asns.get(&system.number)
                && list::is_before(now, old.expires)
            {
                block.terms.created = old.terms.created;
                block.expires = list::later(old.expires, expires);
            }
            (block, Arc::clone(&system.networks))
        });
        let blocks: Vec<_> = blocks.collect();
        let changes = blocks
            .iter()
            .map(|(block, _)| Change::PutAsn(block.clone()));
        let changes = changes.collect();
        let edit = |layers: &mut Layers| {
            let blocks = blocks.into_iter().map(|block| (block.0.number, block));
            layers.asns.extend(blocks);
        };
        let receipt = self.change_layers(&mut lists, edit, changes, OnRefusal::GoBack, now)?;
        Ok((systems, Some(receipt)))
    }

    /// What would be blocked.
    fn resolve(
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
        Ok(systems)
    }

    /// Goes over to another table: each blocked system to the networks it has there, all in one
    /// step. Without a table they stay as they are. Returns how many systems changed.
    pub fn set_asn_table(&self, table: Option<&Arc<AsnTable>>, now: Wall) -> usize {
        let source = AsnSource::of(table);
        // Held to the end, so that whoever is blocked meanwhile waits for the new table.
        let mut lists = self.lists.upgradable_read();
        *self.asn_source.lock() = source.clone();
        let AsnSource::Table(_) = source else {
            return 0;
        };
        let asns = lists.layers().asns.iter();
        let renewed = asns.map(|(number, (_, old))| (*number, old, source.networks(*number)));
        let changed: Vec<_> = renewed
            .filter(|(_, old, new)| ***old != *new)
            .map(|(number, _, new)| (number, Arc::new(new)))
            .collect();
        if changed.is_empty() {
            return 0;
        }
        let n_changed = changed.len();
        let edit = |layers: &mut Layers| {
            for (number, networks) in changed {
                if let Some((_block, old)) = layers.asns.get_mut(&number) {
                    *old = networks;
                }
            }
        };
        // What a system announces is not the store's to know.
        match self.change_layers(&mut lists, edit, vec![], OnRefusal::GoOn, now) {
            Ok(receipt) => drop(receipt),
            Err(error) => tracing::error!(%error, "blocked systems keep their old networks"),
        }
        n_changed
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
}

/// The peer of the operator's SSH session, if the block would take every packet of it.
fn session_hit(request: &BlockRequest, scope: Scope, networks: &NetworkSet) -> Option<IpAddr> {
    let peer = request.session?;
    let is_hit = scope == Scope::Host
        && request.effect == Effect::Drop
        && networks.covering(&host_network(peer)).is_some();
    is_hit.then_some(peer)
}
