//! Audit records of a daemon that has handed over and still serves its last connections: it brings
//! them to the daemon that runs now, which appends them, numbered like its own. So the file has one
//! writer at any time, and every request its one record.
//!
//! ```text
//! this:  "records 1"      to the handover socket of whoever runs
//! other: "+"
//! this:  a record, as a line of the log; its number does not count
//! other: "+" it is mine, or "-" I cannot read it
//! ```
//!
//! A record counts as delivered when it was answered; one that was not goes to the next daemon, after
//! a `kill -9` or another takeover. Where none runs, the record is appended under the lock of the
//! state directory, which no daemon has then.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{closings, handover};
use crate::audit::record::{Event, Record, Timestamp, VERSION};
use crate::audit::writer::{AuditLog, Outlet};
use crate::edge::connections::Connections;
use crate::store::lock::StateLock;
use crate::words::clock::{Monotonic, Wall};

pub(super) const REQUEST: &str = "records 1\n";
const YES: u8 = b'+';
const NO: u8 = b'-';

/// Heads are bounded to 64 KiB, so a record is far shorter.
const MAX_LINE_BYTES: u64 = 4 << 20;

/// An answer takes as long as it takes to put the record into a queue.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A daemon that starts has the lock, and no door, until its tables are filled.
const PATIENCE: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(50);

/// The way of records to whoever runs.
#[derive(Debug)]
pub(super) struct Relay {
    state_dir: PathBuf,
    /// For where nobody does.
    audit_path: PathBuf,
    stream: Option<UnixStream>,
    /// The last record found nobody: the next one does not wait.
    is_deserted: bool,
}

impl Relay {
    pub(super) const fn new(state_dir: PathBuf, audit_path: PathBuf) -> Self {
        Self {
            state_dir,
            audit_path,
            stream: None,
            is_deserted: false,
        }
    }

    fn send(&mut self, line: &[u8]) -> io::Result<Taken> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        stream.write_all(line)?;
        let taken = answer(&mut stream)?;
        self.stream = Some(stream);
        Ok(taken)
    }

    fn connect(&self) -> io::Result<UnixStream> {
        let mut stream = UnixStream::connect(handover::path(&self.state_dir))?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        stream.write_all(REQUEST.as_bytes())?;
        match answer(&mut stream)? {
            Taken::Yes => Ok(stream),
            Taken::No => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }

    /// Whoever has the lock is the only one who writes.
    fn append(&self, at: Wall, event: &Event) -> io::Result<()> {
        let _alone = StateLock::take(&self.state_dir, Duration::ZERO).map_err(io::Error::other)?;
        let log = AuditLog::open(&self.audit_path).map_err(io::Error::other)?;
        log.record(at, event.clone());
        log.flush();
        match log.is_recording() {
            true => Ok(()),
            false => Err(io::Error::other("the audit log cannot be written")),
        }
    }
}

impl Outlet for Relay {
    fn pass(&mut self, at: Wall, event: Event) -> io::Result<()> {
        let record = Record {
            v: VERSION,
            seq: 0,
            ts: Timestamp(at),
            event,
        };
        let mut line = Vec::new();
        record.append_line(&mut line)?;
        let began = Monotonic::read();
        loop {
            match self.send(&line) {
                Ok(Taken::Yes) => break,
                Ok(Taken::No) => {
                    return Err(io::Error::other("the daemon that runs cannot read it"));
                }
                Err(error) => tracing::debug!(%error, "no daemon takes an audit record"),
            }
            match self.append(at, &record.event) {
                Ok(()) => break,
                Err(error) if self.is_deserted || Monotonic::read().since(began) > PATIENCE => {
                    self.is_deserted = true;
                    return Err(error);
                }
                Err(_held) => pause(),
            }
        }
        self.is_deserted = false;
        Ok(())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "in the writer's own thread; nobody tells when the next daemon has opened its door"
)]
fn pause() {
    std::thread::sleep(PAUSE);
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Taken {
    Yes,
    No,
}

fn answer(stream: &mut UnixStream) -> io::Result<Taken> {
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    match answer {
        [YES] => Ok(Taken::Yes),
        _ => Ok(Taken::No),
    }
}

/// Where daemons before this one bring their records, and hear whom to close.
#[derive(Clone, Debug)]
pub(super) struct Inbox {
    audit: Arc<AuditLog>,
    connections: Arc<Connections>,
    tasks: TaskTracker,
    end: CancellationToken,
}

impl Inbox {
    pub(super) fn new(audit: Arc<AuditLog>, connections: Arc<Connections>) -> Self {
        Self {
            audit,
            connections,
            tasks: TaskTracker::new(),
            end: CancellationToken::new(),
        }
    }

    /// Tells of connections to be closed, beside everything else. Needs a tokio runtime.
    pub(super) fn tell_closings(&self, stream: UnixStream) -> io::Result<()> {
        let announcements = self.connections.announcements();
        let stream = asynchronous(stream)?;
        let end = self.end.clone();
        self.tasks.spawn(async move {
            if let Err(error) = closings::tell(stream, announcements, &end).await {
                tracing::debug!(%error, "an earlier daemon that closes connections");
            }
        });
        Ok(())
    }

    /// Takes records in, beside everything else. Needs a tokio runtime.
    pub(super) fn take_records(&self, stream: UnixStream) -> io::Result<()> {
        let stream = asynchronous(stream)?;
        let (audit, end) = (Arc::clone(&self.audit), self.end.clone());
        self.tasks.spawn(async move {
            if let Err(error) = take(stream, &audit, &end).await {
                tracing::debug!(%error, "records of an earlier daemon");
            }
        });
        Ok(())
    }

    /// What was answered is in the queue; nothing is taken in from here on. Whoever has more finds
    /// the next daemon.
    pub(super) async fn close(&self) {
        self.end.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn asynchronous(stream: UnixStream) -> io::Result<tokio::net::UnixStream> {
    stream.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(stream)
}

async fn take(
    mut stream: tokio::net::UnixStream,
    audit: &AuditLog,
    end: &CancellationToken,
) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    write.write_all(&[YES]).await?;
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut read).take(MAX_LINE_BYTES);
        let n_bytes = tokio::select! {
            // A line that is cut off here was not answered, and comes again elsewhere.
            () = end.cancelled() => return Ok(()),
            read = bounded.read_until(b'\n', &mut line) => read?,
        };
        if n_bytes == 0 {
            return Ok(());
        }
        let answer = match serde_json::from_slice::<Record>(&line) {
            Ok(record) => {
                audit.record(record.ts.0, record.event);
                YES
            }
            Err(error) => {
                tracing::error!(%error, "a record of an earlier daemon cannot be read");
                NO
            }
        };
        write.write_all(&[answer]).await?;
    }
}

#[cfg(test)]
mod tests;
