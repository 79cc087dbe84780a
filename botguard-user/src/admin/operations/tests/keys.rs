//! Keys by name, and what is left of a command when the next one opens the store.

use super::*;
use crate::admin::protocol::{KeyCard, KeyDetail, KeyReference, KeyRequest, Keys, OverrideTerms};
use crate::audit::record::KeyRecord;
use crate::store::Change;
use crate::words::identity::KeyHash;
use crate::words::key::{
    KeyLimit, KeyMemo, KeyRuling, KeyStanding, KeyState, KeyTransition, SuspicionMemo,
};
use crate::words::memo::Memo;
use crate::words::points::Points;

mod forgiving;

const KEY: KeyHash = KeyHash(0x0123_abcd << 96);

fn remembered(hash: KeyHash, public_id: &str, state: KeyState) -> KeyMemo {
    KeyMemo {
        hash,
        public_id: public_id.to_owned(),
        shown: format!("sk_pub_{public_id}…"),
        tier: Some("free".to_owned()),
        state,
        since: NOW,
        at: NOW,
        spans: [SuspicionMemo {
            requests: 100 * 10_000,
            suspicion: 25 * 10_000,
        }; 3],
        bad_hours: vec![498_732],
        good: vec![],
        history: vec![KeyTransition {
            at: NOW,
            from: KeyState::Ok,
            to: state,
            reputation: Some(Points::from_basis(2_500)),
            reason: "sustained".to_owned(),
        }],
    }
}

/// A store that remembers these keys, under a configuration with a browser tier.
fn bench(keys: &[KeyMemo]) -> Bench {
    let mut bench = Bench::new();
    let text = "[kernel]\nbackend = \"none\"\n[[tier]]\nname = \"free\"\nkeys = [\"sk_pub_*\"]\n\
                client = \"browser\"\n";
    let document = Document::from_text(Path::new("b.toml"), text.to_owned());
    bench.loaded = Loaded::parse(document).unwrap();
    let (store, _) = Store::open(bench.directory.path(), Duration::ZERO, NOW).unwrap();
    let memos = keys.iter().cloned().map(|key| Memo::Key(Box::new(key)));
    let changes: Vec<_> = memos.map(Change::PutMemo).collect();
    store.commit(&changes).unwrap();
    bench
}

fn named(name: &str) -> KeyReference {
    KeyReference::Named(name.to_owned())
}

fn suspend(key: KeyReference, for_s: Option<u64>) -> Request {
    Request::Key(KeyRequest::Suspend {
        key,
        reason: "leaked".to_owned(),
        for_s,
    })
}

fn resume(key: &str) -> Request {
    Request::Key(KeyRequest::Resume {
        key: named(key),
        reason: "rotated".to_owned(),
    })
}

fn terms(pin: bool, rate: Option<&str>) -> OverrideTerms {
    OverrideTerms {
        pin,
        limit: rate.map(|rate| KeyLimit {
            rate: rate.parse().unwrap(),
            burst: 5,
        }),
        mode: None,
    }
}

fn override_with(key: &str, terms: OverrideTerms) -> Request {
    Request::Key(KeyRequest::Override {
        key: named(key),
        terms,
        reason: "partner".to_owned(),
        for_s: None,
    })
}

fn clear(key: &str) -> Request {
    Request::Key(KeyRequest::Clear {
        key: named(key),
        reason: String::new(),
    })
}

fn done(response: Response) -> Done {
    match response {
        Response::Done(done) => done,
        other => panic!("{other:?}"),
    }
}

impl Bench {
    fn key(&self, name: &str, now: Wall) -> KeyDetail {
        match self.perform_at(now, &Request::Key(KeyRequest::Show { key: named(name) })) {
            Response::Key(detail) => *detail,
            other => panic!("{other:?}"),
        }
    }

    fn key_records(&self) -> Vec<KeyRecord> {
        let text = std::fs::read_to_string(self.directory.path().join("audit.jsonl")).unwrap();
        let events = text
            .lines()
            .map(|line| serde_json::from_str::<Record>(line).unwrap().event);
        let keys = events.filter_map(|event| match event {
            Event::Key(record) => Some(record),
            _ => None,
        });
        keys.collect()
    }
}

#[test]
fn a_suspension_holds_until_it_ends() {
    let bench = bench(&[remembered(KEY, "xyz1", KeyState::Watch)]);
    let said = done(bench.perform(&suspend(named("xyz1"), Some(60))));
    assert!(said.did[0].contains("suspended for 1m: leaked"), "{said:?}");
    assert!(said.warnings[0].contains("every user of it"), "{said:?}");
    let state = |now| {
        let key = bench.key("xyz1", now).key;
        (key.state, key.earned)
    };
    assert_eq!(state(later(59)), (KeyState::Suspended, KeyState::Watch));
    assert_eq!(state(later(60)), (KeyState::Watch, KeyState::Watch));
    let records = bench.key_records();
    assert_eq!(records.len(), 1);
    assert_eq!(
        (records[0].from, records[0].to),
        (KeyState::Watch, KeyState::Suspended)
    );
    assert_eq!((&*records[0].by, &*records[0].reason), ("uid 7", "leaked"));
    assert_eq!(records[0].until, Some(later(60).to_string()));
}

