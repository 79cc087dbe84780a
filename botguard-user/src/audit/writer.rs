//! Appends records in a thread of its own. Traffic never waits for the disk: a record that finds
//! the queue full, or the disk for long, is lost, counted, and reported by a `gap` record as soon
//! as one can be written. With `[audit] strict` there is [`AuditLog::admits`] to ask beforehand.
//!
//! Memory: at most `QUEUE_RECORDS` records of about 4 KiB each (64 MiB), and what `appender`
//! retains (8 MiB). Heads are bounded to 64 KiB by the edge, so that records of nothing but the
//! largest heads come to 1 GiB.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::AuditSettings;
use super::appender::Appender;
use super::archive::{Archive, Chores};
use super::health::Health;
use super::record::Event;
use super::rotation::{Rotate, open_append};
use crate::words::clock::Wall;

/// The open log. Dropped, it writes what is queued and ends.
#[derive(Debug)]
pub struct AuditLog {
    queue: Option<SyncSender<Command>>,
    thread: Option<JoinHandle<()>>,
    health: Arc<Health>,
    unrecorded: Unrecorded,
}

/// What becomes of a request that cannot be recorded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Unrecorded {
    Passes,
    IsRefused,
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
    /// the writer. It does not rotate: for commands.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let health = Arc::default();
        let appender = Appender::open(path, Rotate::Off, None, Arc::clone(&health));
        Self::running(appender, health, Unrecorded::Passes).map_err(at(path))
    }

    /// The same for the daemon, which rotates.
    pub fn start(settings: &AuditSettings, now: Wall) -> Result<Self, AuditError> {
        let path = &settings.path;
        // The directory, before anything looks for rotated files in it.
        open_append(path).map_err(at(path))?;
        let health = Arc::default();
        let chores = Chores {
            log: path.clone(),
            keep: settings.keep,
            compress: settings.compress,
        };
        let archive = match settings.rotate {
            Rotate::Off => None,
            Rotate::At(_) => {
                Some(Archive::start(chores, Arc::clone(&health), now).map_err(at(path))?)
            }
        };
        let appender = Appender::open(path, settings.rotate, archive, Arc::clone(&health));
        let unrecorded = match settings.strict {
            true => Unrecorded::IsRefused,
            false => Unrecorded::Passes,
        };
        Self::running(appender, health, unrecorded).map_err(at(path))
    }

    fn running(
        appender: io::Result<Appender>,
        health: Arc<Health>,
        unrecorded: Unrecorded,
    ) -> io::Result<Self> {
        let mut writer = Writer {
            sink: Sink::File(Box::new(appender?)),
            health: Arc::clone(&health),
        };
        let (queue, commands) = sync_channel(QUEUE_RECORDS);
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run(&commands))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
            health,
            unrecorded,
        })
    }

    /// Queues a record. Never blocks.
    pub fn record(&self, at: Wall, event: Event) {
        self.health.enqueue();
        let queued = self
            .queue
            .as_ref()
            .is_some_and(|queue| queue.try_send(Command::Append(at, event)).is_ok());
        if !queued {
            self.health.dequeue();
            self.health.lose(1);
        }
    }

    /// Whether a request may pass as far as this log is concerned: always, but with `strict` only
    /// while [`Self::is_recording`]. Two atomic reads.
    #[must_use]
    pub fn admits(&self) -> bool {
        match self.unrecorded {
            Unrecorded::Passes => true,
            Unrecorded::IsRefused => self.is_recording(),
        }
    }

    /// Whether what is recorded now will be in the file: the last write succeeded, and the last
    /// quarter of the queue is free for requests that were admitted before.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        !self.health.is_failing() && self.health.n_queued() < QUEUE_RECORDS / 4 * 3
    }

    /// Opens the file anew, after the records queued so far: after a rotation by others.
    pub fn reopen(&self) {
        self.command(Command::Reopen);
    }

    /// Waits until the records queued so far were handed to the operating system, or are known to
    /// wait for the disk.
    pub fn flush(&self) {
        let (done, flushed) = sync_channel(1);
        self.command(Command::Flush(done));
        // An error means that the writer is gone, and with it whatever could be waited for.
        let _flushed: Result<(), _> = flushed.recv();
    }

    /// Gives up the file, once what was queued is in it. Every record from here on goes to `outlet`,
    /// in the writer's thread.
    pub fn hand_over(&self, outlet: Box<dyn Outlet>) {
        let (done, given_up) = sync_channel(1);
        self.command(Command::HandOver(outlet, done));
        // As in `flush`.
        let _given_up: Result<(), _> = given_up.recv();
    }

    /// Records lost since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.health.n_lost()
    }

    /// What does not work as configured; empty is well.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        self.health.problems()
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

