//! What survives: round trips, corruption, the lock.

use std::sync::Arc;

use proptest::prelude::*;
use redb::TableDefinition;

use super::journal::Journal;
use super::memos::tests::{memo, quiet_key};
use super::tables::ALLOWS;
use super::*;
use crate::words::block::{Effect, Scope};
use crate::words::key::{KeyRuling, KeyStanding, KeyState};
use crate::words::layer::{Group, Terms};

mod rows;

const NOW: Wall = Wall::from_unix_ms(1_795_435_200_000);

fn block(network: &str, origin: Origin) -> Block {
    Block {
        network: network.parse().unwrap(),
        origin,
        scope: Scope::Listeners,
        effect: Effect::Drop,
        created: NOW,
        expires: Some(Wall::from_unix_ms(NOW.as_unix_ms() + 60_000)),
        reason: "score 1.00".to_owned(),
    }
}

fn allow(network: &str) -> Allow {
    Allow {
        network: network.parse().unwrap(),
        created: NOW,
        reason: String::new(),
    }
}

fn terms() -> Terms {
    Terms {
        scope: Scope::Listeners,
        effect: Effect::Drop,
        created: NOW,
        reason: "test".to_owned(),
    }
}

fn list(name: &str, networks: &[&str]) -> NamedList {
    let networks = networks.iter().map(|network| network.parse().unwrap());
    NamedList {
        name: name.parse().unwrap(),
        terms: terms(),
        groups: vec![Group {
            expires: Some(NOW),
            networks: Arc::new(networks.collect()),
        }],
    }
}

fn system(number: u32) -> AsnBlock {
    AsnBlock {
        number,
        terms: terms(),
        expires: None,
    }
}

fn key_override(hash: u128) -> KeyOverride {
    KeyOverride {
        hash: KeyHash(hash),
        public_id: "xyz1".to_owned(),
        ruling: KeyRuling {
            standing: KeyStanding::Suspended,
            ..KeyRuling::default()
        },
        reason: "leaked".to_owned(),
        actor: "uid 0".to_owned(),
        created: NOW,
        until: None,
    }
}

fn reopened(directory: &Path) -> Contents {
    Store::open(directory, Duration::ZERO, NOW).unwrap().1
}

#[test]
fn changes_survive_a_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let by_operator = block("192.0.2.0/24", Origin::Operator);
    let automatic = block("192.0.2.0/24", Origin::Automatic);
    let mode = ModeOverride {
        mode: Mode::Log,
        until: Some(NOW),
    };
    let clock = BootClock {
        boot_id: "d3b0".to_owned(),
        offset: crate::words::clock::WallOffset::from_ms(-7),
    };
    let (store, empty) = Store::open(directory.path(), Duration::ZERO, NOW).unwrap();
    assert_eq!(empty, Contents::default());
    store
        .commit(&[
            Change::PutBlock(by_operator.clone()),
            Change::PutBlock(automatic),
            Change::PutAllow(allow("2001:db8::/32")),
            Change::PutList(Arc::new(list("drop", &["192.0.2.0/24"]))),
            Change::PutList(Arc::new(list("gone", &["192.0.2.0/24"]))),
            Change::PutAsn(system(16_509)),
            Change::PutAsn(system(7_922)),
            Change::SetMode(Some(mode)),
            Change::SetClock(clock.clone()),
            Change::PutOverride(key_override(u128::MAX)),
            Change::PutOverride(key_override(7)),
        ])
        .unwrap();
    store
        .commit(&[
            Change::DeleteBlock("192.0.2.0/24".parse().unwrap(), Origin::Automatic),
            Change::PutList(Arc::new(list(
                "drop",
                &["2001:db8::/48", "198.51.100.7/32"],
            ))),
            Change::DeleteList("gone".parse().unwrap()),
            Change::DeleteAsn(7_922),
            Change::DeleteOverride(KeyHash(7)),
        ])
        .unwrap();
    drop(store);
    assert_eq!(
        reopened(directory.path()),
        Contents {
            blocks: vec![by_operator],
            lists: vec![list("drop", &["2001:db8::/48", "198.51.100.7/32"])],
            asns: vec![system(16_509)],
            allows: vec![allow("2001:db8::/32")],
            mode: Some(mode),
            clock: Some(clock),
            overrides: vec![key_override(u128::MAX)],
            memos: vec![],
        }
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 10))]

    /// Of each subject the last memo is there after a reopening, moved by the steps since; nothing
    /// of those that were deleted.
    #[test]
    fn memos_are_read_as_written(
        memos in prop::collection::vec(memo(), 1..12),
        deleted in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        step in -1_000_000_i64..1_000_000,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(directory.path(), Duration::ZERO, NOW).unwrap();
        let puts: Vec<_> = memos.iter().cloned().map(Change::PutMemo).collect();
        store.commit(&puts).unwrap();
        let step = Step::from_ms(step);
        let deleted = deleted.iter().map(|at| MemoSubject::of(at.get(&memos)));
        let deleted: Vec<_> = deleted.collect();
        let deletes = deleted.iter().copied().map(Change::DeleteMemo);
        let changes: Vec<_> = deletes.chain([Change::ShiftMemos(step)]).collect();
        store.commit(&changes).unwrap();
        drop(store);
        let mut expected = std::collections::BTreeMap::new();
        for memo in memos {
            expected.insert(MemoSubject::of(&memo), memos::shifted(memo, step));
        }
        expected.retain(|subject, _memo| !deleted.contains(subject));
        let mut read = reopened(directory.path()).memos;
        read.sort_by_key(MemoSubject::of);
        prop_assert_eq!(read, expected.into_values().collect::<Vec<_>>());
    }
}

