//! What an operator changes by command: durable before it is called done.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::Enforcer;
use super::asns::BlockedAsn;
use super::lists::{OnRefusal, passable};
use crate::enforcement::import::ImportError;
use crate::enforcement::import::gates::Refusal;
use crate::enforcement::kernel::KernelError;
use crate::enforcement::layers::Layers;
use crate::store::{Change, ModeOverride};
use crate::words::block::{Allow, Block, Effect, Origin, Scope};
use crate::words::clock::Wall;
use crate::words::layer::Terms;
use crate::words::mode::Mode;
use crate::words::rule::{ListName, Rule};

/// A block as the operator asks for it.
#[derive(Clone, Debug)]
pub struct BlockRequest {
    /// Whom.
    pub networks: Vec<IpNet>,
    /// And which autonomous systems.
    pub asns: Vec<u32>,
    /// Where the operator's SSH session comes from, if from anywhere.
    pub session: Option<IpAddr>,
    /// For how long; `None` is for good.
    pub ttl: Option<Duration>,
    /// Why.
    pub reason: String,
    /// Which packets; `None` is the configuration's scope.
    pub scope: Option<Scope>,
    /// Drop or count.
    pub effect: Effect,
}

/// A block that is in force.
#[derive(Clone, Debug)]
pub struct Blocked {
    /// The scope that applies.
    pub scope: Scope,
    /// What the systems come to.
    pub asns: Vec<BlockedAsn>,
}

/// What a flush removed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Flushed {
    /// Single blocks.
    pub n_blocks: usize,
    /// Lists and systems.
    pub layers: Vec<Rule>,
}

/// A change that an operator asked for and did not get, or not whole.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// It would shut out this host. The operator's fault; nothing was changed.
    #[error(
        "a block of {network} would shut out this host itself: {covered}; block networks that leave it out"
    )]
    Own {
        /// What was asked.
        network: IpNet,
        /// What it would hit.
        covered: String,
    },
    /// It would end the operator's own session. The operator's fault; nothing was changed.
    #[error(
        "a block of every packet of AS{number} would end your own SSH session from {peer}; leave out \
         `--scope host`, or allow {peer} after you have logged in from elsewhere"
    )]
    Session {
        /// The system.
        number: u32,
        /// Where the session comes from.
        peer: IpAddr,
    },
    /// A system without a table. The configuration's fault; nothing was changed.
    #[error(
        "what AS{number} announces is not known: `[intel] asn` names no table; set it, or give networks"
    )]
    NoTable {
        /// The system.
        number: u32,
    },
    /// A system that the table does not know. The operator's fault; nothing was changed.
    #[error("{table} has no networks of AS{number}; check the number, or give networks")]
    UnknownAsn {
        /// The system.
        number: u32,
        /// File and date of the table.
        table: Arc<str>,
    },
    /// What systems announce cannot be known. The configuration's fault; nothing was changed.
    #[error(
        "nothing was changed, since what autonomous systems announce cannot be known ({0}); mend the \
         table, or lift the blocked ones with `botguard block del AS…` or `block flush`"
    )]
    Blind(String),
    /// A time that has already ended. The operator's fault; nothing was changed.
    #[error("{argument} is less than a second; write a time as in 1h, or leave it out")]
    NoTime {
        /// As the command line calls it.
        argument: &'static str,
    },
    /// A list that cannot be read. The fault of whoever sent it; nothing was changed.
    #[error("the list as it was sent cannot be read: {0}")]
    Unreadable(#[from] ImportError),
    /// A list that a gate refuses. The operator's fault, or of whoever made it; nothing was
    /// changed.
    #[error("{0}; nothing was changed")]
    Refused(#[from] Refusal),
    /// A name that stands for something else.
    #[error("`{0}` is not for lists: single blocks are called so; give another name by `--origin`")]
    Taken(ListName),
    /// There is no such list.
    #[error("no list `{0}`; `botguard block list` shows them")]
    NoList(ListName),
    /// There is no room for more lists, or ends of their entries.
    #[error(
        "more than {limit} lists, ends of entries in them, and blocked systems; nothing was changed. \
         Remove some, or import with `--ttl` in place of an end for each entry"
    )]
    TooMany {
        /// How many there may be.
        limit: usize,
    },
    /// More than the kernel keeps apart. The operator's fault; nothing was changed.
    #[error("more than {limit} networks on the allow list; join some of them to wider ones")]
    TooManyAllows {
        /// How many there may be.
        limit: usize,
    },
    /// More overrides than are kept. The operator's fault; nothing was changed.
    #[error(
        "there are {limit} overrides of keys; lift some with `botguard key override KEY --clear`"
    )]
    TooManyOverrides {
        /// How many there may be.
        limit: usize,
    },
    /// The kernel did not take it; what was in force before is.
    #[error("the kernel did not take the list, and nothing was changed: {0}")]
    Kernel(String),
    /// In force in list and kernel, but the store failed: it ends with the next restart.
    #[error("in force, but not kept across a restart: {0}")]
    NotDurable(String),
}

