//! Pairs before addresses before networks, and who is spared each time.

use super::*;
use crate::engine::decision::{Action, Reason};
use crate::words::clock::Now;
use crate::words::identity::{SessionHash, SessionIdentity};
use crate::words::memo::{Credential, Memo};

fn is_banned(decision: &Decision) -> bool {
    decision.ban.is_some()
}

/// Somebody who makes an address worth sparing.
fn neighbour(engine: &mut Engine, address: &str) {
    from(address)
        .key("free", 77)
        .asks("/pages", "")
        .sends(engine, 900_000, 5, 10);
}

#[test]
fn the_bad_pair_is_held_while_its_neighbours_are_spared() {
    let mut engine = engine();
    neighbour(&mut engine, SCRAPER);
    let decisions: Vec<_> = scraper()
        .decisions(&mut engine, 1_000_000, 1_000, 10)
        .collect();
    assert!(!decisions.iter().any(is_banned));
    let held = decisions
        .iter()
        .find_map(|it| it.pair_ban.as_ref())
        .unwrap();
    assert_eq!(held.ttl.as_secs(), 600);
    assert!(
        held.reason
            .ends_with("; 1 good principals behind its address"),
        "{}",
        held.reason
    );
    // Minutes later its score is clean, and it is held all the same; then it is not.
    let later = |engine: &mut Engine, ms| scraper().send(engine, ms);
    let decision = later(&mut engine, 1_300_000);
    assert_eq!(
        (decision.action, decision.reason),
        (Action::Block, Reason::PairBanned)
    );
    assert_eq!(later(&mut engine, 1_700_000).action, Action::Allow);
    // Its neighbour was never refused, nor is the key elsewhere, nor another key of its own.
    let served = |engine: &mut Engine, sender: Sender| {
        assert_eq!(sender.send(engine, 1_300_000).action, Action::Allow);
    };
    let mut engine = self::engine();
    neighbour(&mut engine, SCRAPER);
    scraper().sends(&mut engine, 1_000_000, 1_000, 10);
    served(
        &mut engine,
        from(SCRAPER).key("free", 77).asks("/pages", ""),
    );
    served(
        &mut engine,
        from("192.0.2.9").key("free", 1).asks("/users", ""),
    );
}

#[test]
fn sessions_are_pairs_too() {
    let mut engine = engine();
    neighbour(&mut engine, SCRAPER);
    let with_session = |hash| {
        let mut sender = from(SCRAPER).hosting().asks("/pages", "cursor=x");
        let hash = SessionHash(hash);
        sender.facts.session = Some(SessionIdentity { hash });
        sender
    };
    let (bad, good) = (with_session(1), with_session(2));
    good.send(&mut engine, 950_000);
    bad.sends(&mut engine, 1_000_000, 6_000, 60);
    let bad = bad.send(&mut engine, 1_060_100);
    // Nothing of the key's group: 0.40 + 0.25 + 0.30.
    assert_eq!((bad.action, score(&bad)), (Action::Block, 9_500));
    let good = good.send(&mut engine, 1_060_100);
    assert_eq!((good.action, score(&good)), (Action::Allow, 3_000));
}

#[test]
fn releasing_an_address_releases_its_pairs() {
    let mut engine = engine();
    neighbour(&mut engine, SCRAPER);
    scraper().sends(&mut engine, 1_000_000, 1_000, 10);
    let now = Now {
        monotonic: at_ms(1_100_000),
        wall: crate::words::clock::Wall::from_unix_ms(1_700_000_000_000),
    };
    let held = engine.held_pairs(now);
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].credential, Credential::Key(KeyHash(1)));
    let release =
        |engine: &mut Engine, network: &str| engine.release_pairs(now, &network.parse().unwrap());
    assert_eq!(release(&mut engine, "203.0.113.0/24"), 0);
    assert_eq!(release(&mut engine, &format!("{SCRAPER}/32")), 1);
    assert!(engine.held_pairs(now).is_empty());
    assert_eq!(scraper().send(&mut engine, 1_200_000).action, Action::Allow);
}

/// The networks of the bans that ten scrapers of one network earn, one after the other.
fn banned_networks(engine: &mut Engine, addresses: impl Iterator<Item = String>) -> Vec<String> {
    let mut start = 1_000_000;
    let mut networks = Vec::new();
    for (hash, address) in (1..).zip(addresses) {
        let sender = from(&address)
            .key("free", hash)
            .hosting()
            .asks("/users", "cursor=x");
        let bans = sender
            .decisions(engine, start, 1_000, 10)
            .filter_map(|decision| decision.ban)
            .map(|ban| {
                assert!(ban.network.contains(&ban.target.ip()));
                ban.network.to_string()
            });
        networks.extend(bans);
        start += 20_000;
    }
    networks
}

