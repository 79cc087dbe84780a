//! The store's tables of memos: one for each kind, a JSON row for each subject. What a memo means,
//! and when it is forgotten, is [`super::memos`].

use redb::ReadableTable as _;

use super::memos::{MemoSubject, forgotten, shifted};
use super::tables::{Rows, Table, delete, json, open, put};
use super::{StoreError, database};
use crate::words::clock::{Step, Wall};
use crate::words::memo::{Credential, Memo};

pub(super) const KEYS: Table = Table("keys");
pub(super) const SOURCES: Table = Table("sources");
pub(super) const PAIRS: Table = Table("pairs");

/// Where the memo of a subject is.
pub(super) fn place(subject: &MemoSubject) -> (Table, String) {
    match subject {
        MemoSubject::Key(hash) => (KEYS, hash.to_string()),
        MemoSubject::Source(network) => (SOURCES, network.to_string()),
        MemoSubject::Pair(address, credential) => {
            let credential = match credential {
                Credential::Key(hash) => format!("key {hash}"),
                Credential::Session(hash) => format!("session {hash}"),
                Credential::User(hash) => format!("user {hash}"),
            };
            (PAIRS, format!("{address} {credential}"))
        }
    }
}

/// A row of [`KEYS`].
pub(super) fn key(key: &str, row: &[u8]) -> Result<Memo, serde_json::Error> {
    json(key, row).map(Memo::Key)
}

/// A row of [`SOURCES`].
pub(super) fn source(key: &str, row: &[u8]) -> Result<Memo, serde_json::Error> {
    json(key, row).map(Memo::Source)
}

/// A row of [`PAIRS`].
pub(super) fn pair(key: &str, row: &[u8]) -> Result<Memo, serde_json::Error> {
    json(key, row).map(Memo::Pair)
}

/// The tables, open for changes.
pub(super) struct Memos<'txn> {
    keys: Rows<'txn>,
    sources: Rows<'txn>,
    pairs: Rows<'txn>,
}

impl<'txn> Memos<'txn> {
    pub(super) fn open(transaction: &'txn redb::WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            keys: open(transaction, KEYS)?,
            sources: open(transaction, SOURCES)?,
            pairs: open(transaction, PAIRS)?,
        })
    }

    pub(super) fn put(&mut self, memo: &Memo) -> Result<(), StoreError> {
        let (_table, place) = place(&MemoSubject::of(memo));
        match memo {
            Memo::Key(memo) => put(&mut self.keys, &place, memo),
            Memo::Source(memo) => put(&mut self.sources, &place, memo),
            Memo::Pair(memo) => put(&mut self.pairs, &place, memo),
        }
    }

    pub(super) fn delete(&mut self, subject: &MemoSubject) -> Result<(), StoreError> {
        let (_table, place) = place(subject);
        let rows = match subject {
            MemoSubject::Key(_) => &mut self.keys,
            MemoSubject::Source(_) => &mut self.sources,
            MemoSubject::Pair(..) => &mut self.pairs,
        };
        delete(rows, &place)
    }

    pub(super) fn shift(&mut self, step: Step) -> Result<(), StoreError> {
        let memos = self.readable()?.into_iter();
        memos
            .map(|memo| shifted(memo, step))
            .try_for_each(|memo| self.put(&memo))
    }

    pub(super) fn prune(&mut self, now: Wall) -> Result<(), StoreError> {
        let forgotten = forgotten(&self.readable()?, now);
        forgotten
            .iter()
            .try_for_each(|subject| self.delete(subject))
    }

    /// What cannot be read was said when the store was opened.
    fn readable(&self) -> Result<Vec<Memo>, StoreError> {
        let mut memos = readable(&self.keys, key)?;
        memos.extend(readable(&self.sources, source)?);
        memos.extend(readable(&self.pairs, pair)?);
        Ok(memos)
    }
}

fn readable(
    rows: &Rows<'_>,
    read: impl Fn(&str, &[u8]) -> Result<Memo, serde_json::Error>,
) -> Result<Vec<Memo>, StoreError> {
    let mut memos = Vec::new();
    for row in rows.iter().map_err(database("read"))? {
        let (key, value) = row.map_err(database("read"))?;
        memos.extend(read(key.value(), value.value()));
    }
    Ok(memos)
}
