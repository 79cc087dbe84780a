//! What the store's tables are, and how changes and contents pass through them: the only place that
//! knows keys and rows.

use ipnet::IpNet;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Change, Contents, StoreError, database, list_row};
use crate::words::block::Origin;
use crate::words::layer::NamedList;
use crate::words::rule::Rule;

/// Applies all changes or none.
pub(super) fn write(store: &Database, changes: &[Change]) -> Result<(), StoreError> {
    let transaction = store.begin_write().map_err(database("write"))?;
    {
        let mut blocks = transaction.open_table(BLOCKS).map_err(database("write"))?;
        let mut lists = transaction.open_table(LISTS).map_err(database("write"))?;
        let mut asns = transaction.open_table(ASNS).map_err(database("write"))?;
        let mut allows = transaction.open_table(ALLOWS).map_err(database("write"))?;
        let mut mode = transaction.open_table(MODE).map_err(database("write"))?;
        let mut clock = transaction.open_table(CLOCK).map_err(database("write"))?;
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
            }
        }
    }
    transaction.commit().map_err(database("commit to"))
}

/// Rows are JSON under a readable key, so that a support case can be read with any redb tool; but
/// for lists, which are JSON up to their networks ([`list_row`]).
pub(super) type Table = TableDefinition<'static, &'static str, &'static [u8]>;
pub(super) const BLOCKS: Table = TableDefinition::new("blocks");
pub(super) const LISTS: Table = TableDefinition::new("lists");
const ASNS: Table = TableDefinition::new("asns");
pub(super) const ALLOWS: Table = TableDefinition::new("allows");
const MODE: Table = TableDefinition::new("mode");
const MODE_KEY: &str = "override";
const CLOCK: Table = TableDefinition::new("clock");
const CLOCK_KEY: &str = "boot";

fn block_key(network: &IpNet, origin: Origin) -> String {
    format!("{network} {}", origin as u8)
}

fn asn_key(number: u32) -> String {
    Rule::Asn(number).to_string()
}

fn put_list(
    table: &mut redb::Table<'_, &'static str, &'static [u8]>,
    list: &NamedList,
) -> Result<(), StoreError> {
    let key = list.name.as_str();
    let row = list_row::encode(list).map_err(row_error("(new row)", key))?;
    table
        .insert(key, row.as_slice())
        .map_err(database("write"))?;
    Ok(())
}

fn put(
    table: &mut redb::Table<'_, &'static str, &'static [u8]>,
    key: &str,
    value: &impl Serialize,
) -> Result<(), StoreError> {
    let row = serde_json::to_vec(value).map_err(row_error("(new row)", key))?;
    table
        .insert(key, row.as_slice())
        .map_err(database("write"))?;
    Ok(())
}

fn delete(
    table: &mut redb::Table<'_, &'static str, &'static [u8]>,
    key: &str,
) -> Result<(), StoreError> {
    table.remove(key).map_err(database("write"))?;
    Ok(())
}

/// Everything that the tables hold.
pub(super) fn read(store: &Database) -> Result<Contents, StoreError> {
    let transaction = store.begin_read().map_err(database("read"))?;
    Ok(Contents {
        blocks: rows(&transaction, BLOCKS, "blocks", json)?,
        lists: rows(&transaction, LISTS, "lists", list_row::decode)?,
        asns: rows(&transaction, ASNS, "asns", json)?,
        allows: rows(&transaction, ALLOWS, "allows", json)?,
        mode: rows(&transaction, MODE, "mode", json)?.pop(),
        clock: rows(&transaction, CLOCK, "clock", json)?.pop(),
    })
}

/// Every commit makes the tables that are missing.
pub(super) fn is_blank(store: &Database) -> Result<bool, StoreError> {
    let transaction = store.begin_read().map_err(database("read"))?;
    let mut tables = transaction.list_tables().map_err(database("read"))?;
    Ok(tables.next().is_none())
}

fn json<T: DeserializeOwned>(_key: &str, row: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(row)
}

fn rows<T, E: std::error::Error + Send + Sync + 'static>(
    transaction: &redb::ReadTransaction,
    definition: Table,
    name: &'static str,
    read: impl Fn(&str, &[u8]) -> Result<T, E>,
) -> Result<Vec<T>, StoreError> {
    let table = match transaction.open_table(definition) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(database("read")(error)),
    };
    let mut values = Vec::new();
    for row in table.iter().map_err(database("read"))? {
        let (key, value) = row.map_err(database("read"))?;
        let key = key.value();
        values.push(read(key, value.value()).map_err(row_error(name, key))?);
    }
    Ok(values)
}

fn row_error<E: std::error::Error + Send + Sync + 'static>(
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
