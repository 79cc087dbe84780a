//! Overrides and memos over restarts, ends and steps of the clock.

use super::*;
use crate::words::clock::{Monotonic, Step};
use crate::words::identity::KeyHash;
use crate::words::key::{KeyMemo, KeyOverride, KeyRuling, KeyStanding, KeyState, SuspicionMemo};
use crate::words::memo::{BanMemo, Memo, SourceMemo};

const KEY: KeyHash = KeyHash(u128::MAX - 1);
const START: Wall = Wall::from_unix_ms(1_795_435_200_000);

fn later(seconds: u64) -> Wall {
    START.after(Duration::from_secs(seconds))
}

/// A process that begins a minute after boot, on a host whose clock was stepped by so much since.
fn opened(directory: &Path, step: Step) -> Enforcer {
    let now = START.shifted(step);
    let (store, contents) = Store::open(directory, Duration::ZERO, now).unwrap();
    let start = Start {
        contents,
        store_is_blank: store.is_blank(),
        store_problem: None,
        journal: Journal::start(Arc::new(store)).unwrap(),
        guard: NeverBlock::default(),
        mode: Mode::Enforce,
        default_scope: Scope::Listeners,
        asns: AsnSource::Unset,
        boot_id: "one".to_owned(),
        clock: Now {
            monotonic: Monotonic::from_boot(Duration::from_secs(60)),
            wall: now,
        },
        fill: Fill::Now,
    };
    let settings = KernelSettings {
        backend: Backend::None,
        ..KernelSettings::default()
    };
    Enforcer::new(start, KernelSide::open(&settings), now)
}

fn set(standing: KeyStanding, until: Option<Wall>) -> KeyOverride {
    KeyOverride {
        hash: KEY,
        public_id: "xyz1".to_owned(),
        ruling: KeyRuling {
            standing,
            ..KeyRuling::default()
        },
        reason: "leaked".to_owned(),
        actor: "uid 0".to_owned(),
        created: START,
        until,
    }
}

fn memos() -> Vec<Memo> {
    let key = KeyMemo {
        hash: KEY,
        public_id: "xyz1".to_owned(),
        shown: "xyz1…".to_owned(),
        tier: None,
        state: KeyState::Watch,
        since: START,
        at: START,
        spans: [SuspicionMemo::default(); 3],
        bad_hours: vec![],
        good: vec![],
        history: vec![],
    };
    let source = SourceMemo {
        network: "192.0.2.1/32".parse().unwrap(),
        ban: Some(BanMemo {
            proposed: START,
            ends: later(600),
            level: 2,
        }),
        good: vec![(7, START)],
    };
    vec![Memo::Key(Box::new(key)), Memo::Source(source)]
}

#[test]
fn an_override_holds_over_a_restart_until_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let none = KeyStanding::Earned;
    let check = |enforcer: &Enforcer, now, expected| {
        assert_eq!(enforcer.ruling(KEY, now).standing, expected);
        let is_there = enforcer.key_override(KEY, now).is_some();
        assert_eq!(is_there, expected != none);
        assert_eq!(enforcer.key_overrides(now).len(), usize::from(is_there));
        assert_eq!(enforcer.ruling(KeyHash(7), now).standing, none);
    };
    let enforcer = opened(directory.path(), Step::from_ms(0));
    check(&enforcer, START, none);
    enforcer
        .set_override(set(KeyStanding::Suspended, Some(later(60))))
        .unwrap();
    check(&enforcer, START, KeyStanding::Suspended);
    drop(enforcer);

    let enforcer = opened(directory.path(), Step::from_ms(0));
    check(&enforcer, later(59), KeyStanding::Suspended);
    check(&enforcer, later(60), none);
    assert_eq!(enforcer.expire_overrides(later(59)), []);
    assert_eq!(enforcer.expire_overrides(later(60)).len(), 1);
    assert_eq!(enforcer.n_key_overrides(), 0);
    drop(enforcer);

    // It left the store as well.
    let enforcer = opened(directory.path(), Step::from_ms(0));
    check(&enforcer, START, none);
    enforcer
        .set_override(set(KeyStanding::Pinned, None))
        .unwrap();
    drop(enforcer);
    let enforcer = opened(directory.path(), Step::from_ms(0));
    check(&enforcer, later(1_000_000_000), KeyStanding::Pinned);
    assert!(enforcer.clear_override(KEY).unwrap());
    assert!(!enforcer.clear_override(KEY).unwrap());
    check(&enforcer, START, none);
    drop(enforcer);
    check(&opened(directory.path(), Step::from_ms(0)), START, none);
}

#[test]
fn ends_of_overrides_and_times_of_memos_move_with_the_clock() {
    let directory = tempfile::tempdir().unwrap();
    let enforcer = opened(directory.path(), Step::from_ms(0));
    let until = later(60);
    enforcer
        .set_override(set(KeyStanding::Suspended, Some(until)))
        .unwrap();
    enforcer.remember(memos()).unwrap().wait().unwrap();
    // While it runs, by a day,
    let day = Step::from_ms(86_400_000);
    enforcer.follow_clock(Now {
        monotonic: Monotonic::from_boot(Duration::from_secs(60)),
        wall: START.shifted(day),
    });
    let moved = enforcer.key_override(KEY, START).unwrap().until;
    assert_eq!(moved, Some(until.shifted(day)));
    drop(enforcer);
    // and by an hour while it does not.
    let hour = Step::from_ms(3_600_000);
    let both = Step::from_ms(day.as_ms() + hour.as_ms());
    let twice = |wall: Wall| wall.shifted(both);
    for _start in 0..2 {
        let enforcer = opened(directory.path(), both);
        let moved = enforcer.key_override(KEY, START).unwrap().until;
        assert_eq!(moved, Some(twice(until)));
        assert_eq!(enforcer.remembered_keys()[0].since, twice(START));
        let sources = enforcer
            .take_memos()
            .into_iter()
            .find_map(|memo| match memo {
                Memo::Source(source) => Some(source),
                _ => None,
            });
        let source = sources.unwrap();
        assert_eq!(source.ban.unwrap().ends, twice(later(600)));
        assert_eq!(source.good, [(7, twice(START))]);
        assert_eq!(enforcer.take_memos(), []);
    }
}

#[test]
fn what_is_old_is_not_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let enforcer = opened(directory.path(), Step::from_ms(0));
    enforcer.remember(memos()).unwrap().wait().unwrap();
    enforcer.prune_memos(later(1));
    drop(enforcer);
    let enforcer = opened(directory.path(), Step::from_ms(0));
    assert_eq!(enforcer.take_memos().len(), 2);
    enforcer.prune_memos(later(400 * 86_400));
    drop(enforcer);
    assert_eq!(opened(directory.path(), Step::from_ms(0)).take_memos(), []);
}
