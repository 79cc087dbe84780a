//! The lists in force, and the two copies that follow them: the kernel's maps at once, the store
//! by its journal. The daemon and a CLI without a daemon change them through this one place.
//!
//! **Invariant:** list, kernel and journal see changes in the same order, since each change holds
//! the list's lock until it has passed all three. **Invariant:** what is in the kernel is in the
//! list; what the list has and the kernel has not is a degraded state with a name. Locks are taken
//! in the order bound or list, then kernel.

mod asns;
mod bound;
mod ending;
mod kernel_side;
mod keys;
mod lists;
mod memory;
mod operator;
mod recovered;
mod released;
mod spared;
mod steady;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock, RwLockWriteGuard};

use crate::admin::protocol;
use crate::enforcement::clock_watch::{ClockWatch, Reading};
use crate::enforcement::kernel::{KernelError, KernelStats, LocalListener};
use crate::enforcement::layers::{Layers, Prepared};
use crate::enforcement::list::{BlockList, Covering};
use crate::enforcement::never_block::NeverBlock;
use crate::enforcement::settings::KernelSettings;
use crate::engine::decision::BanProposal;
use crate::engine::facts::Standing;
use crate::store::journal::Journal;
use crate::store::{Change, Contents};
use crate::words::address::host_network;
use crate::words::block::{Allow, Block, Effect, Origin, Scope};
use crate::words::clock::{Now, Wall};
use crate::words::mode::Mode;

use self::keys::Overrides;
use self::lists::passable;
use self::memory::Memory;
use self::steady::Steady;

pub use asns::{AsnSource, BlockedAsn, ListedAsn};
pub use bound::Bound;
pub use kernel_side::KernelSide;
pub use lists::{Exported, ImportRequest, Imported};
pub use operator::{BlockRequest, Blocked, Flushed, OperatorError};

