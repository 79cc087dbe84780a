//! What must outlive the daemon: blocks with their wall-clock ends, imported lists and blocked
//! systems, the allow list, the operator's overrides of mode and keys, and what the engine remembers.
//! The store is the truth, the kernel's maps a compiled copy of it.
//!
//! One directory (`state_dir`, 0700) with one lock, which daemon and CLI share: whoever holds the
//! [`Store`] is its only user. Not here: the group commit ([`journal`]), the secrets
//! ([`secrets`]), and what a block means (`enforcement`).

pub mod journal;
pub mod list_row;
pub mod lock;
pub mod memos;
pub mod secrets;

mod memo_tables;
mod tables;
mod unreadable;

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use parking_lot::Mutex;
use redb::Database;
use serde::{Deserialize, Serialize};

use crate::words::block::{Allow, Block, Origin};
use crate::words::clock::{BootClock, Step, Wall};
use crate::words::identity::KeyHash;
use crate::words::key::KeyOverride;
use crate::words::layer::{AsnBlock, NamedList};
use crate::words::memo::Memo;
use crate::words::mode::Mode;
use crate::words::rule::ListName;

use lock::StateLock;
use memos::MemoSubject;
use unreadable::Unreadable;

/// The open store. Holds the state directory's lock for as long as it lives.
#[derive(Debug)]
pub struct Store {
    /// Opened anew for the next commit after one that failed: after an I/O error, a full disk's
    /// included, redb refuses everything until then.
    database: Mutex<Option<Database>>,
    path: PathBuf,
    is_blank: bool,
    moved_aside: Option<PathBuf>,
    unreadable: Arc<Unreadable>,
    _lock: StateLock,
}

/// Everything the store holds, read at once when it is opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// Blocks of every origin, the expired ones included.
    pub blocks: Vec<Block>,
    /// Imported lists, what has ended in them included.
    pub lists: Vec<NamedList>,
    /// Blocked autonomous systems, the expired ones included.
    pub asns: Vec<AsnBlock>,
    /// The operator's allow list.
    pub allows: Vec<Allow>,
    /// The operator's kill switch, if it was used.
    pub mode: Option<ModeOverride>,
    /// The clock that all ends are kept by.
    pub clock: Option<BootClock>,
    /// What the operator decided about keys, the expired included.
    pub overrides: Vec<KeyOverride>,
    /// What the engine remembered.
    pub memos: Vec<Memo>,
}

/// An upper bound for the mode that the operator set by command, in force until it ends.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ModeOverride {
    /// The bound.
    pub mode: Mode,
    /// When it ends; `None` is never.
    pub until: Option<Wall>,
}

impl ModeOverride {
    /// Whether it still holds.
    #[must_use]
    pub fn is_live(&self, now: Wall) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// The same, by a clock that was stepped.
    #[must_use]
    pub fn shifted(self, step: Step) -> Self {
        Self {
            until: self.until.map(|until| until.shifted(step)),
            ..self
        }
    }
}

/// One change. Changes are applied in the order given.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Adds the block, or replaces the one of the same network and origin.
    PutBlock(Block),
    /// Removes the block of this network and origin, if there is one.
    DeleteBlock(IpNet, Origin),
    /// Adds the list, or replaces the one of the same name.
    PutList(Arc<NamedList>),
    /// Removes the list of this name, if there is one.
    DeleteList(ListName),
    /// Adds the system, or replaces the one of the same number.
    PutAsn(AsnBlock),
    /// Removes the system of this number, if there is one.
    DeleteAsn(u32),
    /// Adds the entry, or replaces the one of the same network.
    PutAllow(Allow),
    /// Removes the entry of this network, if there is one.
    DeleteAllow(IpNet),
    /// Sets or lifts the mode override.
    SetMode(Option<ModeOverride>),
    /// Sets the clock that all ends are kept by.
    SetClock(BootClock),
    /// Adds the override, or replaces the one of the same key.
    PutOverride(KeyOverride),
    /// Removes the override of this key, if there is one.
    DeleteOverride(KeyHash),
    /// Adds the memo, or replaces the one of the same subject.
    PutMemo(Memo),
    /// Removes the memo of this subject, if there is one.
    DeleteMemo(MemoSubject),
    /// Moves the times of all memos with a clock that was stepped.
    ShiftMemos(Step),
    /// Removes the memos that [`memos::forgotten`] names.
    PruneMemos(Wall),
    /// Moves every row that cannot be read into a table of its own.
    SetAsideUnreadable,
}

