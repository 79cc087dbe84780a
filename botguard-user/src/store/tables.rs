//! What the store's tables are, and how changes and contents pass through them: the only place that
//! knows keys and rows.

use std::collections::BTreeSet;

use ipnet::IpNet;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::memo_tables::{self, Memos};
use super::memos::MemoSubject;
use super::unreadable::RowName;
use super::{Change, Contents, StoreError, database, list_row};
use crate::words::block::Origin;
use crate::words::layer::NamedList;
use crate::words::rule::Rule;

/// Applies all changes or none. Returns those of the `unreadable` rows that are no longer in their
/// places; they are in a table of their own.
pub(super) fn write(
    store: &Database,
    changes: &[Change],
    unreadable: &BTreeSet<RowName>,
) -> Result<BTreeSet<RowName>, StoreError> {
    let transaction = store.begin_write().map_err(database("write"))?;
    // Without a commit for the sake of it: a store is blank until there is something to keep.
    let moved = touched(changes, unreadable);
    keep_aside(&transaction, &moved)?;
    {
        let open = |table| open(&transaction, table);
        let mut blocks = open(BLOCKS)?;
        let mut lists = open(LISTS)?;
        let mut asns = open(ASNS)?;
        let mut allows = open(ALLOWS)?;
        let mut mode = open(MODE)?;
        let mut clock = open(CLOCK)?;
        let mut overrides = open(OVERRIDES)?;
        let mut memos = Memos::open(&transaction)?;
        for change in changes {
            match change {
                Change::PutBlock(block) => {
                    put(&mut blocks, &block_key(&block.network, block.origin), block)?;
                }
                Change::DeleteBlock(network, origin) => {
                    delete(&mut blocks, &block_key(network, *origin))?;
                }
                Change::PutList(list) => put_list(&mut lists, list)?,
                Change::DeleteList(name) => delete(&mut lists, name.as_str())?,
                Change::PutAsn(block) => put(&mut asns, &asn_key(block.number), block)?,
                Change::DeleteAsn(number) => delete(&mut asns, &asn_key(*number))?,
                Change::PutAllow(allow) => {
                    put(&mut allows, &allow.network.to_string(), allow)?;
                }
                Change::DeleteAllow(network) => delete(&mut allows, &network.to_string())?,
                Change::SetMode(Some(value)) => put(&mut mode, MODE_KEY, value)?,
                Change::SetMode(None) => delete(&mut mode, MODE_KEY)?,
                Change::SetClock(value) => put(&mut clock, CLOCK_KEY, value)?,
                Change::PutOverride(value) => {
                    put(&mut overrides, &value.hash.to_string(), value)?;
                }
                Change::DeleteOverride(hash) => delete(&mut overrides, &hash.to_string())?,
                Change::PutMemo(memo) => memos.put(memo)?,
                Change::DeleteMemo(subject) => memos.delete(subject)?,
                Change::ShiftMemos(step) => memos.shift(*step)?,
                Change::PruneMemos(now) => memos.prune(*now)?,
                // It has been done, above.
                Change::SetAsideUnreadable => {}
            }
        }
    }
    transaction.commit().map_err(database("commit to"))?;
    Ok(moved)
}

/// The unreadable rows whose places the changes take.
fn touched(changes: &[Change], unreadable: &BTreeSet<RowName>) -> BTreeSet<RowName> {
    if unreadable.is_empty() {
        return BTreeSet::new();
    }
    if changes.contains(&Change::SetAsideUnreadable) {
        return unreadable.clone();
    }
    let rows = changes.iter().filter_map(row_of);
    rows.filter(|row| unreadable.contains(row)).collect()
}

fn row_of(change: &Change) -> Option<RowName> {
    let (table, key) = match change {
        Change::PutBlock(block) => (BLOCKS, block_key(&block.network, block.origin)),
        Change::DeleteBlock(network, origin) => (BLOCKS, block_key(network, *origin)),
        Change::PutList(list) => (LISTS, list.name.to_string()),
        Change::DeleteList(name) => (LISTS, name.to_string()),
        Change::PutAsn(block) => (ASNS, asn_key(block.number)),
        Change::DeleteAsn(number) => (ASNS, asn_key(*number)),
        Change::PutAllow(allow) => (ALLOWS, allow.network.to_string()),
        Change::DeleteAllow(network) => (ALLOWS, network.to_string()),
        Change::SetMode(_) => (MODE, MODE_KEY.to_owned()),
        Change::SetClock(_) => (CLOCK, CLOCK_KEY.to_owned()),
        Change::PutOverride(value) => (OVERRIDES, value.hash.to_string()),
        Change::DeleteOverride(hash) => (OVERRIDES, hash.to_string()),
        Change::PutMemo(memo) => memo_tables::place(&MemoSubject::of(memo)),
        Change::DeleteMemo(subject) => memo_tables::place(subject),
        // Of what they cannot read they keep their hands off.
        Change::ShiftMemos(_) | Change::PruneMemos(_) | Change::SetAsideUnreadable => return None,
    };
    Some(RowName {
        table: table.0,
        key,
    })
}

