//! Whose evidence is whose. Each rule with its mirror.

use super::*;
use crate::engine::decision::Action;

const VICTIM: &str = "203.0.113.9";

#[test]
fn garbage_with_a_victims_key_moves_nothing_of_the_victims() {
    let check = |status, attackers_requests: Option<f64>| {
        let mut engine = engine();
        let victim = from(VICTIM).key("free", 1);
        victim.send(&mut engine, 1_000_000);
        let attacker = from(SCRAPER)
            .key("free", 1)
            .asks("/users", "cursor=x")
            .answered(status);
        attacker.sends(&mut engine, 1_001_000, 2_000, 30);
        assert_eq!(score(&victim.send(&mut engine, 1_031_000)), 1_000);
        // The evidence is the address's own until the upstream vouches for the key.
        let anonymous = from(SCRAPER).send(&mut engine, 1_031_000);
        assert_eq!(
            signal(&anonymous, "burst").map(|it| it.value),
            attackers_requests
        );
    };
    check(401, Some(2_001.0));
    check(200, None);
}

#[test]
fn a_public_key_outlives_one_scraper_who_copied_it() {
    let mut engine = engine();
    let blocked = scraper().sends(&mut engine, 1_000_000, 2_000, 30);
    assert_eq!(blocked.action, Action::Block);
    for host in 0..200 {
        let user = from(&format!("203.0.113.{host}")).key("free", 1);
        let decision = user.send(&mut engine, 1_030_000 + host);
        assert_eq!((decision.action, score(&decision)), (Action::Allow, 1_000));
    }
}

#[test]
fn users_behind_one_address_outlive_one_bad_key() {
    let mut engine = engine();
    let office: Vec<_> = (100..200)
        .map(|hash| from(SCRAPER).hosting().key("free", hash))
        .collect();
    for user in &office {
        user.send(&mut engine, 999_000);
    }
    let blocked = scraper().sends(&mut engine, 1_000_000, 2_000, 30);
    assert_eq!(blocked.action, Action::Block);
    for user in &office {
        let decision = user.send(&mut engine, 1_030_000);
        assert_eq!((decision.action, score(&decision)), (Action::Allow, 4_000));
    }
}

#[test]
fn the_first_request_moves_to_the_pair_and_counts_once() {
    // Two requests in flight with a new key, then `n` in the same minute.
    let check = |sender: &Sender, n, expected| {
        let mut engine = engine();
        let user = from(VICTIM).key("free", 1).asks("/users", "page=1");
        let (_, first) = engine.decide(at_ms(1_000), &user.facts);
        let (_, second) = engine.decide(at_ms(1_001), &user.facts);
        let accepted = response(AnsweredBy::Upstream, 200);
        engine.observe(at_ms(1_010), &first, &accepted);
        engine.observe(at_ms(1_011), &second, &accepted);
        let decision = sender.sends(&mut engine, 1_020, n, 50);
        assert_eq!(signal(&decision, "burst").map(|it| it.value), expected);
    };
    // 2 + 179 requests are the first that pass what the tier allows (120 + 60).
    let pair = from(VICTIM).key("free", 1);
    check(&pair, 178, None);
    check(&pair, 179, Some(181.0));
    // Nothing of it is left at the address: 400 are still what anybody may send.
    check(&from(VICTIM), 400, None);
    check(&from(VICTIM), 401, Some(401.0));
}

#[test]
fn the_first_requests_leave_no_gap_in_their_addresss_allowance() {
    // 30 people behind one address, each with a first page of 10 calls in flight at once.
    let check = |status, expected| {
        let mut engine = engine();
        for key in 100..130 {
            let user = from(SCRAPER).key("free", key);
            let calls: Vec<_> = (0..10)
                .map(|_| engine.decide(at_ms(1_000_000), &user.facts).1)
                .collect();
            for pending in &calls {
                let answer = response(AnsweredBy::Upstream, status);
                engine.observe(at_ms(1_000_000), pending, &answer);
            }
        }
        // Who comes into the band at that address has its allowance, or not.
        let anonymous = from(SCRAPER).hosting().asks("/pages", "");
        let decision = anonymous.sends(&mut engine, 1_000_000, 103, 1);
        assert_eq!(
            decision.action, expected,
            "{status} {}",
            decision.score.score
        );
        assert!(decision.threshold.is_some());
    };
    check(200, Action::Allow);
    check(401, Action::Throttle);
}

