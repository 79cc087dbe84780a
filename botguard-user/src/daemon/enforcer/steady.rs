//! The time by which blocks end, for a process: the wall clock as it was when last looked at,
//! carried on by the time since boot. So a step of the wall clock moves no end before it is seen,
//! and when it is seen all ends move with it, in list and store; the kernel's are right as they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use parking_lot::{Mutex, RwLock};

use super::Enforcer;
use crate::enforcement::clock_watch::{ClockWatch, Reading};
use crate::enforcement::list::BlockList;
use crate::store::journal::Receipt;
use crate::store::{Change, StoreError};
use crate::words::clock::{BootClock, Monotonic, Now, Step, Wall, WallOffset};

/// The clock of an enforcer.
#[derive(Debug)]
pub(super) struct Steady {
    offset_ms: AtomicI64,
    watch: Mutex<ClockWatch>,
    boot_id: String,
    /// Whether the store knows boot and offset.
    is_kept: AtomicBool,
    /// Held by whoever works with a time, so that it does not move meanwhile.
    gate: RwLock<()>,
}

impl Steady {
    pub(super) fn new(watch: ClockWatch, boot_id: String, is_kept: bool) -> Self {
        Self {
            offset_ms: AtomicI64::new(watch.offset().as_ms()),
            watch: Mutex::new(watch),
            boot_id,
            is_kept: AtomicBool::new(is_kept),
            gate: RwLock::new(()),
        }
    }

    fn offset(&self) -> WallOffset {
        WallOffset::from_ms(self.offset_ms.load(Ordering::Relaxed))
    }

    fn kept(&self) -> Change {
        Change::SetClock(BootClock {
            boot_id: self.boot_id.clone(),
            offset: self.offset(),
        })
    }
}

/// Everything in the lists that ends.
pub(super) fn with_ends(lists: &BlockList) -> Vec<Change> {
    let blocks = lists.blocks().filter(|block| block.expires.is_some());
    let named = lists.layers().lists.values();
    let named = named.filter(|list| list.groups.iter().any(|group| group.expires.is_some()));
    let asns = lists.layers().asns.values();
    let asns = asns.filter(|(block, _networks)| block.expires.is_some());
    (blocks.cloned().map(Change::PutBlock))
        .chain(named.map(|list| Change::PutList(Arc::new(list.clone()))))
        .chain(asns.map(|(block, _networks)| Change::PutAsn(block.clone())))
        .collect()
}

impl Enforcer {
    /// What the clock that ends are kept by is ahead of the time since boot.
    #[must_use]
    pub fn clock_offset(&self) -> WallOffset {
        self.steady.offset()
    }

    /// The present, by the clock that ends are kept by.
    #[must_use]
    pub fn now(&self) -> Wall {
        self.steady.offset().wall_at(Monotonic::read())
    }

    /// Does `work` with the present; a step of the wall clock is taken up before or after it.
    pub fn timed<R>(&self, work: impl FnOnce(Wall) -> R) -> R {
        // Recursive: what is timed may use what is.
        let _gate = self.steady.gate.read_recursive();
        work(self.now())
    }

    /// Takes up what the clocks did since the last call: a step of the wall clock moves all ends
    /// with it, a suspend has the kernel filled anew. To be called each second.
    pub fn follow_clock(&self, now: Now) {
        let kernel = self.kernel.lock().running_time(now.wall);
        let looked = self.steady.watch.lock().look(Reading { now, kernel });
        if let Some(step) = looked.step {
            tracing::warn!(
                step_ms = step.as_ms(),
                "the wall clock was stepped; the ends of blocks move with it"
            );
            self.take_step(step);
        }
        if looked.kernel_lags {
            tracing::info!("the kernel's clock stood still, its entries get their ends anew");
            self.fill(self.now());
        }
    }

    fn take_step(&self, step: Step) {
        let _gate = self.steady.gate.write();
        let mut lists = self.lists.write();
        lists.shift_ends(step);
        let mut changes = with_ends(&lists);
        changes.extend(self.overrides.shift_ends(step));
        changes.push(Change::ShiftMemos(step));
        let mut bound = self.bound.lock();
        bound.set = bound.set.map(|set| set.shifted(step));
        if let Some(set) = bound.set
            && set.until.is_some()
        {
            changes.push(Change::SetMode(Some(set)));
        }
        (self.steady.offset_ms).fetch_add(step.as_ms(), Ordering::Relaxed);
        self.steady.is_kept.store(false, Ordering::Relaxed);
        if let Err(error) = self.submit(changes) {
            tracing::error!(%error, "moved ends are in force, but not kept across a restart");
        }
    }

    /// Queues changes for the store, and with the first ones the clock that their ends are kept by.
    pub(super) fn submit(&self, mut changes: Vec<Change>) -> Result<Receipt, StoreError> {
        let is_kept = self.steady.is_kept.load(Ordering::Relaxed);
        if !is_kept {
            changes.push(self.steady.kept());
        }
        let receipt = self.journal.submit(changes)?;
        self.steady.is_kept.store(true, Ordering::Relaxed);
        Ok(receipt)
    }

    /// [`Self::submit`], where nobody waits.
    pub(super) fn queue(&self, change: Change) -> Result<(), StoreError> {
        if self.steady.is_kept.load(Ordering::Relaxed) {
            return self.journal.queue(change);
        }
        self.submit(vec![change]).map(|_receipt| ())
    }
}
