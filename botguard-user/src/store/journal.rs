//! The one way into the store while it is in use: a thread that commits what has queued up since
//! its last commit. While one commit waits for the disk, the next group gathers, so that a burst
//! of bans costs few syncs and a single one waits for none but its own.
//!
//! Changes are committed in the order they were queued, also those of different callers: a ban
//! queued before the operator lifted it cannot come back after.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use super::{Change, Store, StoreError};

/// Queues changes for the store. The thread ends when this is dropped, after it has committed
/// everything queued.
#[derive(Debug)]
pub struct Journal {
    queue: Option<SyncSender<Entry>>,
    thread: Option<JoinHandle<()>>,
}

impl Journal {
    /// Starts the writer thread.
    pub fn start(store: Arc<Store>) -> std::io::Result<Self> {
        let (queue, entries) = sync_channel(QUEUE_ENTRIES);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || run(&store, &entries))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Queues a change and returns at once; it is durable a commit later.
    ///
    /// Errors: [`StoreError::Journal`] where the queue is full or the writer gone. The caller
    /// counts it: the kernel has the ban, a restart would not.
    pub fn queue(&self, change: Change) -> Result<(), StoreError> {
        let entry = Entry {
            changes: vec![change],
            done: None,
        };
        match self.queue.as_ref().map(|queue| queue.try_send(entry)) {
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Full(_))) => Err(StoreError::Journal("the change is not kept")),
            Some(Err(TrySendError::Disconnected(_))) | None => Err(STOPPED),
        }
    }

    /// Queues changes that are applied together; the receipt tells when they are on disk.
    pub fn submit(&self, changes: Vec<Change>) -> Result<Receipt, StoreError> {
        let (done, receipt) = sync_channel(1);
        let entry = Entry {
            changes,
            done: Some(done),
        };
        let queue = self.queue.as_ref().ok_or(STOPPED)?;
        queue.send(entry).map_err(|_returned| STOPPED)?;
        Ok(Receipt(receipt))
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by its own hook.
            let _joined: std::thread::Result<()> = thread.join();
        }
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

struct Entry {
    changes: Vec<Change>,
    done: Option<SyncSender<Result<(), Arc<StoreError>>>>,
}

fn run(store: &Store, entries: &Receiver<Entry>) {
    while let Ok(first) = entries.recv() {
        let mut changes = Vec::new();
        let mut waiting = Vec::new();
        let gathered = std::iter::once(first).chain(entries.try_iter().take(QUEUE_ENTRIES));
        for entry in gathered {
            changes.extend(entry.changes);
            waiting.extend(entry.done);
        }
        let result = store.commit(&changes).map_err(Arc::new);
        if let Err(error) = &result {
            metrics::counter!("botguard_store_failed_commits_total").increment(1);
            tracing::error!(%error, changes = changes.len(), "changes are in force but not on disk");
        }
        for done in waiting {
            // A caller that no longer waits does not need the answer.
            let _sent: Result<(), _> = done.send(result.clone());
        }
    }
}
