//! What somebody who has read the source would try. Each attempt with what it is worth to others.

use super::answers::{engine_of, policy};
use super::*;
use crate::engine::decision::Action;
use crate::words::clock::{Now, Wall};
use crate::words::identity::{SessionHash, SessionIdentity};
use crate::words::key::KeyState;
use crate::words::memo::Memo;

fn session(mut sender: Sender, hash: u128) -> Sender {
    sender.facts.session = Some(SessionIdentity {
        hash: SessionHash(hash),
    });
    sender
}

fn now(ms: u64) -> Now {
    Now {
        monotonic: at_ms(ms),
        wall: Wall::from_unix_ms(1_700_000_000_000 + ms),
    }
}

const HOUR_MS: u64 = 3_600_000;
/// Hours before boot cannot be told apart.
const START: u64 = 400 * HOUR_MS;

/// An hour of somebody who copied the key of a page, and of visitors of that page: its session
/// comes first, the key with what the page's script asks for.
fn hour_of_a_copied_key(engine: &mut Engine, start: u64) -> Vec<Action> {
    let mut actions = Vec::new();
    for host in 0..3u64 {
        let page = session(from(&format!("203.0.113.{host}")), 100 + u128::from(host));
        page.clone().asks("/pages", "").send(engine, start);
        let script = page.key("free", 1).asks("/users", "");
        let sent = script.decisions(engine, start + 1_000, 6, 60);
        actions.extend(sent.map(|it| it.action));
    }
    scraper().sends(engine, start + HOUR_MS / 2, 2_000, 200);
    actions
}

#[test]
fn a_page_s_key_is_not_suspended_for_one_who_copied_it() {
    let mut engine = engine();
    for hour in 0..6 {
        let actions = hour_of_a_copied_key(&mut engine, START + hour * HOUR_MS);
        assert!(
            actions.iter().all(|it| *it == Action::Allow),
            "{hour}: {actions:?}"
        );
    }
    assert_eq!(engine.keys(now(START))[0].state, KeyState::Watch);
    // The mirror: with nobody good, it is.
    let mut engine = self::engine();
    for hour in 0..6 {
        scraper().sends(&mut engine, START + hour * HOUR_MS, 2_000, 200);
    }
    assert_eq!(engine.keys(now(START))[0].state, KeyState::Suspended);
}

#[test]
fn a_restart_forgets_nobody_who_speaks_for_a_key() {
    let mut engine = engine();
    for hour in 0..6 {
        hour_of_a_copied_key(&mut engine, START + hour * HOUR_MS);
    }
    let end = START + 6 * HOUR_MS;
    let memos = engine.drain_memos(now(end));
    let mut fresh = self::engine();
    fresh.recall(now(end), &memos);
    assert!(fresh.drain_memos(now(end + 1_000)).is_empty(), "unchanged");
    // The scraper is there first.
    scraper().sends(&mut fresh, end + 2_000, 2_000, 200);
    assert_eq!(fresh.keys(now(end))[0].state, KeyState::Watch);
}

#[test]
fn a_session_of_ones_own_is_no_way_around_a_key_s_limit() {
    let text = policy(
        "",
        "[[route]]\npath = \"/export\"\nlimits = [{ per = \"key\", rate = \"10/h\", burst = 3 }]\n",
    );
    // How many of 20 exports pass, where each key comes with a session that was served before.
    let granted = |session_of: fn(u128) -> u128| {
        let mut engine = engine_of(&text);
        let granted = (0..20).filter(|n| {
            let ms = 1_000_000 + u64::try_from(*n).unwrap();
            let cookie = session(from(SCRAPER), session_of(*n)).asks("/404", "");
            cookie.clone().answered(404).send(&mut engine, ms);
            let export = cookie.key("partner", 1).asks("/export", "");
            export.send(&mut engine, ms).action == Action::Allow
        });
        granted.count()
    };
    assert_eq!(granted(|_| 7), 3);
    assert_eq!(granted(|n| 100 + n), 3);
}

#[test]
fn a_refusal_costs_no_bytes() {
    let text = policy(
        "",
        "[[route]]\npath = \"/export\"\nquota = { bytes = \"1000B\", window = \"1000s\", per = \"address\" }\n",
    );
    let mut engine = engine_of(&text);
    let sender = from(SCRAPER).asks("/export", "");
    let mut send = |ms| {
        let (decision, pending) = engine.decide(at_ms(ms), &sender.facts);
        let answered_by = match decision.denial {
            None => AnsweredBy::Upstream,
            Some(_) => AnsweredBy::Botguard,
        };
        let answer = ResponseFacts {
            bytes_out: 1_000,
            ..response(answered_by, 200)
        };
        engine.observe(at_ms(ms), &pending, &answer);
        decision.action
    };
    assert_eq!(send(1_000_000), Action::Allow);
    for second in 0..10 {
        assert_eq!(send(1_000_001 + second * 10), Action::Throttle);
    }
    // As RateLimit had promised: a byte is there again after a second.
    assert_eq!(send(1_002_000), Action::Allow);
}

/// An address from which ever new sessions come, all served, on a route that is only watched.
#[test]
fn made_up_sessions_on_a_watched_route_count_nowhere_else() {
    let newcomer = |engine: &mut Engine, n: u64, path: &str| {
        let sender = session(from(SCRAPER), 1_000 + u128::from(n)).asks(path, "");
        sender.send(engine, 1_000_000 + n * 100)
    };
    let churn = |flood: &str| {
        let mut engine = engine();
        for n in 0..600 {
            newcomer(&mut engine, n, flood);
        }
        let decision = newcomer(&mut engine, 601, "/users");
        let again = newcomer(&mut engine, 601, "/users");
        assert_eq!(again.reason, decision.reason);
        signal(&decision, "credential_churn").is_some()
    };
    assert!(churn("/users"));
    assert!(!churn("/watched"));
}