/// What the kernel takes of each family, for both together: nobody is to count families.
const MAX_ALLOWS: usize = botguard_common::maps::ALLOWS as usize;

impl Enforcer {
    /// Blocks networks: all of them, or none where one is refused.
    pub fn block(&self, request: BlockRequest, now: Wall) -> Result<Blocked, OperatorError> {
        self.sees_all()?;
        if request.ttl.is_some_and(|ttl| ttl.is_zero()) {
            return Err(OperatorError::NoTime { argument: "--ttl" });
        }
        let scope = request.scope.unwrap_or(self.default_scope);
        let guard = Arc::clone(&self.guard.read());
        for network in &request.networks {
            let covered = match (scope, request.effect) {
                (Scope::Host, Effect::Drop) => guard.covers_lifeline(network),
                (Scope::Listeners, _) | (Scope::Host, Effect::Count) => guard.covers_own(network),
            };
            if let Some(covered) = covered {
                return Err(OperatorError::Own {
                    network: *network,
                    covered: covered.to_string(),
                });
            }
        }
        let expires = request.ttl.map(|ttl| now.after(ttl));
        let terms = Terms {
            scope,
            effect: request.effect,
            created: now,
            reason: request.reason.clone(),
        };
        // Systems first, since the kernel may have no room for them.
        let (asns, of_asns) = self.block_asns(&request, &terms, expires, now)?;
        let mut lists = self.lists_mut();
        let changes = request.networks.iter().map(|network| {
            let block = lists.insert(Block {
                network: *network,
                origin: Origin::Operator,
                scope,
                effect: request.effect,
                created: now,
                expires,
                reason: request.reason.clone(),
            });
            Change::PutBlock(block.clone())
        });
        let changes = changes.collect();
        let lists = passable(lists);
        self.kernel.lock().refresh(&lists, &request.networks, now);
        let receipt = self.submit(changes);
        drop(lists);
        if let Some(receipt) = of_asns {
            durable(receipt)?;
        }
        durable(receipt)?;
        Ok(Blocked { scope, asns })
    }

    /// Removes the blocks of exactly these networks, of every origin, and of these systems. Returns
    /// how many.
    pub fn unblock(
        &self,
        networks: &[IpNet],
        asns: &[u32],
        now: Wall,
    ) -> Result<usize, OperatorError> {
        let mut lists = self.lists.upgradable_read();
        let blocked = &lists.layers().asns;
        if !blocked.keys().all(|asn| asns.contains(asn)) {
            self.sees_all_of(&lists)?;
        }
        let lifted = asns.iter().copied().filter(|asn| blocked.contains_key(asn));
        let lifted: BTreeSet<_> = lifted.collect();
        let removed = lists.with_upgraded(|lists| {
            let networks = networks.iter();
            let removed = networks.flat_map(|network| lists.remove(network, None));
            removed.collect::<Vec<_>>()
        });
        let blocks = removed
            .iter()
            .map(|block| Change::DeleteBlock(block.network, block.origin));
        let systems = lifted.iter().map(|number| Change::DeleteAsn(*number));
        let changes: Vec<_> = blocks.chain(systems).collect();
        let n_changes = changes.len();
        let receipt = if lifted.is_empty() {
            self.kernel.lock().refresh(&lists, networks, now);
            self.submit(changes)
        } else {
            let edit = |layers: &mut Layers| {
                layers.asns.retain(|number, _| !lifted.contains(number));
            };
            self.change_layers(&mut lists, edit, changes, OnRefusal::GoOn, now)?
        };
        drop(lists);
        durable(receipt)?;
        Ok(n_changes)
    }

