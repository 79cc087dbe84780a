//! The lists in force, and the two copies that follow them: the kernel's maps at once, the store
//! by its journal. The daemon and a CLI without a daemon change them through this one place.
//!
//! **Invariant:** list, kernel and journal see changes in the same order, since each change holds
//! the list's lock until it has passed all three. **Invariant:** what is in the kernel is in the
//! list; what the list has and the kernel has not is a degraded state with a name. Locks are taken
//! in the order bound or list, then kernel.

mod bound;
mod kernel_side;
mod operator;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock, RwLockWriteGuard};

use crate::admin::protocol;
use crate::enforcement::kernel::{KernelError, KernelStats, LocalListener};
use crate::enforcement::list::{BlockList, Covering};
use crate::enforcement::never_block::NeverBlock;
use crate::enforcement::recovery::Recovered;
use crate::enforcement::settings::KernelSettings;
use crate::engine::decision::BanProposal;
use crate::engine::facts::Standing;
use crate::store::journal::Journal;
use crate::store::{Change, Contents};
use crate::words::address::{PeerAddress, host_network};
use crate::words::block::{Allow, Block, Effect, Origin, Scope};
use crate::words::clock::Wall;
use crate::words::mode::Mode;

pub use bound::Bound;
pub use kernel_side::KernelSide;
pub use operator::{BlockRequest, OperatorError};

/// Lists, kernel and journal.
#[derive(Debug)]
pub struct Enforcer {
    lists: RwLock<BlockList>,
    kernel: Mutex<KernelSide>,
    journal: Journal,
    guard: RwLock<Arc<NeverBlock>>,
    bound: Mutex<Bound>,
    default_scope: Scope,
    /// What the store lost before it was opened, if anything.
    store_problem: Option<String>,
}

/// What an enforcer starts from.
#[derive(Debug)]
pub struct Start {
    /// What the store holds.
    pub contents: Contents,
    /// Whether the store has never held anything: what is pinned is then taken over.
    pub store_is_blank: bool,
    /// Set where the store had to be begun anew.
    pub store_problem: Option<String>,
    /// Writes to the store.
    pub journal: Journal,
    /// Whom automatic bans spare.
    pub guard: NeverBlock,
    /// The configuration's global mode.
    pub mode: Mode,
    /// `[kernel] scope`.
    pub default_scope: Scope,
    /// When the kernel is brought to the lists.
    pub fill: Fill,
}

/// When the kernel is brought to the lists of the store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fill {
    /// At once: by the daemon.
    Now,
    /// With the first change: by a command, which may only want to look.
    AtChange,
}

/// What became of an automatic ban.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BanOutcome {
    /// It is in force.
    InForce {
        /// Whether the kernel drops the packets; else the edge alone refuses the requests.
        in_kernel: bool,
        /// Whether it is on its way to the store.
        queued: bool,
    },
    /// Its target is guarded or allowed, for this reason.
    Refused(String),
}

impl Enforcer {
    /// Takes up the lists of the store and brings the kernel to them.
    #[must_use]
    pub fn new(start: Start, kernel: KernelSide, now: Wall) -> Self {
        let contents = if start.store_is_blank {
            recovered(&kernel, &start.journal, now)
        } else {
            start.contents
        };
        let mut list = BlockList::default();
        for block in contents.blocks {
            list.insert(block);
        }
        for allow in contents.allows {
            list.allow(allow);
        }
        let bound = Bound {
            configured: start.mode,
            set: contents.mode,
        };
        let fill = start.fill;
        let enforcer = Self {
            lists: RwLock::new(list),
            kernel: Mutex::new(kernel),
            journal: start.journal,
            guard: RwLock::new(Arc::new(start.guard)),
            bound: Mutex::new(bound),
            default_scope: start.default_scope,
            store_problem: start.store_problem,
        };
        if fill == Fill::Now {
            enforcer.fill(now);
            // After the filling, so that what ended while nobody was there leaves the store as
            // well.
            enforcer.expire(now);
        }
        enforcer
    }

    /// What the engine is told of an address.
    #[must_use]
    pub fn standing(&self, ip: IpAddr, now: Wall) -> Standing {
        self.lists.read().standing(ip, now)
    }

