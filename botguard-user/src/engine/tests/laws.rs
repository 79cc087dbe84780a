//! What holds for any traffic.

use proptest::prelude::*;

use super::*;
use crate::engine::facts::{Clearance, Reader};
use crate::words::identity::{SessionHash, SessionIdentity, UserHash, UserIdentity, UserProof};
use crate::words::key::KeyStanding;
use crate::words::points::Points;

/// One thing that happens on the stage.
#[derive(Clone, Debug)]
struct Event {
    gap_ms: u64,
    sender: Sender,
    touch: bool,
}

fn events(paths: &'static [&'static str]) -> impl Strategy<Value = Vec<Event>> {
    let event = (
        0u64..40,
        0u8..3,
        0u8..4,
        prop::sample::select(paths),
        prop::sample::select(&["", "cursor=a", "page=3"][..]),
        prop::sample::select(&[200u16, 200, 200, 401, 404, 500][..]),
        prop::bool::weighted(0.02),
        prop::bool::ANY,
        (0u8..4, 0u8..3, 0u8..4),
    )
        .prop_map(
            |(gap_ms, host, key, path, query, status, touch, hosting, more)| {
                let sender = from(&format!("192.0.2.{host}"))
                    .asks(path, query)
                    .answered(status);
                let mut sender = sender;
                let (session, user, rest) = more;
                sender.facts.session = (session > 1).then(|| SessionIdentity {
                    hash: SessionHash(u128::from(session)),
                });
                sender.facts.user = (user > 0).then_some(UserIdentity {
                    hash: UserHash(1),
                    proof: if user > 1 {
                        UserProof::Verified
                    } else {
                        UserProof::Claimed
                    },
                });
                sender.facts.reader = if rest > 1 {
                    Reader::Page
                } else {
                    Reader::Program
                };
                sender.facts.clearance = if rest > 2 {
                    Clearance::Valid
                } else {
                    Clearance::None
                };
                let sender = match key {
                    0 => sender,
                    1 => sender.key("partner", 1),
                    key => sender.key("free", u128::from(key)),
                };
                Event {
                    gap_ms,
                    sender: if hosting { sender.hosting() } else { sender },
                    touch,
                }
            },
        );
    prop::collection::vec(event, 1..800)
}

fn play(engine: &mut Engine, events: &[Event]) -> Vec<Decision> {
    let mut now = 1_000_000;
    events
        .iter()
        .map(|event| {
            now += event.gap_ms;
            if event.touch {
                event.sender.touches(engine, now);
            }
            event.sender.send(engine, now)
        })
        .collect()
}

