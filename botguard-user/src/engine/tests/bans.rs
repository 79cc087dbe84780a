//! Which sources are proposed for the kernel, and which are spared.

use super::*;
use crate::engine::decision::{BanProposal, Denial};

/// Sends `n` requests over `seconds` and collects the proposals.
fn proposals(
    engine: &mut Engine,
    sender: &Sender,
    start_ms: u64,
    n: u64,
    seconds: u64,
) -> Vec<BanProposal> {
    sender
        .decisions(engine, start_ms, n, seconds)
        .filter_map(|decision| decision.ban)
        .collect()
}

#[test]
fn one_ban_for_one_source() {
    let mut engine = engine();
    let found = proposals(&mut engine, &scraper(), 1_000_000, 4_200, 60);
    let [ban] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(ban.target.ip().to_string(), SCRAPER);
    assert_eq!(ban.ttl, Duration::from_secs(600));
    assert_eq!(
        ban.reason,
        "20 requests blocked within 10s, score 0.97 on /users \
         (tier 0.10, paging 0.21, burst 0.11, no_interaction 0.25, hosting_asn 0.30)"
    );
}

#[test]
fn only_the_twentieth_blocked_request_within_ten_seconds() {
    let check = |gap_ms, expected| {
        let mut engine = engine();
        let mut now = 1_000_000;
        while scraper().send(&mut engine, now).denial != Some(Denial::Block) {
            now += 10;
        }
        let n = (2..=40u64).find(|k| {
            scraper()
                .send(&mut engine, now + (k - 1) * gap_ms)
                .ban
                .is_some()
        });
        assert_eq!(n, expected, "every {gap_ms} ms");
    };
    check(10, Some(20));
    check(400, Some(20));
    check(700, None);
}

#[test]
fn it_is_repeated_and_grows_when_the_source_comes_back() {
    let mut engine = engine();
    let ttls: Vec<u64> = [1_000_000, 1_300_000, 1_700_000, 5_000_000]
        .into_iter()
        .map(|start| proposals(&mut engine, &scraper(), start, 2_000, 20))
        .map(|found| found.first().map_or(0, |ban| ban.ttl.as_secs()))
        .collect();
    assert_eq!(ttls, [600, 0, 2_400, 9_600]);
}

#[test]
fn a_good_principal_behind_the_address_spares_it() {
    let check = |n_good: u64, allowed_good: u32, expected: usize| {
        let ban = BanPolicy {
            good_principals: allowed_good,
            ..BanPolicy::default()
        };
        let policy = compile(Mode::Enforce, POLICY, ban);
        let mut engine = Engine::new(policy, PrincipalCapacity(1_000));
        for good in 0..n_good {
            let user = from(SCRAPER).key("free", 100 + u128::from(good));
            user.sends(&mut engine, 900_000 + good, 5, 10);
        }
        let found = proposals(&mut engine, &scraper(), 1_000_000, 2_000, 30);
        assert_eq!(
            found.len(),
            expected,
            "{n_good} good, {allowed_good} allowed"
        );
    };
    check(0, 0, 1);
    check(1, 0, 0);
    check(50, 0, 0);
    check(2, 2, 1);
    check(3, 2, 0);
}

#[test]
fn a_good_neighbour_spares_the_address_and_not_the_bad_pair() {
    let mut engine = engine();
    let (bad, gentle) = (scraper(), from(SCRAPER).hosting().key("free", 100));
    gentle.sends(&mut engine, 900_000, 5, 10);
    let mut n_served = 0;
    // Ten minutes at 70 a second, beside a second key that asks for a page every 5 s.
    for k in 0..42_000u64 {
        let ms = 1_000_000 + k * 1_000 / 70;
        if k % 350 == 0 {
            gentle.touches(&mut engine, ms);
            assert_eq!(gentle.send(&mut engine, ms).denial, None);
        }
        let decision = bad.send(&mut engine, ms);
        assert_eq!(decision.ban, None);
        n_served += u32::from(decision.denial.is_none());
    }
    assert_eq!(n_served, 68);
}

#[test]
fn who_counts_as_good() {
    let check = |prepare: fn(&mut Engine), expected: usize| {
        let mut engine = engine();
        prepare(&mut engine);
        let found = proposals(&mut engine, &scraper(), 200_000_000, 2_000, 30);
        assert_eq!(found.len(), expected);
    };
    fn user() -> Sender {
        from(SCRAPER).key("free", 100)
    }
    // Seen lately, and not a day ago.
    check(|engine| drop(user().sends(engine, 199_000_000, 5, 10)), 0);
    check(|engine| drop(user().sends(engine, 100_000_000, 5, 10)), 1);
    // Accepted by the upstream, more than once.
    check(
        |engine| drop(user().answered(401).sends(engine, 199_000_000, 5, 10)),
        1,
    );
    check(|engine| drop(user().sends(engine, 199_000_000, 2, 10)), 1);
    // Somebody without a key, if the page was touched.
    check(
        |engine| {
            from(SCRAPER).touches(engine, 199_000_000);
            from(SCRAPER).sends(engine, 199_000_000, 5, 10);
        },
        0,
    );
    check(
        |engine| drop(from(SCRAPER).sends(engine, 199_000_000, 5, 10)),
        1,
    );
    // The scraper itself, from before it began.
    check(
        |engine| drop(scraper().sends(engine, 199_000_000, 5, 10)),
        1,
    );
    // One that was blocked itself lately, and behaves again.
    check(
        |engine| {
            let other = scraper().key("free", 100);
            other.sends(engine, 190_000_000, 1_000, 10);
            other.sends(engine, 199_000_000, 5, 10);
        },
        1,
    );
}

#[test]
fn an_address_that_is_not_the_peers_own_is_never_proposed() {
    let mut engine = engine();
    let forwarded = scraper().behind("192.0.2.1");
    assert_eq!(proposals(&mut engine, &forwarded, 1_000_000, 2_000, 30), []);
    assert_eq!(
        proposals(&mut engine, &scraper(), 2_000_000, 2_000, 30).len(),
        1
    );
}

#[test]
fn watching_bans_nobody_though_nobody_good_is_near() {
    // Somebody without a key is no good principal, so nothing but the mode stands before a ban.
    let check = |mode, path, expected: usize| {
        let stranger = from(SCRAPER).hosting().asks(path, "cursor=x");
        let mut engine = engine_in(mode);
        let found = proposals(&mut engine, &stranger, 1_000_000, 4_200, 60);
        assert_eq!(found.len(), expected, "{mode} {path}");
        assert_eq!(
            stranger.send(&mut engine, 1_060_000).would,
            crate::engine::decision::Action::Block
        );
    };
    check(Mode::Enforce, "/pages", 1);
    check(Mode::Enforce, "/watched", 0);
    check(Mode::Log, "/pages", 0);
    check(Mode::Off, "/pages", 0);
}

#[test]
fn evidence_of_watched_routes_leads_to_no_ban() {
    let mut engine = engine();
    let watched = scraper().asks("/watched", "cursor=x");
    assert_eq!(proposals(&mut engine, &watched, 1_000_000, 4_200, 60), []);
    // Nor does it weigh where decisions are carried out.
    let found = proposals(&mut engine, &scraper(), 1_060_000, 30, 1);
    assert_eq!(found, []);
    assert_eq!(score(&scraper().send(&mut engine, 1_061_000)), 4_000 + 28);
}