#[test]
fn pruning_keeps_what_was_heard_of() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), Duration::ZERO, NOW).unwrap();
    let later = NOW.after(memos::KEPT_FOR);
    let heard_of = quiet_key(2, KeyState::Ok, later);
    store
        .commit(&[
            Change::PutMemo(quiet_key(1, KeyState::Ok, NOW)),
            Change::PutMemo(heard_of.clone()),
            Change::PruneMemos(later),
        ])
        .unwrap();
    drop(store);
    assert_eq!(reopened(directory.path()).memos, [heard_of]);
}

#[test]
fn files_are_private() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("state");
    drop(Store::open(&directory, Duration::ZERO, NOW).unwrap());
    let check = |path: &Path, expected| {
        let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, expected, "{}", path.display());
    };
    check(&directory, 0o700);
    check(&directory.join("store.redb"), 0o600);
    check(&directory.join("lock"), 0o600);
}

#[test]
fn damage_is_moved_aside_and_kept() {
    let check = |damage: &[u8]| {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("store.redb"), damage).unwrap();
        let (store, contents) = Store::open(directory.path(), Duration::ZERO, NOW).unwrap();
        assert_eq!(contents, Contents::default());
        let aside = store.moved_aside().unwrap();
        assert_eq!(fs::read(aside).unwrap(), damage);
        store.commit(&[Change::PutAllow(allow("::/0"))]).unwrap();
    };
    check(b"not a database");
    check(&[0x5a; 8_192]);
}

#[test]
fn a_store_is_blank_until_its_first_commit() {
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        Store::open(directory.path(), Duration::ZERO, NOW)
            .unwrap()
            .0
    };
    assert!(open().is_blank());
    let store = open();
    assert!(store.is_blank(), "nothing was committed meanwhile");
    store.commit(&[Change::SetMode(None)]).unwrap();
    drop(store);
    assert!(!open().is_blank());
    let path = directory.path().join("store.redb");
    for damage in [b"".as_slice(), b"not a database"] {
        fs::write(&path, damage).unwrap();
        assert!(open().is_blank(), "{damage:?}");
    }
}

#[test]
fn a_held_store_is_not_opened_twice() {
    let directory = tempfile::tempdir().unwrap();
    let _held = Store::open(directory.path(), Duration::ZERO, NOW).unwrap();
    assert!(matches!(
        Store::open(directory.path(), Duration::ZERO, NOW),
        Err(StoreError::Lock(_))
    ));
}

#[test]
fn the_journal_keeps_the_order_and_finishes_on_drop() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), Duration::ZERO, NOW).unwrap();
    let journal = Journal::start(Arc::new(store)).unwrap();
    for host in 0..100 {
        let ban = block(&format!("198.51.100.{host}/32"), Origin::Automatic);
        journal.queue(Change::PutBlock(ban)).unwrap();
    }
    let lifted = Change::DeleteBlock("198.51.100.7/32".parse().unwrap(), Origin::Automatic);
    journal.submit(vec![lifted]).unwrap().wait().unwrap();
    let last = block("203.0.113.1/32", Origin::Automatic);
    journal.queue(Change::PutBlock(last.clone())).unwrap();
    drop(journal);
    let blocks = reopened(directory.path()).blocks;
    assert_eq!(blocks.len(), 100);
    assert!(blocks.contains(&last));
    assert!(!blocks.contains(&block("198.51.100.7/32", Origin::Automatic)));
}

#[test]
fn a_store_that_cannot_be_written_is_a_problem_with_a_name() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), Duration::ZERO, NOW).unwrap();
    let store = Arc::new(store);
    let journal = Journal::start(Arc::clone(&store)).unwrap();
    assert_eq!(journal.problem(), None);
    // A table of another type under the same name makes every commit fail.
    let mut slot = store.database.lock();
    let transaction = slot.as_mut().unwrap().begin_write().unwrap();
    transaction.delete_table(ALLOWS.definition()).unwrap();
    let other: TableDefinition<'_, u64, u64> = TableDefinition::new("allows");
    transaction.open_table(other).unwrap();
    transaction.commit().unwrap();
    drop(slot);
    let submit = |network| {
        journal
            .submit(vec![Change::PutAllow(allow(network))])
            .unwrap()
    };
    assert!(submit("192.0.2.0/24").wait().is_err());
    assert!(journal.problem().unwrap().starts_with("1 changes"));
    assert!(journal.is_behind());

    // Once it can be written again, so is what could not be.
    let mut slot = store.database.lock();
    *slot = Some(Database::create(&store.path).unwrap());
    let transaction = slot.as_mut().unwrap().begin_write().unwrap();
    transaction.delete_table(other).unwrap();
    transaction.commit().unwrap();
    drop(slot);
    submit("198.51.100.0/24").wait().unwrap();
    assert_eq!(journal.problem(), None);
    assert!(!journal.is_behind());
    drop(journal);
    drop(store);
    assert_eq!(reopened(directory.path()).allows.len(), 2);
}

#[test]
fn an_override_ends_when_it_says() {
    let check = |until: Option<u64>, now, expected| {
        let value = ModeOverride {
            mode: Mode::Log,
            until: until.map(Wall::from_unix_ms),
        };
        assert_eq!(value.is_live(Wall::from_unix_ms(now)), expected);
    };
    check(None, u64::MAX, true);
    check(Some(10), 9, true);
    check(Some(10), 10, false);
}