    /// Removes every block, list and system.
    pub fn flush(&self, now: Wall) -> Result<Flushed, OperatorError> {
        let mut lists = self.lists_mut();
        let blocks: Vec<_> = lists
            .blocks()
            .map(|block| (block.network, block.origin))
            .collect();
        for (network, origin) in &blocks {
            lists.remove(network, Some(*origin));
        }
        let (named, asns) = if lists.layers().n_layers() > 0 || !lists.layers().lists.is_empty() {
            lists.edit_layers(|layers| {
                let named = std::mem::take(&mut layers.lists);
                (named, std::mem::take(&mut layers.asns))
            })
        } else {
            Default::default()
        };
        let lists = passable(lists);
        // Kept as the kernel's problem.
        let _noted: Result<(), KernelError> = self.kernel.lock().fill(&lists, now);
        let changes = (blocks.iter())
            .map(|(network, origin)| Change::DeleteBlock(*network, *origin))
            .chain(named.keys().cloned().map(Change::DeleteList))
            .chain(asns.keys().copied().map(Change::DeleteAsn))
            // Or a version that can read them would block again what was flushed.
            .chain([Change::SetAsideUnreadable]);
        let receipt = self.submit(changes.collect());
        drop(lists);
        durable(receipt)?;
        let named = named.into_keys().map(Rule::List);
        Ok(Flushed {
            n_blocks: blocks.len(),
            layers: named.chain(asns.into_keys().map(Rule::Asn)).collect(),
        })
    }

    /// Lets networks pass, whatever blocks them.
    pub fn allow(&self, networks: &[IpNet], reason: &str, now: Wall) -> Result<(), OperatorError> {
        self.sees_all()?;
        let mut lists = self.lists_mut();
        if lists.n_allows() + networks.len() > MAX_ALLOWS {
            return Err(OperatorError::TooManyAllows { limit: MAX_ALLOWS });
        }
        let mut changes = Vec::new();
        for network in networks {
            let allow = Allow {
                network: *network,
                created: now,
                reason: reason.to_owned(),
            };
            lists.allow(allow.clone());
            changes.push(Change::PutAllow(allow));
        }
        let lists = passable(lists);
        self.kernel.lock().refresh(&lists, networks, now);
        let receipt = self.submit(changes);
        drop(lists);
        durable(receipt)
    }

    /// Removes networks from the allow list. Returns how many were on it.
    pub fn unallow(&self, networks: &[IpNet], now: Wall) -> Result<usize, OperatorError> {
        self.sees_all()?;
        let mut lists = self.lists_mut();
        let removed: Vec<_> = networks
            .iter()
            .filter_map(|network| lists.unallow(network))
            .collect();
        let lists = passable(lists);
        self.kernel.lock().refresh(&lists, networks, now);
        let changes = removed
            .iter()
            .map(|allow| Change::DeleteAllow(allow.network));
        let receipt = self.submit(changes.collect());
        drop(lists);
        durable(receipt)?;
        Ok(removed.len())
    }

    /// Bounds the mode of edge and kernel. What the configuration says anyway, for good, is no
    /// override but the end of one.
    pub fn set_mode(
        &self,
        mode: Mode,
        duration: Option<Duration>,
        now: Wall,
    ) -> Result<Option<ModeOverride>, OperatorError> {
        if duration.is_some_and(|duration| duration.is_zero()) {
            return Err(OperatorError::NoTime { argument: "--for" });
        }
        let mut bound = self.bound.lock();
        let set = (duration.is_some() || mode != bound.configured).then(|| ModeOverride {
            mode,
            until: duration.map(|duration| now.after(duration)),
        });
        bound.set = set;
        self.kernel.lock().set_mode(bound.effective(now));
        let receipt = self.submit(vec![Change::SetMode(set)]);
        drop(bound);
        durable(receipt)?;
        Ok(set)
    }
}

pub(super) fn durable(
    receipt: Result<crate::store::journal::Receipt, crate::store::StoreError>,
) -> Result<(), OperatorError> {
    let receipt = receipt.map_err(|error| OperatorError::NotDurable(error.to_string()))?;
    receipt
        .wait()
        .map_err(|error| OperatorError::NotDurable(error.to_string()))
}
