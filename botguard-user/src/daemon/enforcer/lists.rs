//! Imported lists: set, lifted and ended as a whole.
//!
//! What takes long is done while everybody else goes on: parsing and the gates before any lock,
//! the index of all networks beside the one in force. The swap itself is an exchange of pointers,
//! and the kernel is brought over by one filling, so that there is no instant in which neither the
//! old nor the new list is enforced. The lock is held from the first look at the old list until
//! kernel and journal have the new one (`Enforcer`'s invariant); readers pass it, but for the swap.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use parking_lot::{RwLockUpgradableReadGuard, RwLockWriteGuard};

use super::operator::durable;
use super::{Enforcer, OperatorError};
use crate::enforcement::import::gates::{self, Force};
use crate::enforcement::import::{Format, Parsed, parse};
use crate::enforcement::kernel::KernelError;
use crate::enforcement::layer_index::MAX_LAYERS;
use crate::enforcement::layers::{Layers, Prepared};
use crate::enforcement::list::{BlockList, is_live};
use crate::enforcement::network_set::NetworkSet;
use crate::enforcement::never_block::NeverBlock;
use crate::store::journal::Receipt;
use crate::store::{Change, StoreError};
use crate::words::block::{Block, Effect, Scope};
use crate::words::clock::Wall;
use crate::words::layer::{Group, NamedList, Terms};
use crate::words::rule::{ListName, Rule};

/// A list as the operator asks for it.
#[derive(Clone, Copy, Debug)]
pub struct ImportRequest<'a> {
    /// Its name; a list of the same name is replaced.
    pub name: &'a ListName,
    /// Its entries, as [`crate::enforcement::import::wire`] writes them.
    pub wire: &'a str,
    /// How long entries without an end of their own hold; `None` is for good.
    pub ttl: Option<Duration>,
    /// Why.
    pub reason: &'a str,
    /// Which packets; `None` is the configuration's scope.
    pub scope: Option<Scope>,
    /// Drop or count.
    pub effect: Effect,
    /// Whether the gates give way.
    pub force: Force,
}

/// A list that was imported.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Imported {
    /// The scope that applies.
    pub scope: Scope,
    /// Entries as written.
    pub n_entries: usize,
    /// Networks they come to: repeated ones and those within others are none of their own.
    pub n_networks: usize,
    /// Networks whose end had passed, and that were left out.
    pub n_ended: usize,
    /// Networks of the list that it replaced, if it did.
    pub n_replaced: Option<usize>,
}

/// Networks that are blocked alike, as they go out.
#[derive(Clone, Debug)]
pub struct Exported {
    /// On whose account.
    pub rule: Rule,
    /// What they share.
    pub terms: Terms,
    /// When they end; `None` is never.
    pub expires: Option<Wall>,
    /// Whom.
    pub networks: Arc<NetworkSet>,
}

/// What to do where the kernel does not follow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum OnRefusal {
    /// Back to what it had.
    GoBack,
    /// On, degraded: it drops more than it should, and its entries end by themselves.
    GoOn,
}

impl Enforcer {
    /// Puts a list in force, in place of one of the same name: all of it or nothing.
    pub fn import(&self, request: ImportRequest<'_>, now: Wall) -> Result<Imported, OperatorError> {
        if request.ttl.is_some_and(|ttl| ttl.is_zero()) {
            return Err(OperatorError::NoTime { argument: "--ttl" });
        }
        // Whoever names `operator` to export or remove means the single blocks.
        if matches!(request.name.as_str().parse(), Ok(Rule::Single(_))) {
            return Err(OperatorError::Taken(request.name.clone()));
        }
        self.sees_all()?;
        let scope = request.scope.unwrap_or(self.default_scope);
        let content = request.wire.as_bytes();
        let mut parsed = parse(content, Format::Wire)?;
        let n_ended = leave_out_ended(&mut parsed, now);
        let guard = Arc::clone(&self.guard.read());

        let mut lists = self.lists.upgradable_read();
        let replaced = lists.layers().lists.get(request.name);
        let n_replaced = replaced.map(NamedList::len);
        gates::check(
            content,
            Format::Wire,
            &parsed,
            n_replaced,
            &guard,
            request.force,
        )?;
        let list = NamedList {
            name: request.name.clone(),
            terms: Terms {
                scope,
                effect: request.effect,
                created: now,
                reason: request.reason.to_owned(),
            },
            groups: with_end(parsed.groups, request.ttl.map(|ttl| now.after(ttl))),
        };
        let imported = Imported {
            scope,
            n_entries: parsed.n_entries,
            n_networks: list.len(),
            n_ended,
            n_replaced,
        };
        let change = Change::PutList(Arc::new(list.clone()));
        let edit = |layers: &mut Layers| {
            layers.lists.insert(list.name.clone(), list);
        };
        let receipt = self.change_layers(&mut lists, edit, vec![change], OnRefusal::GoBack, now)?;
        drop(lists);
        durable(receipt)?;
        Ok(imported)
    }