#[test]
fn refused_requests_are_evidence_too() {
    let mut engine = engine();
    let blocked = scraper().sends(&mut engine, 1_000_000, 1_000, 10);
    assert_eq!(blocked.action, Action::Block);
    // All it sends is refused now, and that alone keeps it out.
    let later = scraper().sends(&mut engine, 1_010_000, 6_000, 100);
    assert_eq!(later.action, Action::Block);
    assert_eq!(signal(&later, "paging").unwrap().value, 3_600.0);
}

#[test]
fn a_claimed_tier_incriminates_but_does_not_excuse() {
    let check = |tier, status, expected| {
        let sender = from(SCRAPER)
            .hosting()
            .key(tier, 5)
            .asks("/pages", "")
            .answered(status);
        let decision = sender.sends(&mut engine(), 1_000_000, 500, 50);
        assert_eq!(score(&decision), expected, "{tier} {status}");
    };
    // A machine's excuse holds once the upstream accepted the key, not before.
    check("partner", 200, 0);
    check("partner", 401, 500 + 2_500 + 3_000);
    // A browser's expectation holds from the start.
    check("free", 401, 1_000 + 500 + 2_500 + 3_000);
}

#[test]
fn a_64_is_one_subscriber() {
    let check = |address: fn(u64) -> String, expected| {
        let mut engine = engine();
        let decision = (1..1_000)
            .map(|n| from(&address(n)).send(&mut engine, 1_000_000 + n))
            .last()
            .unwrap();
        assert_eq!(signal(&decision, "burst").is_some(), expected);
    };
    check(|n| format!("2001:db8:1:2::{n:x}"), true);
    check(|n| format!("2001:db8:1:{n:x}::1"), false);
}

#[test]
fn regulars_outlive_a_flood_of_newcomers() {
    let check = |flood: fn(u32) -> Sender| {
        let policy = compile(Mode::Enforce, POLICY, BanPolicy::default());
        let mut engine = Engine::new(policy, PrincipalCapacity(100));
        let regular = from(VICTIM).key("partner", 3).hosting().asks("/pages", "");
        regular.sends(&mut engine, 900_000, 5, 1);
        for n in 0..5_000u32 {
            flood(n).send(&mut engine, 1_000_000 + u64::from(n));
            if n % 40 == 0 {
                // Still known for a machine: a hosting network is nothing against it.
                assert_eq!(
                    score(&regular.send(&mut engine, 1_000_000 + u64::from(n))),
                    0,
                    "{n}"
                );
            }
        }
    };
    fn one_of_many(n: u32) -> Sender {
        let [_, a, b, c] = n.to_be_bytes();
        from(&format!("10.{a}.{b}.{c}"))
    }
    check(one_of_many);
    // One address that writes another key each time, where the upstream looks at none.
    check(|n| from(SCRAPER).key("free", 100 + u128::from(n)));
}

#[test]
fn a_flood_of_garbage_keys_is_its_addresss() {
    let mut engine = engine();
    let last = (0..2_000)
        .map(|n| {
            let sender = scraper().key("free", 100 + u128::from(n)).answered(401);
            sender.send(&mut engine, 1_000_000 + n * 10)
        })
        .last()
        .unwrap();
    assert_eq!((engine.principals(), last.action), (1, Action::Block));
}

#[test]
fn memory_is_capped() {
    let policy = compile(Mode::Enforce, POLICY, BanPolicy::default());
    let mut engine = Engine::new(policy, PrincipalCapacity(100));
    for host in 0..20_000u32 {
        let [_, a, b, c] = host.to_be_bytes();
        let sender = from(&format!("10.{a}.{b}.{c}")).key("free", host.into());
        sender.send(&mut engine, 1_000_000 + u64::from(host));
    }
    assert_eq!(engine.principals(), 100);
}