    /// Carries out an automatic ban: list and kernel at once, the store by group commit.
    pub fn ban(&self, ban: BanProposal, now: Wall) -> BanOutcome {
        if let Some(reason) = self.spared(ban.target) {
            return BanOutcome::Refused(reason);
        }
        let network = host_network(ban.target.ip());
        let mut lists = self.lists.write();
        let block = lists.insert(Block {
            network,
            origin: Origin::Automatic,
            scope: self.default_scope,
            effect: Effect::Drop,
            created: now,
            expires: Some(now.after(ban.ttl)),
            reason: ban.reason,
        });
        let change = Change::PutBlock(block.clone());
        let in_kernel = self.kernel.lock().refresh(&lists, &[network], now);
        let queued = match self.journal.queue(change) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, %network, "ban is in force, but not kept across a restart");
                false
            }
        };
        BanOutcome::InForce { in_kernel, queued }
    }

    /// Takes out what has ended, everywhere. The kernel stops by itself at the same time; this
    /// gives the room back.
    pub fn expire(&self, now: Wall) -> usize {
        let mut lists = self.lists.write();
        let ended = lists.expire(now);
        if ended.is_empty() {
            return 0;
        }
        let networks: Vec<_> = ended.iter().map(|block| block.network).collect();
        self.kernel.lock().refresh(&lists, &networks, now);
        for block in &ended {
            let change = Change::DeleteBlock(block.network, block.origin);
            if let Err(error) = self.journal.queue(change) {
                // It is deleted at the next start, where it is expired again.
                tracing::debug!(%error, "expired block stays in the store");
            }
        }
        ended.len()
    }

    /// Sets who is spared from now on.
    pub fn set_guard(&self, guard: NeverBlock) {
        *self.guard.write() = Arc::new(guard);
    }

    /// Tells the kernel what listens here.
    pub fn set_listeners(&self, listeners: &[LocalListener]) {
        self.kernel.lock().set_listeners(listeners);
    }

    /// Why an automatic ban of this address would be refused: it is guarded or allowed.
    #[must_use]
    pub fn spared(&self, target: PeerAddress) -> Option<String> {
        let network = host_network(target.ip());
        if let Some(covered) = self.guard.read().covers(&network) {
            return Some(covered.to_string());
        }
        let lists = self.lists.read();
        let allow = lists.allows_covering(target.ip()).next()?;
        Some(format!("{} is on the allow list", allow.network))
    }

    /// The mode that holds now, with how it came about.
    #[must_use]
    pub fn bound(&self) -> Bound {
        *self.bound.lock()
    }

    /// Sets what the configuration says.
    pub fn set_configured_mode(&self, mode: Mode, now: Wall) {
        let mut bound = self.bound.lock();
        bound.configured = mode;
        self.kernel.lock().set_mode(bound.effective(now));
    }

    /// Ends an override whose time is up. Returns whether the mode changed.
    pub fn end_override(&self, now: Wall) -> bool {
        let mut bound = self.bound.lock();
        if bound.set.is_none_or(|set| set.is_live(now)) {
            return false;
        }
        bound.set = None;
        if let Err(error) = self.journal.queue(Change::SetMode(None)) {
            // An ended override has no effect wherever it is read.
            tracing::debug!(%error, "ended mode override stays in the store");
        }
        self.kernel.lock().set_mode(bound.effective(now));
        true
    }

    /// Blocks and allows in force.
    #[must_use]
    pub fn snapshot(&self, now: Wall) -> (Vec<Block>, Vec<Allow>) {
        let lists = self.lists.read();
        let live = |block: &&Block| crate::enforcement::list::is_live(block, now);
        (
            lists.blocks().filter(live).cloned().collect(),
            lists.allows().cloned().collect(),
        )
    }

    /// Blocks in force of each origin.
    #[must_use]
    pub fn count(&self, origin: Origin) -> usize {
        let lists = self.lists.read();
        lists
            .blocks()
            .filter(|block| block.origin == origin)
            .count()
    }

    /// Live blocks and allows that cover an address, most specific first.
    #[must_use]
    pub fn covering(&self, ip: IpAddr, now: Wall) -> (Vec<Covering>, Vec<Allow>) {
        let lists = self.lists.read();
        (
            lists.covering(ip, now),
            lists.allows_covering(ip).cloned().collect(),
        )
    }

    /// The kernel filter as status shows it.
    #[must_use]
    pub fn kernel(&self) -> protocol::Kernel {
        self.kernel.lock().view()
    }

    /// Attaches the filter anew, or adopts it, and fills it; for `kernel attach`.
    ///
    /// Errors: as [`KernelSide::attach`].
    pub fn attach(&self, settings: &KernelSettings, now: Wall) -> Result<(), KernelError> {
        let attached = self.kernel.lock().attach_again(settings);
        self.fill(now);
        attached
    }

    /// Removes the kernel filter and its pins, whatever their state.
    ///
    /// Errors: there is none, or what the kernel could not remove.
    pub fn detach(&self, pin_dir: &Path) -> Result<(), KernelError> {
        self.kernel.lock().detach(pin_dir)
    }

    /// What does not work as configured.
    #[must_use]
    pub fn degraded(&self) -> Vec<String> {
        let problems = [
            self.store_problem.clone(),
            self.journal.problem(),
            self.kernel_problem(),
        ];
        problems.into_iter().flatten().collect()
    }

    /// Why the kernel does not do what it should, if so.
    #[must_use]
    pub fn kernel_problem(&self) -> Option<String> {
        self.kernel.lock().problem()
    }

    /// The kernel filter's counters, where it can be asked.
    #[must_use]
    pub fn kernel_stats(&self) -> Option<KernelStats> {
        self.kernel.lock().stats()
    }

    /// Entries first, mode last: a filter that was never filled drops nothing meanwhile.
    fn fill(&self, now: Wall) {
        let lists = self.lists.read();
        // Kept as the kernel's problem.
        let _noted: Result<(), KernelError> = self.kernel.lock().fill(&lists, now);
        drop(lists);
        // Held, so that a kill switch thrown meanwhile is not undone.
        let bound = self.bound.lock();
        self.kernel.lock().set_mode(bound.effective(now));
    }

    fn lists_mut(&self) -> RwLockWriteGuard<'_, BlockList> {
        self.lists.write()
    }
}

/// What the kernel holds, put into the store that knows nothing of it; else the next filling would
/// unblock everybody.
fn recovered(kernel: &KernelSide, journal: &Journal, now: Wall) -> Contents {
    let Recovered {
        blocks,
        lists: _,
        asns: _,
        allows,
    } = kernel.recover(now);
    let changes: Vec<_> = (blocks.iter().cloned().map(Change::PutBlock))
        .chain(allows.iter().cloned().map(Change::PutAllow))
        .collect();
    if !changes.is_empty() {
        let (n_blocks, n_allows) = (blocks.len(), allows.len());
        tracing::warn!(
            n_blocks,
            n_allows,
            "the store is empty, took over what is pinned"
        );
        // Together, so that a store with some of them never looks like one with all.
        let receipt = journal.submit(changes);
        if let Err(error) = operator::durable(receipt) {
            tracing::error!(%error, "what is pinned is in force, but not kept across a restart");
        }
    }
    Contents {
        blocks,
        allows,
        mode: None,
    }
}