#[test]
fn resuming_lifts_what_the_operator_and_what_the_key_did() {
    let check = |earned, is_suspended: bool| {
        let bench = bench(&[remembered(KEY, "xyz1", earned)]);
        if is_suspended {
            done(bench.perform(&suspend(named("xyz1"), None)));
        }
        let was = (earned, is_suspended);
        let response = bench.perform(&resume("xyz1"));
        if was == (KeyState::Ok, false) {
            assert!(failure(response).message.contains("not suspended"));
            assert_eq!(bench.key_records(), []);
            return;
        }
        done(response);
        let detail = bench.key("xyz1", NOW);
        assert_eq!(
            (detail.key.state, detail.key.earned),
            (KeyState::Ok, KeyState::Ok),
            "{was:?}"
        );
        assert_eq!(detail.key.set, None);
        let last = detail.history.last().unwrap();
        let is_forgiven = last.reputation.is_none() && last.reason == "rotated";
        assert_eq!(is_forgiven, earned != KeyState::Ok, "{was:?}");
        assert_eq!(detail.key.reputation.day.is_none(), is_forgiven);
        let last = bench.key_records().pop().unwrap();
        assert_eq!((last.to, &*last.by), (KeyState::Ok, "uid 7"));
    };
    check(KeyState::Ok, false);
    check(KeyState::Ok, true);
    check(KeyState::Watch, false);
    check(KeyState::Throttled, true);
    check(KeyState::Suspended, false);
    check(KeyState::Suspended, true);
}

#[test]
fn overrides_are_set_replaced_and_cleared_and_keep_clear_of_suspensions() {
    let bench = bench(&[remembered(KEY, "xyz1", KeyState::Suspended)]);
    let ruling = || bench.guarding(&[], |enforcer| enforcer.ruling(KEY, NOW));
    let said = done(bench.perform(&override_with("xyz1", terms(true, None))));
    assert!(said.warnings[0].contains("copies it"), "{said:?}");
    assert_eq!(bench.key("xyz1", NOW).key.state, KeyState::Ok);
    assert_eq!(ruling().standing, KeyStanding::Pinned);
    let said = done(bench.perform(&override_with("xyz1", terms(false, Some("5/s")))));
    assert!(said.warnings[0].contains("in place of: pinned"), "{said:?}");
    assert_eq!(bench.key("xyz1", NOW).key.state, KeyState::Suspended);

    // A suspension keeps the rate, and the rate outlives it.
    done(bench.perform(&suspend(named("xyz1"), None)));
    assert!(ruling().limit.is_some());
    let refused = failure(bench.perform(&override_with("xyz1", terms(true, None))));
    assert!(refused.message.contains("key resume"), "{refused:?}");
    assert_eq!(ruling().standing, KeyStanding::Suspended);
    done(bench.perform(&clear("xyz1")));
    assert_eq!(
        (ruling().standing, ruling().limit),
        (KeyStanding::Suspended, None)
    );
    let refused = failure(bench.perform(&clear("xyz1")));
    assert!(refused.message.contains("key resume"), "{refused:?}");
    done(bench.perform(&resume("xyz1")));
    assert_eq!(ruling(), KeyRuling::default());
    done(bench.perform(&override_with("xyz1", terms(false, Some("5/s")))));
    done(bench.perform(&suspend(named("xyz1"), Some(60))));
    done(bench.perform(&resume("xyz1")));
    assert_eq!(
        (ruling().standing, ruling().limit.is_some()),
        (KeyStanding::Earned, true)
    );
    done(bench.perform(&clear("xyz1")));
    let refused = failure(bench.perform(&clear("xyz1")));
    assert!(refused.message.contains("no override"), "{refused:?}");
    assert_eq!(ruling(), KeyRuling::default());
}

