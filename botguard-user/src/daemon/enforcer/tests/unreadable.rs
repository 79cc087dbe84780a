//! A store with a row that nobody can read: everything else is in force, and it is said.

use super::*;
use crate::store::Change;
use crate::words::block::Block;

#[test]
fn a_row_that_cannot_be_read_degrades_until_it_is_flushed() {
    let directory = tempfile::tempdir().unwrap();
    let now = Wall::from_unix_ms(1_000_000);
    let (store, _) = Store::open(directory.path(), Duration::ZERO, now).unwrap();
    let block = Block {
        network: "192.0.2.7/32".parse().unwrap(),
        origin: Origin::Operator,
        scope: Scope::Listeners,
        effect: Effect::Drop,
        created: now,
        expires: None,
        reason: String::new(),
    };
    store.commit(&[Change::PutBlock(block)]).unwrap();
    drop(store);
    let database = redb::Database::create(directory.path().join("store.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    let blocks: redb::TableDefinition<'_, &str, &[u8]> = redb::TableDefinition::new("blocks");
    let mut rows = transaction.open_table(blocks).unwrap();
    rows.insert("192.0.2.8/32 0", b"{}".as_slice()).unwrap();
    drop(rows);
    transaction.commit().unwrap();
    drop(database);

    let problem_of = |enforcer: &Enforcer| {
        let degraded = enforcer.degraded();
        degraded
            .into_iter()
            .find(|it| it.contains("192.0.2.8/32 0"))
    };
    let standing = |enforcer: &Enforcer, host| enforcer.standing([192, 0, 2, host].into(), now);
    let first = enforcer(directory.path());
    assert!(matches!(standing(&first, 7), Standing::Blocked { .. }));
    assert_eq!(standing(&first, 8), Standing::Unlisted);
    assert!(problem_of(&first).unwrap().contains("block flush"));
    drop(first);
    let second = enforcer(directory.path());
    assert!(problem_of(&second).is_some());
    second.flush(now).unwrap();
    assert_eq!(problem_of(&second), None);
    drop(second);
    assert_eq!(problem_of(&enforcer(directory.path())), None);
}
