//! Many good ones and one bad: who is stopped, and who notices nothing.

use super::*;
use crate::engine::decision::Action;
use crate::words::clock::{Now, Wall};
use crate::words::key::KeyState;

/// Requests of all senders, mixed in time: each sends `n` of them over a minute.
fn mixed(engine: &mut Engine, good: &[Sender], bad: &Sender, n_bad: u64) -> Outcome {
    let mut outcome = Outcome::default();
    let gap = 60_000 / n_bad;
    for k in 0..n_bad {
        let ms = 1_000_000 + k * gap;
        let decision = bad.send(engine, ms);
        outcome.bad_denied += u64::from(decision.denial.is_some());
        outcome.held |= decision.pair_ban.is_some();
        outcome.banned |= decision.ban.is_some();
        // Every good one asks for something about every six seconds.
        let share = good.len() as u64 * 10 / n_bad.max(1);
        for place in 0..share.max(1) {
            let who = usize::try_from(k * share.max(1) + place).unwrap() % good.len();
            let sender = &good[who];
            if place == 0 && k.is_multiple_of(5) {
                sender.touches(engine, ms);
            }
            let decision = sender.send(engine, ms);
            outcome.good_denied += u64::from(decision.denial.is_some());
            outcome.banned |= decision.ban.is_some();
            outcome.n_good += 1;
        }
    }
    outcome
}

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    n_good: u64,
    good_denied: u64,
    bad_denied: u64,
    held: bool,
    banned: bool,
}

fn big_engine() -> Engine {
    let policy = compile(Mode::Enforce, POLICY, BanPolicy::default());
    Engine::new(policy, PrincipalCapacity(10_000))
}

fn state(engine: &Engine, hash: u128) -> KeyState {
    let now = Now {
        monotonic: at_ms(1_070_000),
        wall: Wall::from_unix_ms(1_700_000_000_000),
    };
    let keys = engine.keys(now);
    let key = keys.iter().find(|key| key.hash == KeyHash(hash));
    key.map_or(KeyState::Ok, |key| key.state)
}

/// Behind a carrier's NAT.
#[test]
fn a_thousand_users_behind_one_address_survive_the_one_bad_key_among_them() {
    let mut engine = big_engine();
    let users: Vec<_> = (0..1_000)
        .map(|user| {
            let mut sender = from(SCRAPER).key("free", 1_000 + user).asks("/users", "");
            // Two dozen kinds of browsers.
            sender.facts.fingerprint = u64::try_from(user % 24).unwrap() << 32;
            sender
        })
        .collect();
    let bad = from(SCRAPER)
        .key("free", 1)
        .hosting()
        .asks("/users", "cursor=x");
    let outcome = mixed(&mut engine, &users, &bad, 4_200);
    assert!(outcome.bad_denied > 4_000, "{outcome:?}");
    assert!(outcome.n_good > 8_000, "{outcome:?}");
    assert_eq!(
        (outcome.good_denied, outcome.banned, outcome.held),
        (0, false, true)
    );
    // The key is stopped at its address, and for its reputation.
    assert!(state(&engine, 1) >= KeyState::Throttled);
    assert_eq!(state(&engine, 1_007), KeyState::Ok);
}

/// The key of a public page.
#[test]
fn a_public_key_survives_the_one_scraper_who_copied_it() {
    let mut engine = big_engine();
    let users: Vec<_> = (0..1_000u32)
        .map(|user| {
            let address = format!("203.0.{}.{}", user / 250, 1 + user % 250);
            from(&address).key("free", 1).asks("/users", "")
        })
        .collect();
    let scraper = from(SCRAPER)
        .key("free", 1)
        .hosting()
        .asks("/users", "cursor=x");
    let outcome = mixed(&mut engine, &users, &scraper, 4_200);
    assert!(outcome.bad_denied > 4_000, "{outcome:?}");
    // Its address has nobody else behind it, and is banned; the key stays what it is.
    assert_eq!((outcome.good_denied, outcome.banned), (0, true));
    assert!(
        state(&engine, 1) <= KeyState::Watch,
        "{:?}",
        state(&engine, 1)
    );
}

/// Nothing of the kind "no UI" is said of a machine.
#[test]
fn an_internal_machine_key_run_wild_is_throttled_and_never_banned() {
    let mut engine = big_engine();
    let machine = from(SCRAPER)
        .key("partner", 1)
        .hosting()
        .asks("/users", "cursor=x");
    machine.send(&mut engine, 900_000);
    let mut actions = [0u64; 3];
    for hour in 0..6u64 {
        for decision in machine.decisions(&mut engine, 1_000_000 + hour * 3_600_000, 20_000, 60) {
            assert_eq!((decision.ban, decision.pair_ban), (None, None));
            match decision.action {
                Action::Allow => actions[0] += 1,
                Action::Throttle => actions[1] += 1,
                _ => actions[2] += 1,
            }
        }
    }
    assert_eq!(actions[2], 0);
    assert!(
        actions[0] > 6 * 5_000 && actions[1] > 6 * 13_000,
        "{actions:?}"
    );
    assert!(state(&engine, 1) <= KeyState::Throttled);
}
