//! The log's file and what is on the way into it: records become lines, lines are written in
//! batches, and files follow each other. Runs in the writer's thread; time comes with the records.
//!
//! What cannot be written waits, within [`RETAINED_BYTES`], and goes on where it was cut off: a
//! disk that is full for a moment costs nothing. Beyond that, records are lost and counted.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::archive::Archive;
use super::health::{Health, Problem};
use super::lines::Lines;
use super::record::{Event, GapRecord, Record, Timestamp, VERSION};
use super::rotation::{self, Rotate, open_append};
use super::search;
use crate::words::clock::Wall;

/// Written at once when this much has gathered, though more is queued.
pub(super) const BATCH_BYTES: usize = 256 * 1024;

/// The most that waits for a disk that takes nothing: about 3,000 records.
const RETAINED_BYTES: usize = 8 * 1024 * 1024;

/// A disk that took nothing is asked again after this time, by the clock of the records.
const RETRY_WRITE: Duration = Duration::from_secs(1);

/// A rotation that failed is tried again after this time, and rotated files are looked at.
const RETRY_ROTATION: Duration = Duration::from_secs(60);

/// Files get too old also where none is rotated.
const LOOK_AT_ARCHIVE: Duration = Duration::from_secs(3_600);

pub(super) struct Appender {
    path: PathBuf,
    file: File,
    /// Bytes in it.
    len: u64,
    /// Of its first record; of an empty file any time.
    began: Wall,
    next_sequence: u64,
    health: Arc<Health>,
    /// The lost records that a `gap` record has told of.
    n_lost_reported: u64,
    pending: Pending,
    /// Whether the file may end in the middle of a line that another process began.
    line_is_open: bool,
    rotate: Rotate,
    archive: Option<Archive>,
    /// Of the last record.
    latest: Wall,
    /// When a write failed last, if nothing was written since.
    write_failed: Option<Wall>,
    rotation_failed: Option<Wall>,
    archive_seen: Wall,
}

/// Whole lines that are not, or not wholly, in the file.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    /// So many of them are in the file.
    n_written: usize,
}

impl Pending {
    /// Keeps the memory, unless it is much more than batches need.
    fn clear(&mut self) {
        self.n_written = 0;
        self.bytes.clear();
        self.bytes.shrink_to(2 * BATCH_BYTES);
    }
}

impl Appender {
    /// Opens `path`. Rotates it by itself where `archive` takes care of what comes of that.
    pub(super) fn open(
        path: &Path,
        rotate: Rotate,
        archive: Option<Archive>,
        health: Arc<Health>,
    ) -> io::Result<Self> {
        let file = open_append(path)?;
        let began = first_time(path).unwrap_or_default();
        Ok(Self {
            len: file.metadata()?.len(),
            began,
            next_sequence: search::last_sequence(path)?.map_or(0, |last| last + 1),
            health,
            n_lost_reported: 0,
            pending: Pending::default(),
            line_is_open: ends_torn(path)?,
            rotate,
            archive,
            latest: began,
            write_failed: None,
            rotation_failed: None,
            archive_seen: Wall::default(),
            path: path.to_owned(),
            file,
        })
    }

    /// Takes a record in. It is in the file after the next [`Self::write`] that succeeds.
    pub(super) fn append(&mut self, at: Wall, event: Event) {
        self.latest = at;
        self.rotate_if_due();
        if self.pending.bytes.len() >= RETAINED_BYTES {
            self.health.lose(1);
            return;
        }
        let n_lost = self.health.n_lost();
        if n_lost > self.n_lost_reported {
            let gap = GapRecord {
                lost: n_lost - self.n_lost_reported,
            };
            self.n_lost_reported = n_lost;
            self.render(at, Event::Gap(gap));
        }
        self.render(at, event);
    }

    /// Whether enough has gathered for a write.
    pub(super) fn has_batch(&self) -> bool {
        self.pending.bytes.len() - self.pending.n_written >= BATCH_BYTES
    }

    /// Writes what is pending, unless that failed less than a second ago.
    pub(super) fn write(&mut self) {
        let too_early = |failed| is_within(failed, RETRY_WRITE, self.latest);
        if !self.write_failed.is_some_and(too_early) {
            self.write_now();
        }
    }

    /// Writes what is pending.
    pub(super) fn write_now(&mut self) {
        if self.pending.bytes.is_empty() {
            return;
        }
        if self.line_is_open {
            self.line_is_open = false;
            self.pending.bytes.insert(0, b'\n');
        }
        let result = self.write_rest();
        self.write_failed = result.is_err().then_some(self.latest);
        self.health.set(Problem::Write, result.as_ref().err());
        if result.is_ok() {
            self.pending.clear();
        }
    }