#[test]
fn a_name_is_one_keys_or_nobodys() {
    let other = KeyHash(KEY.0 + 1);
    let bench = bench(&[
        remembered(KEY, "xyz1", KeyState::Ok),
        remembered(other, "xyz1", KeyState::Ok),
        remembered(KeyHash(7), "abc", KeyState::Ok),
    ]);
    let check = |name: &str, expected: Result<KeyHash, (Blame, &str)>| {
        let response = bench.perform(&Request::Key(KeyRequest::Show { key: named(name) }));
        match (response, expected) {
            (Response::Key(detail), Ok(hash)) => assert_eq!(detail.key.hash, hash.to_string()),
            (Response::Failed(failed), Err((blame, part))) => {
                assert_eq!(failed.blame, blame, "{name}");
                assert!(failed.message.contains(part), "{failed:?}");
            }
            (other, _) => panic!("{name}: {other:?}"),
        }
    };
    check("abc", Ok(KeyHash(7)));
    check("sk_pub_abc…", Ok(KeyHash(7)));
    check("xyz1", Err((Blame::Usage, "2 keys are called so")));
    check("xyz1", Err((Blame::Usage, "#0123abcd0000")));
    check("#0123abcd", Err((Blame::Usage, "2 keys are called so")));
    check(&format!("#{KEY}"), Ok(KEY));
    check(&format!("#{}", KeyHash(9)), Ok(KeyHash(9)));
    check("#00000000", Ok(KeyHash(7)));
    check("#ffffffff", Err((Blame::Internal, "--key-file")));
    check("nobody", Err((Blame::Internal, "key list")));
    check("sk_pub_secretsecret", Err((Blame::Usage, "whole key")));
}

#[test]
fn a_key_that_was_never_seen_can_be_pinned() {
    let bench = bench(&[]);
    let card = KeyCard {
        hash: KEY.to_string(),
        public_id: "xyz1".to_owned(),
        shown: "sk_pub_xyz1…".to_owned(),
        tier: Some("free".to_owned()),
    };
    let said = done(bench.perform(&Request::Key(KeyRequest::Override {
        key: KeyReference::Card(card.clone()),
        terms: terms(true, None),
        reason: "partner".to_owned(),
        for_s: None,
    })));
    assert!(
        said.did[0].contains("sk_pub_xyz1… pinned for good: partner"),
        "{said:?}"
    );
    assert!(
        said.warnings
            .iter()
            .any(|line| line.contains("first request")),
        "{said:?}"
    );
    // By its public id from then on.
    assert_eq!(bench.key("xyz1", NOW).key.hash, KEY.to_string());
    let bad = KeyCard {
        hash: "0123".to_owned(),
        ..card
    };
    let refused = failure(bench.perform(&suspend(KeyReference::Card(bad), None)));
    assert_eq!(refused.blame, Blame::Usage);
}

#[test]
fn wrong_orders_change_nothing() {
    let bench = bench(&[remembered(KEY, "xyz1", KeyState::Ok)]);
    let check = |request: &Request, part: &str| {
        let failed = failure(bench.perform(request));
        assert_eq!(failed.blame, Blame::Usage, "{request:?}");
        assert!(failed.message.contains(part), "{failed:?}");
        let ruling = bench.guarding(&[], |enforcer| enforcer.ruling(KEY, NOW));
        assert_eq!(ruling, KeyRuling::default());
    };
    let because = |reason: &str| {
        Request::Key(KeyRequest::Suspend {
            key: named("xyz1"),
            reason: reason.to_owned(),
            for_s: None,
        })
    };
    check(&because(" "), "--reason");
    check(&because(&"a".repeat(1_025)), "--reason");
    check(&suspend(named("xyz1"), Some(0)), "--for");
    check(&override_with("xyz1", OverrideTerms::default()), "--pin");
    let mut burstless = terms(false, Some("5/s"));
    burstless.limit.as_mut().unwrap().burst = 0;
    check(&override_with("xyz1", burstless), "--burst");
    // What may be a secret is not recorded.
    bench.perform(&suspend(named("sk_pub_secretsecret"), None));
    let audit = std::fs::read_to_string(bench.directory.path().join("audit.jsonl")).unwrap();
    assert!(audit.contains("no name of a key"), "{audit}");
    assert!(!audit.contains("secretsecret"), "{audit}");
}

#[test]
fn lists_show_the_worst_first() {
    let bench = bench(&[
        remembered(KeyHash(1), "b", KeyState::Ok),
        remembered(KeyHash(2), "a", KeyState::Ok),
        remembered(KeyHash(3), "c", KeyState::Throttled),
    ]);
    bench.perform(&suspend(named("b"), None));
    let list = |state, now| match bench.perform_at(now, &Request::Key(KeyRequest::List { state })) {
        Response::Keys(Keys { keys }) => keys,
        other => panic!("{other:?}"),
    };
    let ids = |state| {
        list(state, NOW)
            .into_iter()
            .map(|key| key.public_id)
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(None), ["b", "c", "a"]);
    assert_eq!(ids(Some(KeyState::Suspended)), ["b"]);
    assert_eq!(ids(Some(KeyState::Watch)), [""; 0]);
    let key = &list(None, NOW)[1];
    assert_eq!(key.reputation.hour, Some(Points::from_basis(2_500)));
    // 100 × ln 2, and half of it an hour later.
    assert_eq!(key.requests_last_hour, 69);
    assert_eq!(list(None, later(3_600))[1].requests_last_hour, 35);
}
