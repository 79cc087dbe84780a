//! What the operator says of keys and tiers, verified crawlers and roll-outs change.

use super::answers::{decide, engine_of, policy};
use super::*;
use crate::engine::decision::{Action, Reason, Threshold};
use crate::words::identity::Crawler;
use crate::words::key::{KeyLimit, KeyRuling, KeyStanding};

#[test]
fn the_operators_word_on_a_key() {
    let block = policy("block = 0.05", "");
    let check =
        |policy: &str, ruling: KeyRuling, standing: Standing, expected: (Action, Reason)| {
            let mut sender = from(SCRAPER).key("free", 1).asks("/x", "");
            sender.facts.ruling = ruling;
            sender.facts.standing = standing;
            let decision = decide(&mut engine_of(policy), &sender);
            assert_eq!((decision.action, decision.reason), expected, "{ruling:?}");
        };
    let with = |standing| KeyRuling {
        standing,
        ..KeyRuling::default()
    };
    let banned = || Standing::Blocked { rule: "x".into() };
    let blocked = (Action::Block, Reason::ScoreReached(Threshold::Block));
    let suspended = Reason::KeySuspended { by: "the operator" };
    check(&block, KeyRuling::default(), Standing::Unlisted, blocked);
    check(
        &block,
        with(KeyStanding::Pinned),
        Standing::Unlisted,
        (Action::Allow, Reason::KeyPinned),
    );
    check(
        &block,
        with(KeyStanding::Pinned),
        banned(),
        (Action::Allow, Reason::KeyPinned),
    );
    check(
        &block,
        with(KeyStanding::Suspended),
        Standing::Unlisted,
        (Action::Block, suspended.clone()),
    );
    // The operator's allow list beats the operator's suspension, as it beats every block.
    check(
        &block,
        with(KeyStanding::Suspended),
        Standing::Allowed,
        (Action::Allow, Reason::OperatorAllow),
    );
    let log = KeyRuling {
        mode: Some(Mode::Log),
        ..KeyRuling::default()
    };
    check(
        &block,
        log,
        Standing::Unlisted,
        (Action::Log, Reason::ScoreReached(Threshold::Block)),
    );
    // A suspension is no decision of botguard's own: a watched route carries it out as well.
    let watched = block.replace("mode = \"enforce\"", "mode = \"log\"");
    check(
        &watched,
        with(KeyStanding::Suspended),
        Standing::Unlisted,
        (Action::Block, suspended),
    );
}

#[test]
fn a_pinned_key_is_held_to_its_own_limit_alone() {
    let policy = "[[tier]]\nname = \"free\"\nkeys = [\"*\"]\nrate = \"1/min\"\nburst = 1\n\
                  [default]\nmode = \"enforce\"\nblock = 0.05\nthrottle = 0.05\n";
    let check = |limit: Option<KeyLimit>, expected| {
        let mut engine = engine_of(policy);
        let mut sender = from(SCRAPER).key("free", 1).asks("/x", "");
        sender.facts.ruling = KeyRuling {
            standing: KeyStanding::Pinned,
            limit,
            mode: None,
        };
        let n = (0..10)
            .filter(|_| decide(&mut engine, &sender).denial.is_none())
            .count();
        assert_eq!(n, expected, "{limit:?}");
    };
    check(None, 10);
    let limit = KeyLimit {
        rate: "60/min".parse().unwrap(),
        burst: 4,
    };
    check(Some(limit), 4);
}

#[test]
fn crawlers_that_are_what_they_say() {
    let policy = policy("block = 0.30", "");
    let check = |crawler, expected| {
        let mut sender = from(SCRAPER).key("free", 1).asks("/x", "");
        sender.facts.crawler = crawler;
        let decision = decide(&mut engine_of(&policy), &sender);
        assert_eq!((decision.action, score(&decision)), expected);
    };
    let name: Arc<str> = "googlebot".into();
    check(Crawler::No, (Action::Allow, 1_000));
    check(
        Crawler::Unknown {
            name: Arc::clone(&name),
        },
        (Action::Allow, 1_000),
    );
    check(
        Crawler::Verified {
            name: Arc::clone(&name),
        },
        (Action::Allow, 1_000),
    );
    check(Crawler::False { name }, (Action::Block, 4_000));
}

#[test]
fn a_rollout_enforces_on_its_share_and_on_the_same_ones() {
    let text = |share: &str| policy("block = 0.10", &format!("rollout = \"{share}\"\n"));
    let blocked = |share: &str| -> Vec<u8> {
        let mut engine = engine_of(&text(share));
        (0..200)
            .filter(|host| {
                let sender = from(&format!("192.0.2.{host}"))
                    .key("free", 1)
                    .asks("/x", "");
                let decision = decide(&mut engine, &sender);
                assert_eq!(decision.would, Action::Block);
                decision.action == Action::Block
            })
            .collect()
    };
    assert_eq!(blocked("0%").len(), 0);
    assert_eq!(blocked("100%").len(), 200);
    let (some, more) = (blocked("25%"), blocked("50%"));
    assert!((30..70).contains(&some.len()), "{}", some.len());
    assert!(some.iter().all(|host| more.contains(host)));
}

#[test]
fn a_tiers_own_words_hold_once_its_key_is_accepted() {
    let policy = "[[tier]]\nname = \"partner\"\nkeys = [\"sk_partner_*\"]\nmode = \"log\"\nweight = 0.10\n\
                  [[tier]]\nname = \"strict\"\nkeys = [\"sk_strict_*\"]\nblock = 0.10\nweight = 0.10\n\
                  [default]\nmode = \"enforce\"\nthrottle = 0.05\nblock = 0.10\n";
    let check = |tier, expected: [Action; 2]| {
        let mut engine = engine_of(policy);
        let sender = from(SCRAPER).key(tier, 1).asks("/x", "");
        let (first, pending) = engine.decide(at_ms(1_000_000), &sender.facts);
        engine.observe(
            at_ms(1_000_000),
            &pending,
            &response(AnsweredBy::Upstream, 200),
        );
        let second = decide(&mut engine, &sender);
        assert_eq!([first.action, second.action], expected, "{tier}");
    };
    check("partner", [Action::Block, Action::Log]);
    check("strict", [Action::Block, Action::Block]);
}