fn keep_aside(
    transaction: &redb::WriteTransaction,
    rows: &BTreeSet<RowName>,
) -> Result<(), StoreError> {
    for RowName { table, key } in rows {
        let mut from = open(transaction, Table(table))?;
        let Some(row) = from.remove(key.as_str()).map_err(database("write"))? else {
            continue;
        };
        let mut aside = open(transaction, UNREADABLE)?;
        // Never in place of another one that was kept.
        let mut kept = format!("{table} {key}");
        while aside
            .get(kept.as_str())
            .map_err(database("read"))?
            .is_some()
        {
            kept.push('+');
        }
        aside
            .insert(kept.as_str(), row.value())
            .map_err(database("write"))?;
    }
    Ok(())
}

/// Rows are JSON under a readable key, so that a support case can be read with any redb tool; but
/// for lists, which are JSON up to their networks ([`list_row`]).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Table(pub(super) &'static str);

impl Table {
    pub(super) const fn definition(self) -> Definition {
        TableDefinition::new(self.0)
    }
}

type Definition = TableDefinition<'static, &'static str, &'static [u8]>;
pub(super) type Rows<'txn> = redb::Table<'txn, &'static str, &'static [u8]>;

pub(super) const BLOCKS: Table = Table("blocks");
pub(super) const LISTS: Table = Table("lists");
const ASNS: Table = Table("asns");
pub(super) const ALLOWS: Table = Table("allows");
const MODE: Table = Table("mode");
const MODE_KEY: &str = "override";
const CLOCK: Table = Table("clock");
const CLOCK_KEY: &str = "boot";
pub(super) const OVERRIDES: Table = Table("overrides");
/// Rows that could not be read and whose places were taken, under table and key.
pub(super) const UNREADABLE: Table = Table("unreadable");

pub(super) fn open(
    transaction: &redb::WriteTransaction,
    table: Table,
) -> Result<Rows<'_>, StoreError> {
    transaction
        .open_table(table.definition())
        .map_err(database("write"))
}

fn block_key(network: &IpNet, origin: Origin) -> String {
    format!("{network} {}", origin as u8)
}

fn asn_key(number: u32) -> String {
    Rule::Asn(number).to_string()
}

fn put_list(table: &mut Rows<'_>, list: &NamedList) -> Result<(), StoreError> {
    let key = list.name.as_str();
    let row = list_row::encode(list).map_err(row_error("(new row)", key))?;
    table
        .insert(key, row.as_slice())
        .map_err(database("write"))?;
    Ok(())
}

pub(super) fn put(
    table: &mut Rows<'_>,
    key: &str,
    value: &impl Serialize,
) -> Result<(), StoreError> {
    let row = serde_json::to_vec(value).map_err(row_error("(new row)", key))?;
    table
        .insert(key, row.as_slice())
        .map_err(database("write"))?;
    Ok(())
}

pub(super) fn delete(table: &mut Rows<'_>, key: &str) -> Result<(), StoreError> {
    table.remove(key).map_err(database("write"))?;
    Ok(())
}

/// Everything that the tables hold and this version can read, and the rows that it cannot.
pub(super) fn read(store: &Database) -> Result<(Contents, BTreeSet<RowName>), StoreError> {
    let transaction = store.begin_read().map_err(database("read"))?;
    let mut reader = Reader {
        transaction: &transaction,
        unreadable: BTreeSet::new(),
    };
    let mut memos = reader.rows(memo_tables::KEYS, memo_tables::key)?;
    memos.extend(reader.rows(memo_tables::SOURCES, memo_tables::source)?);
    memos.extend(reader.rows(memo_tables::PAIRS, memo_tables::pair)?);
    let contents = Contents {
        blocks: reader.rows(BLOCKS, json)?,
        lists: reader.rows(LISTS, list_row::decode)?,
        asns: reader.rows(ASNS, json)?,
        allows: reader.rows(ALLOWS, json)?,
        mode: reader.rows(MODE, json)?.pop(),
        clock: reader.rows(CLOCK, json)?.pop(),
        overrides: reader.rows(OVERRIDES, json)?,
        memos,
    };
    Ok((contents, reader.unreadable))
}

/// Every commit makes the tables that are missing.
pub(super) fn is_blank(store: &Database) -> Result<bool, StoreError> {
    let transaction = store.begin_read().map_err(database("read"))?;
    let mut tables = transaction.list_tables().map_err(database("read"))?;
    Ok(tables.next().is_none())
}

pub(super) fn json<T: DeserializeOwned>(_key: &str, row: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(row)
}

struct Reader<'txn> {
    transaction: &'txn redb::ReadTransaction,
    unreadable: BTreeSet<RowName>,
}

impl Reader<'_> {
    fn rows<T, E: std::error::Error>(
        &mut self,
        table: Table,
        read: impl Fn(&str, &[u8]) -> Result<T, E>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = match self.transaction.open_table(table.definition()) {
            Ok(rows) => rows,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(database("read")(error)),
        };
        let mut values = Vec::new();
        for row in rows.iter().map_err(database("read"))? {
            let (key, value) = row.map_err(database("read"))?;
            let key = key.value();
            match read(key, value.value()) {
                Ok(value) => values.push(value),
                Err(error) => {
                    tracing::error!(
                        table = table.0, key, %error,
                        "a row of the store cannot be read, is left out, and stays"
                    );
                    self.unreadable.insert(RowName {
                        table: table.0,
                        key: key.to_owned(),
                    });
                }
            }
        }
        Ok(values)
    }
}

pub(super) fn row_error<E: std::error::Error + Send + Sync + 'static>(
    table: &'static str,
    key: &str,
) -> impl FnOnce(E) -> StoreError {
    let key = key.to_owned();
    move |source| StoreError::Row {
        table,
        key,
        source: Box::new(source),
    }
}
