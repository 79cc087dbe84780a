//! What one gets that is in a hurry, and those who only look like it.

use proptest::prelude::*;

use super::*;
use crate::engine::decision::Action;

/// The first blocked request of a principal nobody knew, and how many were served before.
fn first_block(sender: &Sender, per_second: u64) -> Option<(u64, u64)> {
    let mut n_served = 0;
    for (number, decision) in
        (1..).zip(sender.decisions(&mut engine(), 1_000_000, 60 * per_second, 60))
    {
        match decision.action {
            Action::Block => return Some((number, n_served)),
            Action::Allow => n_served += 1,
            _ => {}
        }
    }
    None
}

#[test]
fn whoever_is_far_beyond_its_rate_is_stopped_within_seconds() {
    let check = |sender: &Sender, per_second, expected| {
        assert_eq!(first_block(sender, per_second), expected, "{per_second}/s");
    };
    // At 70 a second, 35 times its rate: throttled when its burst is used up, blocked after 2 s.
    check(&scraper(), 70, Some((147, 68)));
    check(&scraper(), 1_000, Some((147, 65)));
    // Slower, it takes longer, and costs no more than the rate it is allowed.
    check(&scraper(), 20, Some((147, 74)));
    check(&scraper(), 5, Some((256, 161)));
    // Its mirrors: the same haste with less against it.
    check(&scraper().key("partner", 3), 70, None);
    check(
        &from("203.0.113.5")
            .key("free", 2)
            .asks("/users", "cursor=x"),
        70,
        None,
    );
}

#[test]
fn evidence_names_the_window_it_was_counted_in() {
    let check = |n, seconds, expected: &str| {
        let decision = scraper().sends(&mut engine(), 1_000_000, n, seconds);
        let found = ["paging", "burst"].map(|id| &*signal(&decision, id).unwrap().evidence);
        assert_eq!(found.join("; "), expected);
    };
    check(
        200,
        3,
        "GET /users?cursor=… × 200 in 10 s; 200 requests in 10 s where 80 are allowed",
    );
    check(
        4_200,
        60,
        "GET /users?cursor=… × 4,200 in 60 s; 4,200 requests in 60 s where 180 are allowed",
    );
}

/// Requests that are all in flight before the first is answered; their decisions.
fn at_once(engine: &mut Engine, sender: &Sender, ms: u64, n: usize) -> Vec<Decision> {
    let asked: Vec<_> = (0..n)
        .map(|_| engine.decide(at_ms(ms), &sender.facts))
        .collect();
    for (decision, pending) in &asked {
        let answered_by = match decision.denial {
            None => AnsweredBy::Upstream,
            Some(_) => AnsweredBy::Botguard,
        };
        engine.observe(
            at_ms(ms + 50),
            pending,
            &response(answered_by, sender.status),
        );
    }
    asked
        .into_iter()
        .map(|(decision, _pending)| decision)
        .collect()
}

fn pattern(decision: &Decision) -> u32 {
    let groups = decision.score.groups.iter();
    let pattern = groups.filter(|it| it.group == crate::engine::decision::Group::Pattern);
    pattern.map(|it| it.total.as_basis()).sum()
}

fn at_home() -> Sender {
    from("203.0.113.5").key("free", 2)
}

#[test]
fn a_page_load_is_no_haste() {
    let check = |sender: &Sender, loads: u64, at_most: u32| {
        let mut engine = engine();
        for load in 0..loads {
            for decision in at_once(&mut engine, sender, 1_000_000 + load * 5_000, 60) {
                assert_eq!(decision.denial, None, "{sender:?} {}", decision.score.score);
                assert!(pattern(&decision) <= at_most, "{}", pattern(&decision));
            }
            sender.touches(&mut engine, 1_001_000 + load * 5_000);
        }
    };
    // 60 parallel calls, from home and by VPN, on a page of tables too, known before or not.
    check(&at_home().asks("/pages", ""), 1, 0);
    check(&at_home().asks("/users", "page=1"), 1, 0);
    check(&scraper().asks("/pages", "page=1"), 1, 0);
    check(&from("203.0.113.5").asks("/pages", ""), 1, 0);
    // Reloaded at once, by an impatient person.
    check(&at_home().asks("/pages", ""), 2, 500);
}

