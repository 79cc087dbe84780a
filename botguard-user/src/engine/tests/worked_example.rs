//! The acceptance test of the model, to the digit (DESIGN §1).

use super::*;
use crate::engine::decision::{Action, Denial, Group, Reason, Threshold};
use crate::words::points::Points;

/// The score alone decides: nobody is held for what it did before.
fn scoring_engine() -> Engine {
    let ban = BanPolicy {
        denied: 100_000,
        ..BanPolicy::default()
    };
    let policy = format!("{POLICY}[reputation]\nwatch = 1.0\nthrottle = 1.0\nsuspend = 1.0\n");
    let policy = compile(Mode::Enforce, &policy, ban);
    Engine::new(policy, PrincipalCapacity(1_000))
}

#[test]
fn the_worked_example_sums_to_the_digit() {
    let mut engine = scoring_engine();
    let decision = scraper().sends(&mut engine, 1_000_000, 4_200, 60);

    let rows: Vec<_> = decision
        .score
        .groups
        .iter()
        .map(|group| (group.group, group.total.to_string()))
        .collect();
    assert_eq!(
        rows,
        [
            (Group::Key, "0.10".to_owned()),
            (Group::Pattern, "0.40".to_owned()),
            (Group::Behaviour, "0.25".to_owned()),
            (Group::Network, "0.30".to_owned()),
        ]
    );
    assert_eq!(decision.score.raw, Points::from_basis(10_500));
    assert_eq!(decision.score.score, Points::ONE);
    assert_eq!(
        (decision.action, decision.would),
        (Action::Block, Action::Block)
    );
    assert_eq!(decision.denial, Some(Denial::Block));
    assert_eq!(decision.reason, Reason::ScoreReached(Threshold::Block));
    assert_eq!(decision.threshold, Some(Points::from_basis(9_000)));
    assert_eq!(&*decision.route, "/users");

    let check = |id, expected: &str| assert_eq!(signal(&decision, id).unwrap().evidence, expected);
    check("tier", "sk_pub_xyz123…, tier free");
    check("paging", "GET /users?cursor=… × 4,200 in 60 s");
    check("no_interaction", "no UI interaction in 4,200 requests");
    check(
        "hosting_asn",
        "AS16509 Amazon.com, Inc.: hosting (asn.csv and built-in list)",
    );
}

#[test]
fn the_tier_weight_changes_the_sum() {
    let heavier = POLICY.replace("weight = 0.10", "weight = 0.12");
    let policy = compile(Mode::Enforce, &heavier, BanPolicy::default());
    let mut engine = Engine::new(policy, PrincipalCapacity(1_000));
    let decision = scraper().sends(&mut engine, 1_000_000, 4_200, 60);
    assert_eq!(decision.score.raw, Points::from_basis(10_700));
    assert_eq!(decision.score.score, Points::ONE);
}

#[test]
fn it_goes_on_for_as_long_as_the_walk_does() {
    let mut engine = engine();
    let decision = scraper().sends(&mut engine, 1_000_000, 5 * 4_200, 300);
    assert_eq!(
        signal(&decision, "paging").unwrap().evidence,
        "GET /users?cursor=… × 4,200 in 60 s"
    );
}

#[test]
fn a_minute_after_it_stops_the_slate_is_clean() {
    let mut engine = scoring_engine();
    scraper().sends(&mut engine, 1_000_000, 4_200, 60);
    let decision = scraper().send(&mut engine, 1_125_000);
    assert_eq!(score(&decision), 4_000);
    assert_eq!(decision.action, Action::Allow);
}

#[test]
fn people_are_not_blocked() {
    let check = |sender: Sender, n, touches, at_most| {
        let mut engine = engine();
        // Accepted before the minute that is judged.
        sender.send(&mut engine, 900_000);
        for k in 0..touches {
            sender.touches(&mut engine, 1_000_000 + k * 60_000 / touches);
        }
        let decision = sender.sends(&mut engine, 1_000_000, n, 60);
        assert_eq!(decision.action, Action::Allow, "{sender:?}");
        assert!(score(&decision) <= at_most, "{}", score(&decision));
    };
    let at_home = from("203.0.113.5").key("free", 2);
    // One page load of a dozen calls, and nobody touched anything yet.
    check(at_home.clone().asks("/users", "page=1"), 12, 0, 1_000);
    // Paging by hand, once a second for a minute.
    check(at_home.clone().asks("/users", "page=2"), 60, 20, 1_000);
    // A busy session within the tier's rate.
    check(at_home.clone().asks("/pages", ""), 180, 30, 1_000);
    // A dashboard that polls all by itself while its owner is at lunch.
    check(at_home.asks("/pages", ""), 120, 0, 3_500);
    // The same by VPN from a hosting network.
    check(scraper().asks("/users", "page=2"), 60, 20, 4_000);
}

#[test]
fn a_forged_event_excuses_little() {
    let mut engine = engine();
    let paging = scraper();
    paging.touches(&mut engine, 1_000_000);
    paging.send(&mut engine, 1_000_000);
    for k in 0..5 {
        paging.touches(&mut engine, 1_010_000 + k);
    }
    let decision = paging.sends(&mut engine, 1_010_000, 3_000, 40);
    let reading = signal(&decision, "no_interaction").unwrap();
    assert_eq!(reading.confidence, Points::ONE);
    assert_eq!(reading.evidence, "5 UI interactions in 3,001 requests");
}

#[test]
fn classes_decide_what_counts() {
    let check = |tier, path, behaviour: Option<u32>, network: Option<u32>| {
        let mut engine = engine();
        let sender = from(SCRAPER).hosting().asks(path, "");
        let sender = match tier {
            Some(tier) => sender.key(tier, 9),
            None => sender,
        };
        let decision = sender.sends(&mut engine, 1_000_000, 150, 50);
        let found = |id| signal(&decision, id).map(|it| it.contribution().as_basis());
        assert_eq!(found("no_interaction"), behaviour, "{tier:?} {path}");
        assert_eq!(found("hosting_asn"), network, "{tier:?} {path}");
    };
    check(Some("free"), "/users", Some(2_500), Some(3_000));
    check(Some("partner"), "/users", None, None);
    check(Some("partner"), "/pages", None, None);
    check(None, "/users", None, Some(1_500));
    check(None, "/pages", Some(2_500), Some(3_000));
}

#[test]
fn a_partners_nightly_sync_is_no_evidence() {
    let partner = from(SCRAPER)
        .key("partner", 3)
        .hosting()
        .asks("/users", "cursor=x");
    let check = |per_minute, expected| {
        let decision = partner.sends(&mut engine(), 1_000_000, per_minute, 60);
        assert_eq!(
            (score(&decision), decision.action),
            expected,
            "{per_minute}"
        );
        assert_eq!((decision.ban, decision.pair_ban), (None, None));
    };
    check(6_000, (0, Action::Allow));
    check(6_090, (0, Action::Allow));
    // Run wild, it still is nothing but fast: held to its rate, and never banned.
    check(30_000, (4_000, Action::Throttle));
}