    fn write_rest(&mut self) -> io::Result<()> {
        while self.pending.n_written < self.pending.bytes.len() {
            match self
                .file
                .write(&self.pending.bytes[self.pending.n_written..])
            {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n_written) => {
                    self.pending.n_written += n_written;
                    self.len += n_written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Opens the file anew: somebody may have renamed it.
    pub(super) fn reopen(&mut self) {
        self.write_now();
        let opened = open_append(&self.path).and_then(|file| {
            let torn = ends_torn(&self.path)?;
            Ok((file.metadata()?.len(), torn, file))
        });
        match opened {
            Ok((len, torn, file)) => {
                self.leave_line();
                (self.file, self.len, self.line_is_open) = (file, len, torn);
                self.began = first_time(&self.path).unwrap_or(self.latest);
                if self.write_failed.is_some() {
                    self.write_now();
                }
            }
            Err(error) => {
                tracing::error!(%error, path = %self.path.display(), "audit log not reopened, the old file stays");
            }
        }
    }

    /// What still cannot be written is lost.
    pub(super) fn close(&mut self) {
        self.write_now();
        let unwritten = &self.pending.bytes[self.pending.n_written..];
        let n_lost = unwritten.iter().filter(|&&byte| byte == b'\n').count() as u64;
        if n_lost > 0 {
            self.health.lose(n_lost);
            tracing::error!(n_lost, path = %self.path.display(), "audit records lost");
        }
    }

    fn render(&mut self, at: Wall, event: Event) {
        let record = Record {
            v: VERSION,
            seq: self.next_sequence,
            ts: Timestamp(at),
            event,
        };
        let was_empty = self.is_empty();
        match record.append_line(&mut self.pending.bytes) {
            Ok(()) => {
                self.next_sequence += 1;
                if was_empty {
                    self.began = at;
                }
            }
            Err(error) => {
                tracing::error!(%error, "audit record cannot be rendered");
                self.health.lose(1);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.len == 0 && self.pending.bytes.is_empty()
    }

    fn rotate_if_due(&mut self) {
        let Some(archive) = &self.archive else {
            return;
        };
        let at = self.latest;
        if !is_within(self.archive_seen, LOOK_AT_ARCHIVE, at) {
            self.archive_seen = at;
            archive.wake(at);
        }
        let bytes = self.len + (self.pending.bytes.len() - self.pending.n_written) as u64;
        let too_early = |failed| is_within(failed, RETRY_ROTATION, at);
        if self.is_empty()
            || !self.rotate.is_due(bytes, self.began, at)
            || self.rotation_failed.is_some_and(too_early)
        {
            return;
        }
        self.write();
        if !self.pending.bytes.is_empty() {
            return;
        }
        let result = rotation::swap(&self.path, &self.file, at);
        self.rotation_failed = result.is_err().then_some(at);
        self.health.set(Problem::Rotation, result.as_ref().err());
        if let Ok(file) = result {
            self.len = file.metadata().map_or(0, |metadata| metadata.len());
            self.file = file;
            self.began = at;
            self.line_is_open = false;
            if let Some(archive) = &self.archive {
                archive.wake(at);
            }
        }
    }

    /// A line of which a part is in the file that is left would be none in the next one.
    fn leave_line(&mut self) {
        let Pending { bytes, n_written } = std::mem::take(&mut self.pending);
        let is_cut = n_written > 0 && bytes[n_written - 1] != b'\n';
        let mut rest = &bytes[n_written..];
        if is_cut {
            let feed = rest.iter().position(|&byte| byte == b'\n');
            rest = &rest[feed.map_or(rest.len(), |feed| feed + 1)..];
            self.health.lose(1);
        }
        self.pending.bytes = rest.to_vec();
    }
}

/// Whether `at` is less than `time` after `since`. A clock that was set back is not.
fn is_within(since: Wall, time: Duration, at: Wall) -> bool {
    at >= since && since.until(at) < time
}

/// Of the first record that can be read.
fn first_time(path: &Path) -> Option<Wall> {
    #[derive(serde::Deserialize)]
    struct Time {
        ts: Timestamp,
    }
    let lines = Lines::open(path).ok()?;
    // Damage is at the place of a crash, not over megabytes.
    const MOST_LINES: usize = 100;
    (lines.take(MOST_LINES).map_while(Result::ok))
        .find_map(|line| serde_json::from_slice(&line).ok())
        .map(|Time { ts }| ts.0)
}

/// Whether a crash left a line without its end.
fn ends_torn(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if !fs::metadata(path)?.is_file() || file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests;
