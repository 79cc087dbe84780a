//! What somebody who has read the source would try. Each attempt with what it is worth to others.

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