/// Lists, kernel and journal.
#[derive(Debug)]
pub struct Enforcer {
    lists: RwLock<BlockList>,
    kernel: Mutex<KernelSide>,
    journal: Journal,
    guard: RwLock<Arc<NeverBlock>>,
    bound: Mutex<Bound>,
    default_scope: Scope,
    /// Taken last of all.
    asn_source: Mutex<AsnSource>,
    steady: Steady,
    overrides: Overrides,
    memory: Memory,
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
    /// Where the networks of blocked systems are known from.
    pub asns: AsnSource,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// The present, read closely.
    pub clock: Now,
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
            recovered::from(&kernel, &start.journal, now)
        } else {
            start.contents
        };
        let reading = Reading {
            now: start.clock,
            kernel: kernel.running_time(now),
        };
        let (watch, missed) = ClockWatch::start(contents.clock.as_ref(), &start.boot_id, reading);
        let is_kept = contents
            .clock
            .as_ref()
            .is_some_and(|kept| kept.boot_id == start.boot_id && kept.offset == watch.offset());
        let mut bound = Bound {
            configured: start.mode,
            set: contents.mode,
        };
        let mut list = BlockList::default();
        for block in contents.blocks {
            list.insert(block);
        }
        for allow in contents.allows {
            list.allow(allow);
        }
        let mut layers = Layers {
            spared: lists::spared_by(&start.guard),
            ..Layers::default()
        };
        let fill = start.fill;
        for named in contents.lists {
            layers.lists.insert(named.name.clone(), named);
        }
        for block in contents.asns {
            let networks = Arc::new(start.asns.networks(block.number));
            layers.asns.insert(block.number, (block, networks));
        }
        list.swap_layers(Prepared::new(layers));
        let overrides = Overrides::new(contents.overrides);
        let (memory, mut moved) = Memory::start(contents.memos, missed, now);
        if let Some(step) = missed {
            tracing::warn!(
                step_ms = step.as_ms(),
                "the wall clock was stepped meanwhile; the ends of blocks move with it"
            );
            list.shift_ends(step);
            bound.set = bound.set.map(|set| set.shifted(step));
            moved.extend(steady::with_ends(&list));
            moved.extend(overrides.shift_ends(step));
            moved.extend(bound.set.map(|set| Change::SetMode(Some(set))));
        }
        let has_ends = !moved.is_empty()
            || !memory.is_empty()
            || !overrides.with_ends().is_empty()
            || !steady::with_ends(&list).is_empty();
        let is_to_be_told = !moved.is_empty() || (has_ends && !is_kept);
        let enforcer = Self {
            lists: RwLock::new(list),
            kernel: Mutex::new(kernel),
            journal: start.journal,
            guard: RwLock::new(Arc::new(start.guard)),
            bound: Mutex::new(bound),
            default_scope: start.default_scope,
            asn_source: Mutex::new(start.asns),
            steady: Steady::new(watch, start.boot_id, is_kept),
            overrides,
            memory,
            store_problem: start.store_problem,
        };
        // Ends that the next start is to read by another clock are useless without this one.
        if is_to_be_told && let Err(error) = enforcer.submit(moved) {
            tracing::error!(%error, "the clock is not kept across a restart");
        }
        if let Err(error) = enforcer.sees_all() {
            tracing::warn!("{error}");
            return enforcer;
        }
        if fill == Fill::AtChange {
            return enforcer;
        }
        enforcer.fill(now);
        // After the filling, so that what ended while nobody was there leaves the store as well.
        enforcer.expire(now);
        enforcer
    }

    /// What the engine is told of an address.
    #[must_use]
    pub fn standing(&self, ip: IpAddr, now: Wall) -> Standing {
        self.lists.read().standing(ip, now)
    }

    /// Carries out an automatic ban: list and kernel at once, the store by group commit.
    pub fn ban(&self, ban: BanProposal, now: Wall) -> BanOutcome {
        if self.is_released() {
            return BanOutcome::Refused(released::REASON.to_owned());
        }
        if let Some(reason) = self.spared(ban.target) {
            return BanOutcome::Refused(reason);
        }
        // Somebody guarded in the network keeps it narrow, as a good principal would.
        let network = match self.spared_in(&ban.network) {
            None => ban.network,
            Some(_guarded) => host_network(ban.target.ip()),
        };
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
        let lists = passable(lists);
        let in_kernel = self.kernel.lock().refresh(&lists, &[network], now);
        let queued = match self.queue(change) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, %network, "ban is in force, but not kept across a restart");
                false
            }
        };
        BanOutcome::InForce { in_kernel, queued }
    }

    /// Sets who is spared from now on; lists and systems that hold somebody of them let go.
    pub fn set_guard(&self, guard: NeverBlock, now: Wall) {
        let spared = lists::spared_by(&guard);
        *self.guard.write() = Arc::new(guard);
        self.spare(spared, now);
    }

    /// Tells the kernel what listens here.
    pub fn set_listeners(&self, listeners: &[LocalListener]) {
        self.kernel.lock().set_listeners(listeners);
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
        self.lists.read().count(origin)
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
        let n_entries = self.lists.read().n_networks() as u64;
        self.kernel.lock().view(n_entries)
    }

    /// Whether the kernel is being changed at this moment; a filling may take a while.
    #[must_use]
    pub fn is_kernel_busy(&self) -> bool {
        self.kernel.try_lock().is_none()
    }

    /// Fills the kernel where an earlier filling failed and its time to be tried again has come.
    pub fn retry_filling(&self, now: Wall) {
        if self.kernel.lock().is_retry_due(now) {
            self.fill(now);
        }
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
            self.journal.unreadable(),
            self.kernel_problem(),
            self.asn_problem(),
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
        // Upgradable, since a ban that waits behind a reader has all other readers wait as well.
        let lists = self.lists.upgradable_read();
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

#[cfg(test)]
mod tests;
