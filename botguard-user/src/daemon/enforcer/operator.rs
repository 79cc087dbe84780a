//! What an operator changes by command: durable before it is called done.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::Enforcer;
use crate::enforcement::kernel::KernelError;
use crate::store::{Change, ModeOverride};
use crate::words::block::{Allow, Block, Effect, Origin, Scope};
use crate::words::clock::Wall;
use crate::words::mode::Mode;

/// A block as the operator asks for it.
#[derive(Clone, Debug)]
pub struct BlockRequest {
    /// Whom.
    pub networks: Vec<IpNet>,
    /// For how long; `None` is for good.
    pub ttl: Option<Duration>,
    /// Why.
    pub reason: String,
    /// Which packets; `None` is the configuration's scope.
    pub scope: Option<Scope>,
    /// Drop or count.
    pub effect: Effect,
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
    /// Blocks networks: all of them, or none where one is refused. Returns the scope that applies.
    pub fn block(&self, request: BlockRequest, now: Wall) -> Result<Scope, OperatorError> {
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
        let changes = changes.collect();
        self.kernel.lock().refresh(&lists, &request.networks, now);
        let receipt = self.journal.submit(changes);
        drop(lists);
        durable(receipt)?;
        Ok(scope)
    }

    /// Removes the blocks of exactly these networks, of every origin. Returns how many.
    pub fn unblock(&self, networks: &[IpNet], now: Wall) -> Result<usize, OperatorError> {
        let mut lists = self.lists_mut();
        let removed: Vec<_> = networks
            .iter()
            .flat_map(|network| lists.remove(network, None))
            .collect();
        self.kernel.lock().refresh(&lists, networks, now);
        let changes = removed
            .iter()
            .map(|block| Change::DeleteBlock(block.network, block.origin));
        let receipt = self.journal.submit(changes.collect());
        drop(lists);
        durable(receipt)?;
        Ok(removed.len())
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
        // Kept as the kernel's problem.
        let _noted: Result<(), KernelError> = self.kernel.lock().fill(&lists, now);
        let changes = blocks
            .iter()
            .map(|(network, origin)| Change::DeleteBlock(*network, *origin));
        let receipt = self.journal.submit(changes.collect());
        drop(lists);
        durable(receipt)?;
        Ok(blocks.len())
    }

    /// Lets networks pass, whatever blocks them.
    pub fn allow(&self, networks: &[IpNet], reason: &str, now: Wall) -> Result<(), OperatorError> {
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
        let receipt = self.journal.submit(changes);
        drop(lists);
        durable(receipt)
    }

    /// Removes networks from the allow list. Returns how many were on it.
    pub fn unallow(&self, networks: &[IpNet], now: Wall) -> Result<usize, OperatorError> {
        let mut lists = self.lists_mut();
        let removed: Vec<_> = networks
            .iter()
            .filter_map(|network| lists.unallow(network))
            .collect();
        self.kernel.lock().refresh(&lists, networks, now);
        let changes = removed
            .iter()
            .map(|allow| Change::DeleteAllow(allow.network));
        let receipt = self.journal.submit(changes.collect());
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
        let receipt = self.journal.submit(vec![Change::SetMode(set)]);
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