fn at(path: &Path) -> impl Fn(io::Error) -> AuditError {
    move |source| AuditError {
        path: path.to_owned(),
        source,
    }
}

/// A second of traffic at the rate of one core.
const QUEUE_RECORDS: usize = 16_384;

enum Command {
    Append(Wall, Event),
    Reopen,
    Flush(SyncSender<()>),
    HandOver(Box<dyn Outlet>, SyncSender<()>),
}

/// Takes records in place of the file.
pub trait Outlet: Send {
    /// Passes a record on; may block until somebody takes it.
    ///
    /// Errors: nobody does. It is lost, and counted.
    fn pass(&mut self, at: Wall, event: Event) -> io::Result<()>;
}

struct Writer {
    sink: Sink,
    health: Arc<Health>,
}

/// Where records go.
enum Sink {
    File(Box<Appender>),
    Outlet(Box<dyn Outlet>),
}

impl Sink {
    /// Errors: it is lost.
    fn take(&mut self, at: Wall, event: Event) -> io::Result<()> {
        match self {
            Self::File(appender) => {
                appender.append(at, event);
                if appender.has_batch() {
                    appender.write();
                }
                Ok(())
            }
            Self::Outlet(outlet) => outlet.pass(at, event),
        }
    }

    /// Has the file do something, if it is still this process's.
    fn file(&mut self, work: impl FnOnce(&mut Appender)) {
        if let Self::File(appender) = self {
            work(appender);
        }
    }
}

impl Writer {
    fn run(&mut self, commands: &Receiver<Command>) {
        loop {
            match commands.try_recv() {
                Ok(command) => self.obey(command),
                Err(TryRecvError::Empty) => {
                    // Nothing more to gather: whoever follows the file sees it now.
                    self.sink.file(Appender::write);
                    let Ok(command) = commands.recv() else {
                        return self.sink.file(Appender::close);
                    };
                    let is_record = matches!(command, Command::Append(..));
                    self.obey(command);
                    if is_record {
                        gather();
                    }
                }
                Err(TryRecvError::Disconnected) => return self.sink.file(Appender::close),
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Append(at, event) => {
                self.health.dequeue();
                if let Err(error) = self.sink.take(at, event) {
                    self.health.lose(1);
                    tracing::error!(%error, "an audit record is lost");
                }
            }
            Command::Reopen => self.sink.file(Appender::reopen),
            Command::HandOver(outlet, done) => {
                self.sink.file(Appender::close);
                // The file is closed before the answer.
                self.sink = Sink::Outlet(outlet);
                // As below.
                let _sent: Result<(), _> = done.send(());
            }
            Command::Flush(done) => {
                self.sink.file(Appender::write_now);
                // A caller that no longer waits does not need the answer.
                let _sent: Result<(), _> = done.send(());
            }
        }
    }
}

/// Lets records come together. A thread that waits at the queue is woken by the one that serves,
/// which costs that several microseconds for each record; one that sleeps is not.
#[expect(
    clippy::disallowed_methods,
    reason = "there is no event to wait for: the point is not to be told"
)]
fn gather() {
    std::thread::sleep(GATHER);
}

/// Until a record is in the file, about; at a hundred thousand records a second, a hundred of the
/// queue's places are taken meanwhile.
const GATHER: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests;