/// The store could not be opened, read or written. Internal or the configuration's fault.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The lock is held by somebody else.
    #[error(transparent)]
    Lock(#[from] lock::LockError),
    /// A file operation failed.
    #[error("cannot {operation} {}: {source}; check `state_dir` and its permissions", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The database refused.
    #[error("cannot {operation} the store, `store.redb` in `state_dir`: {source}")]
    Database {
        /// What was tried.
        operation: &'static str,
        /// Why not.
        source: Box<redb::Error>,
    },
    /// A row cannot be written. Internal.
    #[error("the row `{key}` cannot be written to the store's table `{table}`: {source}")]
    Row {
        /// Which table.
        table: &'static str,
        /// Which row.
        key: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The writer thread is gone or its queue is full.
    #[error("the store's writer does not keep up; {0}")]
    Journal(&'static str),
}

impl StoreError {
    /// Whether all that is wrong is that another process has the store.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        matches!(self, Self::Lock(lock::LockError::Held { .. }))
    }
}

impl Store {
    /// Takes the lock of `state_dir`, waiting for at most `patience`, and opens the store in it,
    /// creating both if they are missing.
    ///
    /// A store that cannot be read is moved aside as `store.redb.corrupt-<unix milliseconds>` and
    /// a new one is begun; see [`Self::moved_aside`]. Single rows that cannot be read are left out
    /// and left in place; see [`Journal::unreadable`](journal::Journal::unreadable).
    ///
    /// Errors: [`StoreError::Lock`] where another process holds it (the caller asks that one
    /// instead), [`StoreError::Io`] where the directory cannot be used (configuration's fault).
    pub fn open(
        state_dir: &Path,
        patience: Duration,
        now: Wall,
    ) -> Result<(Self, Contents), StoreError> {
        create_private_directory(state_dir)?;
        let lock = StateLock::take(state_dir, patience)?;
        let path = state_dir.join("store.redb");
        let (database, contents, unreadable) = match open_and_read(&path) {
            Ok(opened) => opened,
            Err(error) if is_corruption(&error) => {
                let aside = state_dir.join(format!("{ASIDE_PREFIX}{}", now.as_unix_ms()));
                fs::rename(&path, &aside).map_err(io("move aside", &path))?;
                tracing::error!(%error, aside = %aside.display(), "store is corrupt, began a new one");
                open_and_read(&path)?
            }
            Err(error) => return Err(error),
        };
        let store = Self {
            is_blank: tables::is_blank(&database)?,
            database: Mutex::new(Some(database)),
            path,
            moved_aside: newest_aside(state_dir),
            unreadable: Arc::new(unreadable),
            _lock: lock,
        };
        Ok((store, contents))
    }

    /// Where the last corrupt store went, if this one had to be begun anew: the state is degraded
    /// until somebody has looked at that file and taken it away. A mere command may have been the
    /// one to move it.
    #[must_use]
    pub fn moved_aside(&self) -> Option<&Path> {
        self.moved_aside.as_deref()
    }

    /// [`Self::moved_aside`] as status says it.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let aside = self.moved_aside()?.display();
        Some(format!(
            "the store was corrupt and begun anew, with what was pinned in the kernel; reasons, and \
             all that was not in the kernel, are in the old one only: take {aside} away to end this"
        ))
    }

    /// Whether nothing was ever committed to it when it was opened: it is new, or stands in for one
    /// that is lost. It knows nothing then of what is in force in the kernel.
    #[must_use]
    pub const fn is_blank(&self) -> bool {
        self.is_blank
    }

    /// Applies all changes or none, and returns once they are on disk.
    ///
    /// Errors: the disk is full or failing. Trying again later is in order.
    pub fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        let mut slot = self.database.lock();
        let database = match slot.take() {
            Some(database) => database,
            None => Database::create(&self.path).map_err(database("open"))?,
        };
        let moved = tables::write(&database, changes, &self.unreadable.rows())?;
        *slot = Some(database);
        self.unreadable.forget(&moved);
        Ok(())
    }
}

fn open_and_read(path: &Path) -> Result<(Database, Contents, Unreadable), StoreError> {
    let store = Database::create(path).map_err(database("open"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .map_err(io("set the mode of", path))?;
    let (contents, unreadable) = tables::read(&store)?;
    Ok((store, contents, Unreadable::new(unreadable)))
}

const ASIDE_PREFIX: &str = "store.redb.corrupt-";

fn newest_aside(state_dir: &Path) -> Option<PathBuf> {
    let names = fs::read_dir(state_dir).ok()?.flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    // Milliseconds have had thirteen digits since 2001, so the order of names is that of times.
    let newest = names.filter(|name| name.starts_with(ASIDE_PREFIX)).max()?;
    Some(state_dir.join(newest))
}

/// Only damage of the database moves a store aside. A row that cannot be read, a full disk, a missing permission or a store of a later
/// version must not: the data is good.
fn is_corruption(error: &StoreError) -> bool {
    match error {
        StoreError::Database { source, .. } => {
            matches!(
                **source,
                redb::Error::Corrupted(_) | redb::Error::TableTypeMismatch { .. }
            ) || matches!(&**source, redb::Error::Io(io) if is_damage(io))
        }
        StoreError::Row { .. }
        | StoreError::Lock(_)
        | StoreError::Io { .. }
        | StoreError::Journal(_) => false,
    }
}

fn is_damage(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    matches!(error.kind(), InvalidData | UnexpectedEof)
}

fn create_private_directory(path: &Path) -> Result<(), StoreError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(io("create", path))
}

fn io(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io {
        operation,
        path,
        source,
    }
}

fn database<E: Into<redb::Error>>(operation: &'static str) -> impl Fn(E) -> StoreError {
    move |source| StoreError::Database {
        operation,
        source: Box::new(source.into()),
    }
}

#[cfg(test)]
mod tests;
