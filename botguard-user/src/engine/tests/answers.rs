//! Limits, challenges, step-ups, roll-outs, overrides: who gets which answer, and who does not.

use super::*;
use crate::engine::decision::{Action, Denial, LimitUnit, Reason, ThrottleCause};
use crate::engine::facts::{Clearance, Observation, Reader};
use crate::words::identity::{
    Authentication, SessionHash, SessionIdentity, UserHash, UserIdentity, UserProof,
};

/// Every score from 0.10 on is in the band that `bands` opens.
pub(super) fn policy(bands: &str, rest: &str) -> String {
    format!(
        "[[tier]]\nname = \"free\"\nkeys = [\"sk_pub_*\"]\nclient = \"browser\"\nweight = 0.10\n\
         [[tier]]\nname = \"partner\"\nkeys = [\"sk_partner_*\"]\nclient = \"machine\"\nweight = 0.10\n\
         [default]\nmode = \"enforce\"\nthrottle = 0.05\n{bands}\n{rest}"
    )
}

pub(super) fn engine_of(policy: &str) -> Engine {
    let policy = compile(Mode::Enforce, policy, BanPolicy::default());
    Engine::new(policy, PrincipalCapacity(1_000))
}

pub(super) fn decide(engine: &mut Engine, sender: &Sender) -> Decision {
    engine.decide(at_ms(1_000_000), &sender.facts).0
}

fn session(hash: u128) -> Option<SessionIdentity> {
    let hash = SessionHash(hash);
    Some(SessionIdentity { hash })
}

fn user(proof: UserProof) -> Option<UserIdentity> {
    let hash = UserHash(5);
    Some(UserIdentity { hash, proof })
}

#[test]
fn challenges_are_for_browsers() {
    let policy = policy("challenge = 0.10", "");
    let check = |tier, path: &str, reader, clearance, expected| {
        let mut sender = from(SCRAPER).key(tier, 1).asks(path, "");
        sender.facts.reader = reader;
        sender.facts.clearance = clearance;
        let decision = decide(&mut engine_of(&policy), &sender);
        assert_eq!(decision.action, expected, "{tier} {path} {reader:?}");
        assert_eq!(
            decision.denial == Some(Denial::Challenge),
            expected == Action::Challenge
        );
    };
    let (allow, challenge) = (Action::Allow, Action::Challenge);
    check("free", "/x", Reader::Page, Clearance::None, challenge);
    check("free", "/x", Reader::Script, Clearance::None, challenge);
    check("free", "/x", Reader::Program, Clearance::None, challenge);
    check("free", "/x", Reader::Page, Clearance::Valid, allow);
    check("free", "/robots.txt", Reader::Page, Clearance::None, allow);
    check(
        "free",
        "/.well-known/x",
        Reader::Page,
        Clearance::None,
        allow,
    );
    // A key that is not accepted yet excuses nobody, and a program is no browser all the same.
    check("partner", "/x", Reader::Program, Clearance::None, allow);
    check("partner", "/x", Reader::Page, Clearance::None, challenge);
}

#[test]
fn a_solved_challenge_is_no_free_pass() {
    let policy = policy("challenge = 0.10\nblock = 0.60", "");
    let mut engine = engine_of(&policy);
    let mut sender = from(SCRAPER)
        .key("free", 1)
        .hosting()
        .asks("/x", "cursor=1");
    sender.facts.clearance = Clearance::Valid;
    sender.facts.reader = Reader::Page;
    assert_eq!(sender.send(&mut engine, 900_000).reason, Reason::Cleared);
    let last = sender.sends(&mut engine, 1_000_000, 3_000, 30);
    assert_eq!(last.action, Action::Block);
}