    /// Lifts a list. Returns how many networks it had.
    pub fn delete_list(&self, name: &ListName, now: Wall) -> Result<usize, OperatorError> {
        self.sees_all()?;
        let mut lists = self.lists.upgradable_read();
        let Some(list) = lists.layers().lists.get(name) else {
            return Err(OperatorError::NoList(name.clone()));
        };
        let n_networks = list.len();
        let change = Change::DeleteList(name.clone());
        let edit = |layers: &mut Layers| {
            layers.lists.remove(name);
        };
        let receipt = self.change_layers(&mut lists, edit, vec![change], OnRefusal::GoOn, now)?;
        drop(lists);
        durable(receipt)?;
        Ok(n_networks)
    }

    /// The lists in force.
    #[must_use]
    pub fn named_lists(&self) -> Vec<NamedList> {
        self.lists.read().layers().lists.values().cloned().collect()
    }

    /// What is in force on account of a rule, or of all.
    #[must_use]
    pub fn export(&self, of: Option<&Rule>, now: Wall) -> Vec<Exported> {
        let is_wanted = |rule: &Rule| of.is_none_or(|of| of == rule);
        let lists = self.lists.read();
        let blocks = lists.blocks().filter(|block| is_live(block, now));
        let mut exported: Vec<_> = blocks.map(single).collect();
        let layers = lists.layers();
        for list in layers.lists.values() {
            exported.extend(list.groups.iter().map(|group| Exported {
                rule: Rule::List(list.name.clone()),
                terms: list.terms.clone(),
                expires: group.expires,
                networks: Arc::clone(&group.networks),
            }));
        }
        exported.extend(layers.asns.values().map(|(block, networks)| Exported {
            rule: Rule::Asn(block.number),
            terms: block.terms.clone(),
            expires: block.expires,
            networks: Arc::clone(networks),
        }));
        exported.retain(|part| is_wanted(&part.rule) && !is_over(part.expires, now));
        exported
    }

    /// Takes out of lists and systems what has ended. Returns of how many rules something has.
    pub(super) fn expire_layers(&self, now: Wall) -> usize {
        let mut lists = self.lists.upgradable_read();
        if !lists.layers().has_ended(now) {
            return 0;
        }
        let mut layers = lists.layers().clone();
        let ended = layers.expire(now);
        let changes = ended.iter().map(|rule| follow(&layers, rule));
        let changes = changes.flatten().collect();
        let edit = |old: &mut Layers| *old = layers;
        match self.change_layers(&mut lists, edit, changes, OnRefusal::GoOn, now) {
            // Nobody waits for it: what has ended ends anew at the next start.
            Ok(receipt) => drop(receipt),
            Err(error) => tracing::debug!(%error, "ended entries of lists stay"),
        }
        ended.len()
    }

    /// Cuts networks out of lists and systems, and lets go of those that were cut out before.
    pub(super) fn spare(&self, spared: Vec<IpNet>, now: Wall) {
        let mut lists = self.lists.upgradable_read();
        let layers = lists.layers();
        let changed: Vec<_> = (layers.spared.iter().filter(|old| !spared.contains(old)))
            .chain(spared.iter().filter(|new| !layers.spared.contains(new)))
            .copied()
            .collect();
        if changed.is_empty() {
            return;
        }
        let is_touched = layers.touch(&changed);
        let mut layers = layers.clone();
        layers.spared = spared;
        let prepared = Prepared::new(layers);
        lists.with_upgraded(|lists| lists.swap_layers(prepared));
        if is_touched {
            tracing::info!("a list or blocked system holds an address that is now spared, or was");
            // Kept as the kernel's problem.
            let _noted: Result<(), KernelError> = self.kernel.lock().fill(&lists, now);
        }
    }

