//! Rows that cannot be read: left out, left in place, and never overwritten.

use redb::ReadableDatabase as _;

use super::*;
use crate::store::memo_tables::{KEYS, PAIRS, SOURCES};
use crate::store::tables::{BLOCKS, LISTS, OVERRIDES, Table, UNREADABLE};

/// Everything else goes on, the row stays, and it is said.
#[test]
fn a_row_that_cannot_be_read_is_left_out_and_stays() {
    let check = |table: Table, key: &str| {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(directory.path(), Duration::ZERO, NOW).unwrap();
        store
            .commit(&[
                Change::PutAllow(allow("2001:db8::/32")),
                Change::PutMemo(quiet_key(1, KeyState::Watch, NOW)),
            ])
            .unwrap();
        write_row(&store, table, key, b"{}");
        drop(store);
        for _opening in 0..2 {
            let (store, contents) = Store::open(directory.path(), Duration::ZERO, NOW).unwrap();
            assert_eq!(store.moved_aside(), None, "{table:?}");
            let expected = Contents {
                allows: vec![allow("2001:db8::/32")],
                memos: vec![quiet_key(1, KeyState::Watch, NOW)],
                ..Contents::default()
            };
            assert_eq!(contents, expected, "{table:?}");
            assert_eq!(row(&store, table, key).unwrap(), b"{}");
            let problem = store.unreadable.problem().unwrap();
            assert!(problem.contains(table.0), "{problem}");
            assert!(problem.contains(key), "{problem}");
            // What it does not know it neither moves nor forgets.
            let changes = [
                Change::ShiftMemos(Step::from_ms(0)),
                Change::PruneMemos(NOW),
            ];
            store.commit(&changes).unwrap();
        }
    };
    check(BLOCKS, "192.0.2.1/32 0");
    check(LISTS, "drop");
    check(ALLOWS, "192.0.2.0/24");
    check(OVERRIDES, "00000000000000000000000000000007");
    check(KEYS, "00000000000000000000000000000007");
    check(SOURCES, "192.0.2.1/32");
    check(PAIRS, "192.0.2.1 key 00000000000000000000000000000007");
}

#[test]
fn a_row_whose_place_is_taken_is_kept() {
    let check = |changes: &[Change], n_left: usize, kept: &[(&str, &[u8])]| {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(directory.path(), Duration::ZERO, NOW).unwrap();
        write_row(&store, BLOCKS, "192.0.2.1/32 0", b"one");
        write_row(&store, KEYS, &KeyHash(7).to_string(), b"two");
        write_row(
            &store,
            UNREADABLE,
            "blocks 192.0.2.1/32 0",
            b"an earlier one",
        );
        drop(store);
        let (store, _) = Store::open(directory.path(), Duration::ZERO, NOW).unwrap();
        store.commit(changes).unwrap();
        assert_eq!(store.unreadable.rows().len(), n_left);
        for (key, expected) in kept {
            let kept = row(&store, UNREADABLE, key);
            assert_eq!(kept.as_deref(), Some(*expected), "{key}");
        }
        let earlier = row(&store, UNREADABLE, "blocks 192.0.2.1/32 0");
        assert_eq!(earlier.as_deref(), Some(&b"an earlier one"[..]));
        drop(store);
        let (store, _) = Store::open(directory.path(), Duration::ZERO, NOW).unwrap();
        assert_eq!(store.unreadable.rows().len(), n_left);
        assert_eq!(store.unreadable.problem().is_none(), n_left == 0);
    };
    let one: (&str, &[u8]) = ("blocks 192.0.2.1/32 0+", b"one");
    let name = format!("keys {}", KeyHash(7));
    let two: (&str, &[u8]) = (&name, b"two");
    let replacing = Change::PutBlock(block("192.0.2.1/32", Origin::Operator));
    let deleting = Change::DeleteBlock("192.0.2.1/32".parse().unwrap(), Origin::Operator);
    let memo = Change::PutMemo(quiet_key(7, KeyState::Ok, NOW));
    check(&[Change::PutAllow(allow("::/0"))], 2, &[]);
    check(std::slice::from_ref(&replacing), 1, &[one]);
    check(&[deleting], 1, &[one]);
    check(&[memo.clone(), replacing], 0, &[one, two]);
    check(&[Change::SetAsideUnreadable], 0, &[one, two]);
    check(&[Change::SetAsideUnreadable, memo], 0, &[one, two]);
}

fn row(store: &Store, table: Table, key: &str) -> Option<Vec<u8>> {
    let slot = store.database.lock();
    let transaction = slot.as_ref().unwrap().begin_read().unwrap();
    let rows = transaction.open_table(table.definition()).ok()?;
    let row = rows.get(key).unwrap()?;
    Some(row.value().to_vec())
}

fn write_row(store: &Store, table: Table, key: &str, row: &[u8]) {
    let mut slot = store.database.lock();
    let transaction = slot.as_mut().unwrap().begin_write().unwrap();
    let mut rows = transaction.open_table(table.definition()).unwrap();
    rows.insert(key, row).unwrap();
    drop(rows);
    transaction.commit().unwrap();
}