#[test]
fn step_up_is_for_people_and_fresh_ones_never_see_it() {
    let policy = policy(
        "challenge = 0.10\nstep_up = 0.10",
        "[step_up]\nmax_age = \"5m\"\nacr_values = [\"mfa\"]\nurl = \"/login\"\n",
    );
    let authentication = |age, acr: &str| {
        Some(Authentication {
            age: Duration::from_secs(age),
            acr: Some(Arc::from(acr)),
        })
    };
    let check = |session, user, authentication, expected| {
        let mut sender = from(SCRAPER).key("free", 1).asks("/x", "");
        sender.facts.session = session;
        sender.facts.user = user;
        sender.facts.authentication = authentication;
        let decision = decide(&mut engine_of(&policy), &sender);
        assert_eq!(decision.action, expected, "{session:?} {user:?}");
        if let Some(Denial::StepUp(demand)) = decision.denial {
            assert_eq!(demand.max_age.as_secs(), 300);
            assert_eq!(demand.acr_values, [Arc::from("mfa")]);
            assert_eq!(demand.url.as_deref(), Some("/login"));
        }
    };
    use Action::{Allow, Challenge, StepUp};
    check(session(1), None, None, StepUp);
    check(None, user(UserProof::Claimed), None, StepUp);
    check(session(1), None, authentication(300, "mfa"), Allow);
    check(session(1), None, authentication(301, "mfa"), StepUp);
    check(session(1), None, authentication(10, "password"), StepUp);
    // Without a person there is nobody to authenticate: the milder demand holds.
    check(None, None, None, Challenge);
}

#[test]
fn the_applications_word_is_fresh_for_the_same_client_and_a_time() {
    let policy = policy("step_up = 0.10", "");
    let mut engine = engine_of(&policy);
    let mut sender = from(SCRAPER).key("free", 1).asks("/x", "");
    sender.facts.session = session(1);
    let login = from(SCRAPER).asks("/login", "");
    let login = Sender {
        facts: RequestFacts {
            session: session(1),
            ..login.facts
        },
        ..login
    };
    let fresh = ResponseFacts {
        observation: Some(Observation {
            fresh_auth: true,
            ..Observation::default()
        }),
        ..response(AnsweredBy::Upstream, 200)
    };
    let ask = |engine: &mut Engine, sender: &Sender, ms| engine.decide(at_ms(ms), &sender.facts).0;
    assert_eq!(ask(&mut engine, &sender, 1_000_000).action, Action::StepUp);
    let (_, pending) = engine.decide(at_ms(1_001_000), &login.facts);
    engine.observe(at_ms(1_001_000), &pending, &fresh);
    let decision = ask(&mut engine, &sender, 1_002_000);
    assert_eq!(decision.action, Action::Allow);
    assert_eq!(decision.score.trust[0].id, "fresh_authentication");
    // The mirrors: another session, another client, too late.
    let mut other = sender.clone();
    other.facts.session = session(2);
    assert_eq!(ask(&mut engine, &other, 1_003_000).action, Action::StepUp);
    let mut other = sender.clone();
    other.facts.fingerprint = 9;
    assert_eq!(ask(&mut engine, &other, 1_004_000).action, Action::StepUp);
    assert_eq!(ask(&mut engine, &sender, 1_301_000).action, Action::Allow);
    assert_eq!(ask(&mut engine, &sender, 1_302_000).action, Action::StepUp);
}

#[test]
fn limits_hold_whoever_is_at_fault_for_nothing() {
    let limited = "[[route]]\npath = \"/export\"\nmode = \"enforce\"\ncost = 5\n\
                   limits = [{ per = \"address\", rate = \"60/min\", burst = 10 }]\n\
                   [[route]]\npath = \"/watched\"\nmode = \"log\"\n\
                   limits = [{ per = \"address\", rate = \"60/min\", burst = 1 }]\n";
    let mut engine = engine_of(limited);
    let ask = |engine: &mut Engine, host: u8, path: &str| {
        let sender = from(&format!("192.0.2.{host}")).asks(path, "");
        decide(engine, &sender)
    };
    assert_eq!(ask(&mut engine, 1, "/export").denial, None);
    let second = ask(&mut engine, 1, "/export");
    let state = second.limit.unwrap();
    assert_eq!((second.denial, state.remaining, state.quota), (None, 0, 10));
    assert_eq!((&*state.name, state.unit), ("address", LimitUnit::Requests));
    let third = ask(&mut engine, 1, "/export");
    let Some(Denial::Throttle { retry_after, cause }) = third.denial else {
        panic!("{third:?}")
    };
    assert_eq!((retry_after.as_secs(), cause), (5, ThrottleCause::Limit));
    assert_eq!(third.reason.to_string(), "the limit `address` is used up");
    // The mirrors: another address, another route, and a route that is only watched.
    assert_eq!(ask(&mut engine, 2, "/export").denial, None);
    assert_eq!(ask(&mut engine, 1, "/other").denial, None);
    assert_eq!(ask(&mut engine, 1, "/watched").action, Action::Allow);
    let watched = ask(&mut engine, 1, "/watched");
    assert_eq!(
        (watched.action, watched.would),
        (Action::Log, Action::Throttle)
    );
}

