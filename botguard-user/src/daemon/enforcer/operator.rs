//! What an operator changes by command: durable before it is called done.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use parking_lot::RwLockWriteGuard;

use super::Enforcer;
use super::asns::BlockedAsn;
use crate::enforcement::layer_index::MAX_LAYERS;
use crate::enforcement::list::BlockList;
use crate::store::{Change, ModeOverride};
use crate::words::block::{Allow, Block, Effect, Origin, Scope};
use crate::words::clock::Wall;
use crate::words::layer::Terms;
use crate::words::mode::Mode;

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
    /// There is no room. The operator's fault; nothing was changed.
    #[error("there are {MAX_LAYERS} lists and systems already; lift some first")]
    TooMany,
    /// A time that has already ended. The operator's fault; nothing was changed.
    #[error("{argument} is less than a second; write a time as in 1h, or leave it out")]
    NoTime {
        /// As the command line calls it.
        argument: &'static str,
    },
    /// In force in list and kernel, but the store failed: it ends with the next restart.
    #[error("in force, but not kept across a restart: {0}")]
    NotDurable(String),
}

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
        let mut lists = self.lists_mut();
        let asns = self.resolve(&lists, &request, scope)?;
        let changes = request.networks.iter().map(|network| {
            let block = lists.insert(Block {
                network: *network,
                origin: Origin::Operator,
                scope,
                effect: request.effect,
                created: now,
                expires: request.ttl.map(|ttl| now.after(ttl)),
                reason: request.reason.clone(),
            });
            Change::PutBlock(block.clone())
        });
        let mut changes: Vec<_> = changes.collect();
        let terms = Terms {
            scope,
            effect: request.effect,
            created: now,
            reason: request.reason,
        };
        let expires = request.ttl.map(|ttl| now.after(ttl));
        changes.extend(Self::insert_asns(&mut lists, &asns, &terms, expires));
        self.follow(lists, &request.networks, !asns.is_empty(), changes, now)?;
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
        let mut lists = self.lists_mut();
        let lifts_all = lists.layers().asns.keys().all(|asn| asns.contains(asn));
        if !lifts_all {
            self.sees_all_of(&lists)?;
        }
        let removed: Vec<_> = networks
            .iter()
            .flat_map(|network| lists.remove(network, None))
            .collect();
        let changes = removed
            .iter()
            .map(|block| Change::DeleteBlock(block.network, block.origin));
        let mut changes: Vec<_> = changes.collect();
        let lifted = Self::remove_asns(&mut lists, asns);
        let is_layered = !lifted.is_empty();
        changes.extend(lifted);
        let n_changes = changes.len();
        self.follow(lists, networks, is_layered, changes, now)?;
        Ok(n_changes)
    }

    /// Has kernel and store follow the list: the kernel at these networks or, where layers have
    /// changed, in all. Requests are answered meanwhile.
    fn follow(
        &self,
        lists: RwLockWriteGuard<'_, BlockList>,
        networks: &[IpNet],
        is_layered: bool,
        changes: Vec<Change>,
        now: Wall,
    ) -> Result<(), OperatorError> {
        let lists = RwLockWriteGuard::downgrade(lists);
        if is_layered {
            self.kernel.lock().fill(&lists, now);
        } else {
            self.kernel.lock().refresh(&lists, networks, now);
        }
        let receipt = self.submit(changes);
        drop(lists);
        durable(receipt)
    }

    /// Removes every block. Returns how many.
    pub fn flush(&self, now: Wall) -> Result<usize, OperatorError> {
        let mut lists = self.lists_mut();
        let blocks: Vec<_> = lists
            .blocks()
            .map(|block| (block.network, block.origin))
            .collect();
        for (network, origin) in &blocks {
            lists.remove(network, Some(*origin));
        }
        let asns: Vec<_> = lists.layers().asns.keys().copied().collect();
        let lifted = Self::remove_asns(&mut lists, &asns);
        self.kernel.lock().fill(&lists, now);
        let changes = blocks
            .iter()
            .map(|(network, origin)| Change::DeleteBlock(*network, *origin));
        let changes: Vec<_> = changes.chain(lifted).collect();
        let n_changes = changes.len();
        let receipt = self.submit(changes);
        drop(lists);
        durable(receipt)?;
        Ok(n_changes)
    }

    /// Lets networks pass, whatever blocks them.
    pub fn allow(&self, networks: &[IpNet], reason: &str, now: Wall) -> Result<(), OperatorError> {
        self.sees_all()?;
        let mut lists = self.lists_mut();
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
