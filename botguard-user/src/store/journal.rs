//! The one way into the store while it is in use: a thread that commits what has queued up since
//! its last commit. While one commit waits for the disk, the next group gathers, so that a burst
//! of bans costs few syncs and a single one waits for none but its own.
//!
//! Changes are committed in the order they were queued, also those of different callers: a ban
//! queued before the operator lifted it cannot come back after. What could not be committed, as on a
//! full disk, stays in front of the queue and is tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::unreadable::Unreadable;
use super::{Change, Store, StoreError};

/// Queues changes for the store. The thread ends when this is dropped, after it has committed
/// everything queued.
#[derive(Debug)]
pub struct Journal {
    /// `None` once it is closed.
    queue: RwLock<Option<SyncSender<Entry>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    missing: Arc<Missing>,
    unreadable: Arc<Unreadable>,
}

/// Changes that are in force and not in the store.
#[derive(Debug, Default)]
struct Missing {
    /// For good: there was no room to keep them until the store can be written.
    n_lost: AtomicU64,
    /// Until a later commit succeeds.
    n_unwritten: AtomicU64,
}

impl Journal {
    /// Starts the writer thread.
    pub fn start(store: Arc<Store>) -> std::io::Result<Self> {
        let (queue, entries) = sync_channel(QUEUE_ENTRIES);
        let missing = Arc::new(Missing::default());
        let unreadable = Arc::clone(&store.unreadable);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn({
                let missing = Arc::clone(&missing);
                move || run(&store, &entries, &missing)
            })?;
        Ok(Self {
            queue: RwLock::new(Some(queue)),
            thread: Mutex::new(Some(thread)),
            missing,
            unreadable,
        })
    }

    /// Which rows of the store could not be read and are not in force, if any.
    #[must_use]
    pub fn unreadable(&self) -> Option<String> {
        self.unreadable.problem()
    }

    /// Queues a change and returns at once; it is durable a commit later.
    ///
    /// Errors: as [`Self::submit`]. The kernel has the ban, a restart would not.
    pub fn queue(&self, change: Change) -> Result<(), StoreError> {
        self.send(vec![change], None)
    }

    /// Queues changes that are applied together, without waiting; the receipt tells when they are
    /// on disk.
    ///
    /// Errors: [`StoreError::Journal`] where the queue is full or the writer gone.
    pub fn submit(&self, changes: Vec<Change>) -> Result<Receipt, StoreError> {
        let (done, receipt) = sync_channel(1);
        self.send(changes, Some(done))?;
        Ok(Receipt(receipt))
    }

    /// Whether changes wait for the store to be writable again.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.missing.n_unwritten.load(Ordering::Relaxed) > 0
    }

    /// Why the store is not the truth any more, if so: changes are in force that it has not.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let Missing {
            n_lost,
            n_unwritten,
        } = &*self.missing;
        let n_missing = n_lost.load(Ordering::Relaxed) + n_unwritten.load(Ordering::Relaxed);
        (n_missing > 0).then(|| {
            format!(
                "{n_missing} changes could not be written to the store and end with a restart; make \
                 room in `state_dir`, they are tried again every second"
            )
        })
    }

    /// Commits everything queued, and closes the store: another process may open it. What is
    /// queued from here on is refused.
    pub fn close(&self) {
        *self.queue.write() = None;
        if let Some(thread) = self.thread.lock().take() {
            // A panic of the thread has been printed by its own hook.
            let _joined: std::thread::Result<()> = thread.join();
        }
    }

    /// Whether it was.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.queue.read().is_none()
    }

    fn send(&self, changes: Vec<Change>, done: Option<Done>) -> Result<(), StoreError> {
        let n_changes = changes.len() as u64;
        let queue = self.queue.read();
        let queue = queue.as_ref().ok_or(STOPPED)?;
        queue.try_send(Entry { changes, done }).map_err(|refused| {
            self.missing.n_lost.fetch_add(n_changes, Ordering::Relaxed);
            match refused {
                TrySendError::Full(_) => StoreError::Journal("its queue is full"),
                TrySendError::Disconnected(_) => STOPPED,
            }
        })
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

/// The promise of a commit.
#[derive(Debug)]
#[must_use = "changes are durable only once the receipt says so"]
pub struct Receipt(Receiver<Result<(), Arc<StoreError>>>);

impl Receipt {
    /// Waits for the commit.
    pub fn wait(self) -> Result<(), Arc<StoreError>> {
        self.0.recv().unwrap_or_else(|_gone| Err(Arc::new(STOPPED)))
    }
}

const STOPPED: StoreError = StoreError::Journal("its thread has stopped");

/// Bans waiting for one commit of the disk; at 5 ms a commit this is 800,000 bans a second.
const QUEUE_ENTRIES: usize = 4_096;

/// What a store that cannot be written may owe: some 20 MiB.
const UNWRITTEN_CHANGES: usize = 65_536;
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

struct Entry {
    changes: Vec<Change>,
    done: Option<Done>,
}

/// Where a receipt waits.
type Done = SyncSender<Result<(), Arc<StoreError>>>;

fn run(store: &Store, entries: &Receiver<Entry>, missing: &Missing) {
    // Not on disk yet, oldest first.
    let mut changes = Vec::new();
    loop {
        let first = if changes.is_empty() {
            entries.recv().map_err(RecvTimeoutError::from)
        } else {
            entries.recv_timeout(RETRY_INTERVAL)
        };
        let is_over = matches!(first, Err(RecvTimeoutError::Disconnected));
        let is_retry = first.is_err();
        let mut waiting = Vec::new();
        let gathered = first
            .into_iter()
            .chain(entries.try_iter().take(QUEUE_ENTRIES));
        for entry in gathered {
            changes.extend(entry.changes);
            waiting.extend(entry.done);
        }
        if changes.is_empty() && is_over {
            return;
        }
        let result = store.commit(&changes).map_err(Arc::new);
        match &result {
            Ok(()) => changes.clear(),
            Err(error) => {
                metrics::counter!("botguard_store_failed_commits_total").increment(1);
                if !is_retry {
                    let n_changes = changes.len();
                    tracing::error!(%error, n_changes, "changes are in force but not on disk");
                }
                let n_excess = changes.len().saturating_sub(UNWRITTEN_CHANGES);
                changes.truncate(UNWRITTEN_CHANGES);
                missing.n_lost.fetch_add(n_excess as u64, Ordering::Relaxed);
            }
        }
        let n_unwritten = changes.len() as u64;
        missing.n_unwritten.store(n_unwritten, Ordering::Relaxed);
        for done in waiting {
            // A caller that no longer waits does not need the answer.
            let _sent: Result<(), _> = done.send(result.clone());
        }
        if is_over {
            return;
        }
    }
}