#[test]
fn a_reload_keeps_buckets_and_takes_up_the_new_rate() {
    let with_rate = |rate: &str| {
        let text = format!(
            "[default]\nmode = \"enforce\"\nlimits = [{{ per = \"address\", rate = \"{rate}\", burst = 3 }}]\n"
        );
        compile(Mode::Enforce, &text, BanPolicy::default())
    };
    let mut engine = Engine::new(with_rate("1/min"), PrincipalCapacity(1_000));
    let sender = from(SCRAPER).asks("/x", "");
    let ask = |engine: &mut Engine, ms| engine.decide(at_ms(ms), &sender.facts).0.denial.is_none();
    assert!((0..3).all(|_| ask(&mut engine, 1_000_000)));
    assert!(!ask(&mut engine, 1_000_000));
    // What was used for three minutes stays used for them; with a faster rate the depth is smaller,
    // so more of it has to go by.
    engine.replace_policy(with_rate("60/min"));
    assert!(!ask(&mut engine, 1_100_000));
    assert!(ask(&mut engine, 1_179_000));
    engine.replace_policy(with_rate("1/min"));
    assert!(ask(&mut engine, 1_180_000));
}

#[test]
fn bytes_are_counted_where_there_is_a_quota() {
    let policy = "[[route]]\npath = \"/export\"\nmode = \"enforce\"\n\
                  quota = { bytes = \"1000B\", window = \"1000s\", per = \"key\" }\n";
    let mut engine = engine_of(policy);
    let mut fetch = |hash, ms: u64, bytes_out| {
        let sender = from(SCRAPER).key("free", hash).asks("/export", "");
        let (decision, pending) = engine.decide(at_ms(ms), &sender.facts);
        let response = ResponseFacts {
            bytes_out,
            ..response(AnsweredBy::Upstream, 200)
        };
        engine.observe(at_ms(ms), &pending, &response);
        decision.denial.is_none()
    };
    assert!(fetch(1, 1_000_000, 10));
    // The key is known now. A response that begins within the quota is sent whole.
    assert!(fetch(1, 1_000_000, 1_500));
    assert!(!fetch(1, 1_400_000, 0));
    assert!(fetch(1, 1_502_000, 0));
    // The mirror: another key.
    assert!(fetch(2, 1_000_000, 0));
}

#[test]
fn a_keys_limit_is_not_used_up_by_who_cannot_use_the_key() {
    let policy = "[[tier]]\nname = \"free\"\nkeys = [\"*\"]\ntotal = { rate = \"1/min\", burst = 5 }\n\
                  [default]\nmode = \"enforce\"\n";
    let mut engine = engine_of(policy);
    let victim = from("192.0.2.1").key("free", 7).asks("/x", "");
    victim.send(&mut engine, 1_000_000);
    // Garbage with the victim's key, refused by the application.
    let garbage = Sender {
        status: 401,
        ..from("203.0.113.9").key("free", 7).asks("/x", "")
    };
    for k in 0..50 {
        garbage.send(&mut engine, 1_000_100 + k);
    }
    let decisions: Vec<_> = (0..5)
        .map(|k| victim.send(&mut engine, 1_001_000 + k).denial.is_none())
        .collect();
    assert_eq!(decisions, [true, true, true, true, false]);
    // Another address uses the same bucket once its key is accepted.
    let elsewhere = from("192.0.2.2").key("free", 7).asks("/x", "");
    elsewhere.send(&mut engine, 1_002_000);
    assert!(elsewhere.send(&mut engine, 1_002_010).denial.is_some());
}
