//! What somebody who has read the source would try. Each attempt with what it is worth to others.

use super::answers::{engine_of, policy};
use super::*;
use crate::engine::decision::Action;
use crate::words::clock::{Now, Wall};
use crate::words::identity::{SessionHash, SessionIdentity};
use crate::words::key::KeyState;

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
            let ms = 1_000_000 + *n as u64;
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