const PATHS: &[&str] = &["/users", "/pages", "/watched", "/off", "/else"];
const WATCHED: &[&str] = &["/watched", "/off", "/else"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 8))]

    #[test]
    fn scores_stay_in_range_and_bans_in_length(events in events(PATHS)) {
        for decision in play(&mut engine(), &events) {
            prop_assert!(decision.score.score <= Points::ONE);
            prop_assert_eq!(decision.score.score, decision.score.raw.min(Points::ONE));
            let groups: Points = decision.score.groups.iter().map(|it| it.total).sum();
            prop_assert_eq!(groups, decision.score.raw);
            let ttl_max = BanPolicy::default().ttl_max;
            prop_assert!(decision.pair_ban.is_none_or(|ban| ban.ttl <= ttl_max));
            if let Some(ban) = decision.ban {
                prop_assert!(ban.ttl <= ttl_max && !ban.ttl.is_zero());
                prop_assert!(ban.network.prefix_len() >= 24);
                prop_assert!(ban.network.contains(&ban.target.ip()));
            }
        }
    }

    #[test]
    fn the_same_facts_give_the_same_decisions(events in events(PATHS)) {
        prop_assert_eq!(play(&mut engine(), &events), play(&mut engine(), &events));
    }

    #[test]
    fn log_and_off_deny_nothing_and_ban_nobody(
        events in events(PATHS), off in prop::bool::ANY,
    ) {
        let mode = if off { Mode::Off } else { Mode::Log };
        for decision in play(&mut engine_in(mode), &events) {
            prop_assert_eq!((decision.denial, decision.ban), (None, None));
        }
    }

    #[test]
    fn watched_routes_deny_nothing_and_ban_nobody(events in events(WATCHED)) {
        for decision in play(&mut engine(), &events) {
            prop_assert_eq!((decision.denial, decision.ban), (None, None));
        }
    }

    /// Keys are accepted beforehand: the upstream's word, unlike evidence, counts everywhere.
    #[test]
    fn watched_traffic_changes_nothing_elsewhere(
        enforced in events(&["/users"]), watched in events(&["/watched"]),
    ) {
        let known = |engine: &mut Engine| {
            for event in enforced.iter().chain(&watched) {
                event.sender.clone().answered(200).send(engine, 1_000);
            }
        };
        let (mut alone, mut mixed) = (engine(), engine());
        known(&mut alone);
        known(&mut mixed);
        let expected = play(&mut alone, &enforced);
        let mut now = 1_000_000;
        for (place, event) in enforced.iter().enumerate() {
            now += event.gap_ms;
            if let Some(event) = watched.get(place) {
                event.sender.send(&mut mixed, now);
            }
            if event.touch {
                event.sender.touches(&mut mixed, now);
            }
            let decision = event.sender.send(&mut mixed, now);
            prop_assert_eq!(&decision.score, &expected[place].score);
            prop_assert_eq!(decision.action, expected[place].action);
        }
    }

    #[test]
    fn allow_always_wins(events in events(PATHS)) {
        let mut engine = engine();
        let mut events = events;
        for event in &mut events {
            event.sender.facts.standing = Standing::Allowed;
        }
        for decision in play(&mut engine, &events) {
            prop_assert_eq!((decision.denial, decision.ban), (None, None));
        }
    }

    /// Whatever else speaks against the partner, itself banned and suspended by its reputation.
    #[test]
    fn pins_always_win(events in events(PATHS), banned in prop::bool::ANY) {
        let mut engine = engine();
        let mut events = events;
        for event in &mut events {
            event.sender.facts.ruling.standing = KeyStanding::Pinned;
            if banned {
                event.sender.facts.standing = Standing::Blocked { rule: "x".into() };
            }
        }
        for decision in play(&mut engine, &events) {
            prop_assert_eq!((decision.denial, decision.ban, decision.pair_ban), (None, None, None));
        }
    }

    /// Somebody else's garbage with a victim's key and session: the victim sees no difference.
    #[test]
    fn garbage_moves_nothing_of_the_victims(
        victims in events(&["/users"]),
        garbage in prop::collection::vec((0u8..8, prop::sample::select(&[401u16, 403, 400][..])), 1..400),
    ) {
        let own = |event: &Event| {
            let mut sender = event.sender.clone().key("free", 7).answered(200);
            sender.facts.client = ClientAddress::direct("203.0.113.77".parse().unwrap());
            sender.facts.session = Some(SessionIdentity { hash: SessionHash(7) });
            sender
        };
        let mut now = 1_000_000;
        let (mut alone, mut mixed) = (engine(), engine());
        for (place, event) in victims.iter().enumerate() {
            now += event.gap_ms;
            if let Some((host, status)) = garbage.get(place) {
                let mut sender = own(event).answered(*status).asks("/users", "cursor=x");
                let address = format!("198.51.100.{host}").parse().unwrap();
                sender.facts.client = ClientAddress::direct(address);
                for _ in 0..3 {
                    sender.send(&mut mixed, now);
                }
            }
            let expected = own(event).send(&mut alone, now);
            let decision = own(event).send(&mut mixed, now);
            prop_assert_eq!(decision, expected);
        }
    }

    #[test]
    fn more_evidence_never_lowers_a_score(
        events in events(PATHS), pages in 0u64..500, touches in 0u64..50,
    ) {
        let judge = |pages: u64, touches: u64, hosting: bool| {
            let mut engine = engine_in(Mode::Log);
            play(&mut engine, &events);
            let sender = from("192.0.2.0").key("free", 2).asks("/users", "cursor=a");
            let sender = if hosting { sender.hosting() } else { sender };
            sender.send(&mut engine, 1_040_000);
            for k in 0..touches {
                sender.touches(&mut engine, 1_040_000 + k);
            }
            (0..=pages).map(|k| sender.send(&mut engine, 1_041_000 + k)).last().unwrap().score.raw
        };
        let base = judge(pages, touches, false);
        prop_assert!(base <= judge(pages, touches, true));
        prop_assert!(base <= judge(pages + 50, touches, false));
        prop_assert!(base <= judge(pages, touches / 2, false));
    }
}