/// While the store cannot be written, memos stay with the engine, for as long as the disk is full.
#[test]
fn what_waits_for_the_store_is_bounded() {
    let policy = compile(Mode::Enforce, POLICY, BanPolicy::default());
    let mut engine = Engine::new(policy, PrincipalCapacity(100));
    for round in 0..400u64 {
        for host in 0..20u64 {
            let sender = from(&format!("203.0.113.{}", host / 10));
            let sender = sender.key("free", u128::from(host)).asks("/pages", "");
            sender.send(&mut engine, 1_000_000 + round * 5_000 + host);
        }
        // Served where nobody looks at keys, each of which is one to remember.
        for key in 0..20u64 {
            let key = 1_000 + round * 20 + key;
            let sender = from(&format!("198.51.100.{}", key % 250));
            let sender = sender.key("free", u128::from(key)).asks("/pages", "");
            sender.send(&mut engine, 1_000_000 + round * 5_000 + key % 20);
        }
    }
    let waiting = engine.waiting();
    assert!(waiting.iter().all(|n| *n <= 800), "{waiting:?}");
    let memos = engine.drain_memos(now(3_000_000));
    let is_source = |memo: &&Memo| matches!(memo, Memo::Source(_));
    assert_eq!(memos.iter().filter(is_source).count(), 2);
    assert_eq!(engine.waiting(), [0; 3]);
}

#[test]
fn a_flood_of_keys_frees_none_that_is_suspended() {
    let policy = compile(Mode::Enforce, POLICY, BanPolicy::default());
    let mut engine = Engine::new(policy, PrincipalCapacity(100));
    for hour in 0..6 {
        scraper().sends(&mut engine, START + hour * HOUR_MS, 2_000, 200);
    }
    let state = |engine: &Engine| {
        let keys = engine.keys(now(START));
        let key = keys.iter().find(|key| key.hash == KeyHash(1));
        key.map(|key| key.state)
    };
    assert_eq!(state(&engine), Some(KeyState::Suspended));
    let end = START + 6 * HOUR_MS;
    for n in 0..2_000u64 {
        let sender = from(&format!("203.0.113.{}", n % 200));
        let sender = sender.key("free", 1_000 + u128::from(n)).asks("/users", "");
        let sender = sender.answered(404);
        sender.sends(&mut engine, end + n * 50, 2, 1);
        if n % 20 == 0 {
            let _memos = engine.drain_memos(now(end + n * 50));
        }
    }
    assert_eq!(state(&engine), Some(KeyState::Suspended));
}

/// Times that no clock of this boot gave: the host began in 2030 and learnt better, or a row was
/// damaged.
#[test]
fn no_memo_holds_anybody_longer_than_policy_does() {
    let year = 365 * 24 * HOUR_MS;
    let mut engine = engine();
    neighbour_and_held_pair(&mut engine);
    let mut memos = engine.drain_memos(now(1_100_000));
    for memo in &mut memos {
        let ban = match memo {
            Memo::Pair(pair) => &mut pair.ban,
            Memo::Source(source) => match &mut source.ban {
                Some(ban) => ban,
                None => continue,
            },
            Memo::Key(_) => continue,
        };
        ban.proposed = ban.proposed.after(Duration::from_millis(4 * year));
        ban.ends = ban.ends.after(Duration::from_millis(8 * year));
        ban.level = u32::MAX;
    }
    let mut fresh = self::engine();
    fresh.recall(now(1_100_000), &memos);
    assert_eq!(fresh.held_pairs(now(1_100_000)).len(), 1);
    let day = 24 * HOUR_MS;
    assert!(fresh.held_pairs(now(1_100_000 + day)).is_empty());
}

fn neighbour_and_held_pair(engine: &mut Engine) {
    let good = from(SCRAPER).key("free", 77).asks("/pages", "");
    good.sends(engine, 900_000, 5, 10);
    scraper().sends(engine, 1_000_000, 1_000, 10);
}

#[test]
fn no_memo_holds_a_key_in_its_state_for_years() {
    let mut engine = engine();
    scraper().sends(&mut engine, START, 2_000, 200);
    let mut memos = engine.drain_memos(now(START + HOUR_MS));
    for memo in &mut memos {
        let Memo::Key(key) = memo else { continue };
        assert_ne!(key.state, KeyState::Ok);
        let later = Duration::from_millis(4 * 365 * 24 * HOUR_MS);
        (key.since, key.at) = (key.since.after(later), key.at.after(later));
        key.good = vec![(1, key.at.after(later))];
        let change = key.history[0].clone();
        key.history = vec![change; 500];
    }
    let mut fresh = self::engine();
    fresh.recall(now(START + HOUR_MS), &memos);
    let end = START + 1_000 * HOUR_MS;
    let _memos = fresh.drain_memos(now(end));
    let keys = fresh.keys(now(end));
    assert_eq!(keys[0].state, KeyState::Ok);
    assert!(keys[0].history.len() <= crate::words::key::KeyMemo::MAX_HISTORY);
    assert!(keys[0].good.iter().all(|(_, seen)| *seen <= now(end).wall));
}
