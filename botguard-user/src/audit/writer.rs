//! Appends records in a thread of its own. Traffic never waits for the disk: a record that finds
//! the queue full, or the disk, is lost, counted, and reported by a `gap` record as soon as one
//! can be written.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

use super::record::{Event, GapRecord, Record, Timestamp, VERSION};
use super::search;
use crate::words::clock::Wall;

/// The open log. Dropped, it writes what is queued and ends.
#[derive(Debug)]
pub struct AuditLog {
    queue: Option<SyncSender<Command>>,
    thread: Option<JoinHandle<()>>,
    lost: Arc<AtomicU64>,
}

/// The log could not be opened. The configuration's fault.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the audit log {}: {source}; `[audit] path` names it", path.display())]
pub struct AuditError {
    path: PathBuf,
    source: io::Error,
}

impl AuditLog {
    /// Opens `path` for appending, making it and its directory if they are missing, and starts
    /// the writer.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let failed = |source| AuditError {
            path: path.to_owned(),
            source,
        };
        let file = open_append(path).map_err(failed)?;
        let last = search::last_sequence(path).map_err(failed)?;
        let lost = Arc::new(AtomicU64::new(0));
        let (queue, commands) = sync_channel(QUEUE_RECORDS);
        let mut writer = Writer {
            path: path.to_owned(),
            file,
            next_sequence: last.map_or(0, |last| last + 1),
            lost: Arc::clone(&lost),
            reported_lost: 0,
            pending: Pending::default(),
            line_is_open: ends_torn(path).map_err(failed)?,
        };
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run(&commands))
            .map_err(failed)?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
            lost,
        })
    }

    /// Queues a record. Never blocks.
    pub fn record(&self, at: Wall, event: Event) {
        let queued = self
            .queue
            .as_ref()
            .is_some_and(|queue| queue.try_send(Command::Append(at, event)).is_ok());
        if !queued {
            lose(&self.lost, 1);
        }
    }

    /// Opens the file anew, after the records queued so far: after a rotation.
    pub fn reopen(&self) {
        self.command(Command::Reopen);
    }

    /// Waits until the records queued so far were handed to the operating system.
    pub fn flush(&self) {
        let (done, flushed) = sync_channel(1);
        self.command(Command::Flush(done));
        // An error means that the writer is gone, and with it whatever could be waited for.
        let _flushed: Result<(), _> = flushed.recv();
    }

    /// Records lost since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn command(&self, command: Command) {
        if let Some(queue) = &self.queue {
            // The writer only ends when the queue is dropped.
            let _sent: Result<(), _> = queue.send(command);
        }
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by its own hook.
            let _joined: std::thread::Result<()> = thread.join();
        }
    }
}

/// About 2 KiB each; a second of traffic at the rate of one core.
const QUEUE_RECORDS: usize = 16_384;

/// Written at once when this much has gathered, though more is queued.
const BATCH_BYTES: usize = 256 * 1024;

enum Command {
    Append(Wall, Event),
    Reopen,
    Flush(SyncSender<()>),
}

struct Writer {
    path: PathBuf,
    file: File,
    next_sequence: u64,
    /// All that were lost, shared with the callers.
    lost: Arc<AtomicU64>,
    /// Those of them that a `gap` record has told of. `reported_lost <= lost`.
    reported_lost: u64,
    pending: Pending,
    /// Whether the file may end in the middle of a line.
    line_is_open: bool,
}

/// Rendered lines that were not written yet.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    n_records: u64,
}

impl Writer {
    fn run(&mut self, commands: &Receiver<Command>) {
        loop {
            let command = match commands.try_recv() {
                Ok(command) => command,
                Err(TryRecvError::Empty) => {
                    // Nothing more to gather: whoever follows the file sees it now.
                    self.write_pending();
                    match commands.recv() {
                        Ok(command) => command,
                        Err(_closed) => return,
                    }
                }
                Err(TryRecvError::Disconnected) => return self.write_pending(),
            };
            match command {
                Command::Append(at, event) => {
                    self.append(at, event);
                    if self.pending.bytes.len() >= BATCH_BYTES {
                        self.write_pending();
                    }
                }
                Command::Reopen => {
                    self.write_pending();
                    self.reopen();
                }
                Command::Flush(done) => {
                    self.write_pending();
                    // A caller that no longer waits does not need the answer.
                    let _sent: Result<(), _> = done.send(());
                }
            }
        }
    }

    fn append(&mut self, at: Wall, event: Event) {
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > self.reported_lost {
            let gap = GapRecord {
                lost: lost - self.reported_lost,
            };
            self.reported_lost = lost;
            self.render(at, Event::Gap(gap));
        }
        self.render(at, event);
    }

    fn render(&mut self, at: Wall, event: Event) {
        let record = Record {
            v: VERSION,
            seq: self.next_sequence,
            ts: Timestamp(at),
            event,
        };
        match record.to_line() {
            Ok(line) => {
                self.next_sequence += 1;
                self.pending.bytes.extend_from_slice(&line);
                self.pending.n_records += 1;
            }
            Err(error) => {
                tracing::error!(%error, "audit record cannot be rendered");
                lose(&self.lost, 1);
            }
        }
    }

    fn write_pending(&mut self) {
        let Pending { bytes, n_records } = std::mem::take(&mut self.pending);
        if bytes.is_empty() {
            return;
        }
        let result = if self.line_is_open {
            self.file.write_all(b"\n")
        } else {
            Ok(())
        };
        if let Err(error) = result.and_then(|()| self.file.write_all(&bytes)) {
            tracing::error!(%error, path = %self.path.display(), n_records, "audit records lost");
            // Some of the lines may be whole in the file; to say more than were lost is the
            // honest side to be wrong on. The gap record itself may have been among them.
            lose(&self.lost, n_records);
            self.line_is_open = true;
        } else {
            self.line_is_open = false;
        }
    }

    fn reopen(&mut self) {
        match open_append(&self.path) {
            Ok(file) => self.file = file,
            Err(error) => {
                tracing::error!(%error, path = %self.path.display(), "audit log not reopened, the old file stays");
            }
        }
    }
}

fn lose(lost: &AtomicU64, n_records: u64) {
    lost.fetch_add(n_records, Ordering::Relaxed);
    metrics::counter!("botguard_audit_lost_total").increment(n_records);
}

/// Whether a crash left a line without its end.
fn ends_torn(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn open_append(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent()
        && !directory.as_os_str().is_empty()
    {
        DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(directory)?;
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

#[cfg(test)]
mod tests;