#[test]
fn a_network_follows_its_addresses_unless_somebody_good_is_in_it() {
    let hosts = || (1..=7).map(|host| format!("198.51.100.{host}"));
    let check = |widest: [u8; 2], good: Option<&str>, expected: &[&str]| {
        let ban = BanPolicy {
            widest,
            ..BanPolicy::default()
        };
        let policy = compile(Mode::Enforce, POLICY, ban);
        let mut engine = Engine::new(policy, PrincipalCapacity(1_000));
        if let Some(good) = good {
            neighbour(&mut engine, good);
        }
        let networks = banned_networks(&mut engine, hosts());
        assert_eq!(&networks[3..], expected, "{widest:?} {good:?}");
    };
    let narrow = [
        "198.51.100.4/32",
        "198.51.100.5/32",
        "198.51.100.6/32",
        "198.51.100.7/32",
    ];
    let wide = [
        "198.51.100.4/32",
        "198.51.100.0/24",
        "198.51.100.6/32",
        "198.51.100.7/32",
    ];
    check([24, 64], None, &wide);
    check([24, 64], Some("198.51.100.200"), &narrow);
    check([24, 64], Some("198.51.101.200"), &wide);
    check([32, 64], None, &narrow);
    check([30, 64], None, &narrow);
}

#[test]
fn a_64_that_changes_its_addresses_is_banned_as_one() {
    let check = |addresses: &[&str], widest: [u8; 2], expected: &str| {
        let ban = BanPolicy {
            widest,
            ..BanPolicy::default()
        };
        let policy = compile(Mode::Enforce, POLICY, ban);
        let mut engine = Engine::new(policy, PrincipalCapacity(1_000));
        let bans: Vec<_> = (0..2_000usize)
            .filter_map(|k| {
                let sender = from(addresses[k % addresses.len()]);
                let sender = sender.key("free", 1).hosting().asks("/users", "cursor=x");
                sender.send(&mut engine, 1_000_000 + 10 * k as u64).ban
            })
            .collect();
        assert_eq!(bans[0].network.to_string(), expected, "{addresses:?}");
    };
    check(&["2001:db8::1"], [24, 64], "2001:db8::1/128");
    check(&["2001:db8::1", "2001:db8::2"], [24, 64], "2001:db8::/64");
    check(
        &["2001:db8::1", "2001:db8::2"],
        [24, 128],
        "2001:db8::2/128",
    );
}

#[test]
fn a_restart_loses_no_ban_level_pair_or_good_neighbour() {
    let offset = 1_700_000_000_000;
    let now = |ms: u64| Now {
        monotonic: at_ms(ms),
        wall: crate::words::clock::Wall::from_unix_ms(offset + ms),
    };
    let restarted = |engine: &mut Engine, ms| {
        let memos = engine.drain_memos(now(ms));
        let mut fresh = self::engine();
        fresh.recall(now(ms), &memos);
        (fresh, memos)
    };
    // A second ban is longer though the engine is another.
    let mut engine = engine();
    let ttl = |engine: &mut Engine, start| {
        let scraper = scraper();
        let bans = scraper.decisions(engine, start, 1_000, 10);
        bans.filter_map(|it| it.ban)
            .map(|ban| ban.ttl.as_secs())
            .next()
    };
    assert_eq!(ttl(&mut engine, 1_000_000), Some(600));
    let (mut engine, memos) = restarted(&mut engine, 1_100_000);
    assert!(memos.iter().any(|memo| matches!(memo, Memo::Source(_))));
    assert!(engine.drain_memos(now(1_100_000)).is_empty());
    assert_eq!(ttl(&mut engine, 1_700_000), Some(2_400));

    // A good neighbour spares the address, and the pair is held.
    let mut engine = self::engine();
    neighbour(&mut engine, SCRAPER);
    let (mut engine, _) = restarted(&mut engine, 990_000);
    assert_eq!(ttl(&mut engine, 1_000_000), None);
    let (mut engine, _) = restarted(&mut engine, 1_100_000);
    let sender = scraper();
    assert_eq!(
        sender.send(&mut engine, 1_101_000).reason,
        Reason::PairBanned
    );
}

#[test]
fn made_up_credentials_are_evidence_against_their_address() {
    let play = |per_key: u128, n: u64| {
        let mut engine = engine();
        let mut last = None;
        for k in 0..n {
            let hash = 1_000 + u128::from(k) / per_key;
            let sender = from(SCRAPER)
                .key("free", hash)
                .hosting()
                .asks("/users", "cursor=x");
            last = Some(sender.send(&mut engine, 1_000_000 + k * 20));
        }
        last.unwrap()
    };
    // A new key with every request, all of them served by an application that does not look.
    let rotating = play(1, 2_000);
    assert_eq!(rotating.action, Action::Block);
    let churn = signal(&rotating, "credential_churn").unwrap();
    assert!(
        churn.evidence.contains("hardly any used twice"),
        "{}",
        churn.evidence
    );
    // The mirror: as many people with keys of their own, who ask for more than one thing each.
    let office = play(4, 2_000);
    assert_eq!(signal(&office, "credential_churn"), None);
    assert_ne!(office.action, Action::Block);
}
