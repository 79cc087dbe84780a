//! What the modes allow, and the order allow → bans → score.

use super::*;
use crate::engine::decision::{Action, Denial, Reason, Threshold};

fn banned() -> Standing {
    Standing::Blocked {
        rule: Arc::from("198.51.100.7/32 automatic"),
    }
}

#[test]
fn standing_and_modes() {
    let check = |global, path, standing: Standing, expected: (Action, Action, bool)| {
        let mut engine = engine_in(global);
        let sender = scraper().asks(path, "cursor=x").standing(standing.clone());
        let decision = sender.sends(&mut engine, 1_000_000, 2_000, 30);
        let found = (decision.action, decision.would, decision.denial.is_some());
        assert_eq!(found, expected, "{global} {path} {standing:?}");
        // Whatever happens to it, it is scored.
        assert_eq!(score(&decision), 10_000);
    };
    use Action::{Allow, Block, Log};
    use Standing::{Allowed, Unlisted};
    check(Mode::Enforce, "/users", Unlisted, (Block, Block, true));
    check(Mode::Enforce, "/users", Allowed, (Allow, Allow, false));
    check(Mode::Enforce, "/users", banned(), (Block, Block, true));
    check(Mode::Enforce, "/watched", Unlisted, (Log, Block, false));
    check(Mode::Enforce, "/watched", Allowed, (Allow, Allow, false));
    check(Mode::Enforce, "/watched", banned(), (Block, Block, true));
    check(Mode::Enforce, "/off", Unlisted, (Allow, Block, false));
    check(Mode::Enforce, "/off", banned(), (Block, Block, true));
    check(Mode::Log, "/users", Unlisted, (Log, Block, false));
    check(Mode::Log, "/users", banned(), (Log, Block, false));
    check(Mode::Off, "/users", Unlisted, (Allow, Block, false));
    check(Mode::Off, "/users", banned(), (Allow, Block, false));
}

#[test]
fn the_reason_says_why() {
    let check = |mode, standing, n, expected: Reason| {
        let sender = scraper().standing(standing);
        let decision = sender.sends(&mut engine_in(mode), 1_000_000, n, 30);
        assert_eq!(decision.reason, expected);
    };
    check(
        Mode::Enforce,
        Standing::Unlisted,
        1,
        Reason::BelowThresholds,
    );
    check(
        Mode::Enforce,
        Standing::Allowed,
        2_000,
        Reason::OperatorAllow,
    );
    let rule = Arc::from("198.51.100.7/32 automatic");
    check(Mode::Enforce, banned(), 1, Reason::Banned { rule });
    check(Mode::Off, Standing::Unlisted, 2_000, Reason::Off);
    let block = Reason::ScoreReached(Threshold::Block);
    check(Mode::Log, Standing::Unlisted, 2_000, block);
}

#[test]
fn the_throttle_band_lets_the_tiers_rate_through() {
    // Behaviour, network and tier alone: 0.65, no paging.
    let check = |mode, denials: usize, wishes: usize| {
        let mut engine = engine_in(mode);
        let sender = scraper().asks("/users", "");
        let mut decisions: Vec<_> = (0..180)
            .map(|k| sender.send(&mut engine, 1_000_000 + k * 10))
            .collect();
        let n_would = |action| decisions.iter().filter(|it| it.would == action).count();
        let n_denied = decisions.iter().filter(|it| it.denial.is_some()).count();
        assert_eq!(
            (n_denied, n_would(Action::Throttle)),
            (denials, wishes),
            "{mode}"
        );
        decisions.pop().unwrap()
    };
    // It comes into the band with its 66th request, and has used its burst up by then.
    let last = check(Mode::Enforce, 113, 113);
    assert_eq!(
        (last.action, last.would),
        (Action::Throttle, Action::Throttle)
    );
    let Some(Denial::Throttle { retry_after, .. }) = last.denial else {
        panic!("{last:?}");
    };
    assert!(retry_after <= Duration::from_millis(500) && !retry_after.is_zero());
    let last = check(Mode::Log, 0, 113);
    assert_eq!((last.action, last.would), (Action::Log, Action::Throttle));
}

#[test]
fn whoever_keeps_to_its_rate_and_burst_is_never_throttled() {
    // Its burst at once, then its rate to the last token, in the band all along.
    let mut engine = engine();
    let sender = scraper().asks("/users", "");
    sender.send(&mut engine, 900_000);
    let burst = (0..60).map(|_| 1_000_000);
    let steady = (1..=240).map(|k| 1_000_000 + k * 500);
    let mut n_within = 0;
    for ms in burst.chain(steady) {
        let decision = sender.send(&mut engine, ms);
        assert_eq!(decision.denial, None, "at {ms} ms");
        n_within += u32::from(decision.reason == Reason::WithinThrottleRate);
    }
    assert!(n_within > 200, "{n_within}");
    // One more at once is one too many.
    assert_eq!(sender.send(&mut engine, 1_120_000).action, Action::Throttle);
}

#[test]
fn a_watched_route_shows_what_enforcing_it_would_do() {
    let watched = POLICY.replace(
        "mode = \"enforce\"\n    expects",
        "mode = \"log\"\n    expects",
    );
    assert_ne!(watched, POLICY);
    // Reputation is not made on watched routes; here it is kept out.
    let plain = "[reputation]\nwatch = 1.0\nthrottle = 1.0\nsuspend = 1.0\n";
    let play = |policy: &str| {
        let policy = &format!("{policy}{plain}");
        let policy = compile(Mode::Enforce, policy, BanPolicy::default());
        let mut engine = Engine::new(policy, PrincipalCapacity(1_000));
        let (one, other) = (scraper().asks("/users", ""), scraper().asks("/pages", ""));
        one.send(&mut engine, 900_000);
        let would = |k: u64| match k % 3 {
            0 => one.send(&mut engine, 1_000_000 + k * 20).would,
            _ => other.send(&mut engine, 1_000_000 + k * 20).would,
        };
        (0..400).map(would).collect::<Vec<_>>()
    };
    let (enforced, watched) = (play(POLICY), play(&watched));
    let on_the_watched = |would: &[Action]| -> Vec<Action> {
        let would = would.iter().enumerate();
        would
            .filter(|(k, _)| k % 3 != 0)
            .map(|(_, it)| *it)
            .collect()
    };
    let expected = on_the_watched(&enforced);
    assert!(expected.contains(&Action::Allow) && expected.contains(&Action::Throttle));
    assert_eq!(on_the_watched(&watched), expected);
}

#[test]
fn waiting_as_told_is_enough() {
    let mut engine = engine();
    let sender = scraper().asks("/users", "");
    let refused = sender.sends(&mut engine, 1_000_000, 200, 2);
    let Some(Denial::Throttle { retry_after, .. }) = refused.denial else {
        panic!("{refused:?}");
    };
    let told = u64::try_from(retry_after.as_millis()).unwrap();
    let last = 1_000_000 + 199 * 10;
    assert_eq!(
        sender.send(&mut engine, last + told - 1).action,
        Action::Throttle
    );
    let passed = sender.send(&mut engine, last + told + 1);
    assert_eq!(
        (passed.action, passed.reason),
        (Action::Allow, Reason::WithinThrottleRate)
    );
}

#[test]
fn a_reload_keeps_what_is_known() {
    let mut engine = engine();
    scraper().sends(&mut engine, 1_000_000, 2_000, 30);
    engine.replace_policy(compile(Mode::Log, POLICY, BanPolicy::default()));
    let decision = scraper().send(&mut engine, 1_030_000);
    assert_eq!((decision.action, score(&decision)), (Action::Log, 10_000));
}