    /// Edits lists and systems, and has kernel and journal follow; the receipt is the journal's.
    ///
    /// Errors: there are too many, or the kernel refused and everything is as it was.
    pub(super) fn change_layers(
        &self,
        lists: &mut RwLockUpgradableReadGuard<'_, BlockList>,
        edit: impl FnOnce(&mut Layers),
        changes: Vec<Change>,
        on_refusal: OnRefusal,
        now: Wall,
    ) -> Result<Result<Receipt, StoreError>, OperatorError> {
        let mut layers = lists.layers().clone();
        edit(&mut layers);
        if layers.n_layers() > MAX_LAYERS {
            return Err(OperatorError::TooMany { limit: MAX_LAYERS });
        }
        let prepared = Prepared::new(layers);
        let former = lists.with_upgraded(|lists| lists.swap_layers(prepared));
        let mut kernel = self.kernel.lock();
        if let Err(error) = kernel.try_fill(lists, now) {
            match on_refusal {
                OnRefusal::GoBack => {
                    // What was in force in the kernel still is.
                    lists.with_upgraded(|lists| lists.swap_layers(former));
                    return Err(OperatorError::Kernel(error.to_string()));
                }
                OnRefusal::GoOn => kernel.note_unfilled(&error),
            }
        }
        drop(kernel);
        Ok(self.submit(changes))
    }
}

/// Lets readers pass while the kernel follows, which takes long where it has to be filled anew.
/// Other changes wait, so that list, kernel and journal see them in one order.
pub(super) fn passable(
    lists: RwLockWriteGuard<'_, BlockList>,
) -> RwLockUpgradableReadGuard<'_, BlockList> {
    RwLockWriteGuard::downgrade_to_upgradable(lists)
}

/// Whom no list may block, in one order, so that two guards compare.
pub(super) fn spared_by(guard: &NeverBlock) -> Vec<IpNet> {
    let mut spared: Vec<_> = guard.networks().collect();
    spared.sort_unstable();
    spared.dedup();
    spared
}

/// How the store follows what has ended of a rule.
fn follow(layers: &Layers, rule: &Rule) -> Option<Change> {
    match rule {
        Rule::List(name) => Some(layers.lists.get(name).map_or_else(
            || Change::DeleteList(name.clone()),
            |left| Change::PutList(Arc::new(left.clone())),
        )),
        Rule::Asn(number) => Some(Change::DeleteAsn(*number)),
        Rule::Single(_) => None,
    }
}

/// Returns how many networks it took out.
fn leave_out_ended(parsed: &mut Parsed, now: Wall) -> usize {
    let ended = parsed
        .groups
        .extract_if(.., |group| is_over(group.expires, now));
    ended.map(|group| group.networks.len()).sum()
}

/// Gives those without an end this one.
fn with_end(groups: Vec<Group>, end: Option<Wall>) -> Vec<Group> {
    let mut by_end: BTreeMap<Option<Wall>, Arc<NetworkSet>> = BTreeMap::new();
    for group in groups {
        let set = by_end.entry(group.expires.or(end)).or_default();
        *set = if set.is_empty() {
            group.networks
        } else {
            Arc::new(set.iter().chain(group.networks.iter()).collect())
        };
    }
    let groups = by_end.into_iter();
    let groups = groups.map(|(expires, networks)| Group { expires, networks });
    groups.collect()
}

fn is_over(end: Option<Wall>, now: Wall) -> bool {
    end.is_some_and(|end| end <= now)
}

fn single(block: &Block) -> Exported {
    Exported {
        rule: Rule::Single(block.origin),
        terms: Terms {
            scope: block.scope,
            effect: block.effect,
            created: block.created,
            reason: block.reason.clone(),
        },
        expires: block.expires,
        networks: Arc::new([block.network].into_iter().collect()),
    }
}