#[test]
fn a_page_load_is_no_haste_under_a_small_burst_either() {
    let strict = POLICY.replace(
        "rate = \"120/min\"\n    burst = 60",
        "rate = \"150/min\"\n    burst = 1",
    );
    assert_ne!(strict, POLICY);
    for query in ["", "page=1"] {
        let policy = compile(Mode::Enforce, &strict, BanPolicy::default());
        let mut engine = Engine::new(policy, PrincipalCapacity(1_000));
        let person = at_home().asks("/users", query);
        person.send(&mut engine, 900_000);
        for decision in at_once(&mut engine, &person, 1_000_000, 60) {
            assert_eq!((decision.denial.clone(), pattern(&decision)), (None, 0));
        }
        // One more is more than a page load.
        assert!(pattern(&person.send(&mut engine, 1_000_100)) > 0);
    }
}

#[test]
fn a_person_in_a_hurry_is_no_haste() {
    let mut engine = engine();
    let person = scraper().asks("/users", "page=2");
    person.send(&mut engine, 900_000);
    // 40 pages in a minute, 25 of them in the first ten seconds, a click for each.
    for k in 0..40 {
        let ms = 1_000_000
            + if k < 25 {
                k * 400
            } else {
                10_000 + (k - 25) * 3_000
            };
        person.touches(&mut engine, ms);
        let decision = person.send(&mut engine, ms + 100);
        assert_eq!((decision.action, score(&decision)), (Action::Allow, 4_000));
    }
}

#[test]
fn an_office_behind_one_address_is_no_haste() {
    let mut engine = engine();
    // 50 people with keys of their own load a page of 60 calls, five of them a second.
    for person in 0..50 {
        let sender = from("203.0.113.5")
            .key("free", 100 + u128::from(person))
            .asks("/pages", "");
        for decision in at_once(&mut engine, &sender, 1_000_000 + person * 200, 60) {
            assert_eq!((decision.denial.clone(), pattern(&decision)), (None, 0));
        }
    }
}

#[test]
fn newcomers_behind_one_address_are_judged_by_the_addresss_allowance() {
    // Three people load their first page at once, and the upstream has answered nobody yet.
    let check = |sender: Sender, status| {
        let mut engine = engine();
        let users: Vec<_> = (100..103)
            .map(|hash| sender.clone().key("free", hash))
            .collect();
        let asked = users
            .iter()
            .cycle()
            .take(150)
            .map(|user| engine.decide(at_ms(1_000), &user.facts));
        let asked: Vec<_> = asked.collect();
        for (decision, pending) in asked {
            assert_eq!((decision.denial.clone(), pattern(&decision)), (None, 0));
            engine.observe(
                at_ms(1_050),
                &pending,
                &response(AnsweredBy::Upstream, status),
            );
        }
        sender.key("free", 100).sends(&mut engine, 1_100, 400, 4)
    };
    let office = from("203.0.113.5").asks("/pages", "page=1");
    assert_eq!(check(office.clone(), 200).action, Action::Throttle);
    // One with garbage for a key has no more than that either.
    let garbage = office.answered(401);
    assert_eq!(pattern(&check(garbage, 401)), 4_000);
}

#[test]
fn a_public_key_that_many_use_behind_one_address_is_not_blocked() {
    // 30 people, one key in the page, so one pair; each clicks and pages every ten seconds.
    let mut engine = engine();
    let decisions: Vec<_> = (0..180)
        .map(|k| {
            let person = at_home().asks("/users", "page=3");
            person.touches(&mut engine, 1_000_000 + k * 333);
            person.send(&mut engine, 1_000_100 + k * 333)
        })
        .collect();
    assert!(
        decisions
            .iter()
            .all(|it| it.denial.is_none() && pattern(it) == 0)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    /// The sharpest that keeps to its rate and burst: every token as soon as it is there, after
    /// pauses of any length.
    #[test]
    fn whoever_keeps_to_rate_and_burst_gives_no_pattern(
        pauses_ms in prop::collection::vec((0u64..70_000, 1u64..400), 1..12),
        is_machine in prop::bool::ANY,
    ) {
        let (sender, interval_ms, burst) = if is_machine {
            (scraper().key("partner", 3), 10, 100)
        } else {
            (at_home().asks("/users", "page=4"), 500, 60)
        };
        let mut engine = engine();
        sender.send(&mut engine, 900_000);
        // By hand, as the reference: the instant until which tokens are spent.
        let (mut now, mut spent) = (1_000_000u64, 0u64);
        for (pause_ms, n) in pauses_ms {
            now += pause_ms;
            for _ in 0..n {
                now = now.max(spent.saturating_sub(interval_ms * (burst - 1)));
                spent = spent.max(now) + interval_ms;
                let decision = sender.send(&mut engine, now);
                prop_assert_eq!((pattern(&decision), decision.denial), (0, None));
            }
        }
    }
}
