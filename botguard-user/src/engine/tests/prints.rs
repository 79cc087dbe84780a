//! What a client looks like, against what it says and what it looked like before.

use super::*;
use crate::engine::prints::{Browser, Fields, Look, PrintFacts};
use crate::words::identity::{SessionHash, SessionIdentity, UserHash, UserIdentity, UserProof};
use crate::words::points::Points;

const LIAR: PrintFacts = PrintFacts {
    claim: Some(Browser::Chromium),
    tls: Look::Program,
    http2: Look::Program,
    fields: Fields::Missing,
};

#[test]
fn a_browser_that_is_none_is_evidence_and_blocks_nobody() {
    let check = |sender: Sender, prints: PrintFacts, expected: Option<u32>| {
        let mut sender = sender;
        sender.facts.prints = prints;
        let mut engine = engine();
        let decision = sender.send(&mut engine, 1_000);
        let found = signal(&decision, "client_mismatch");
        let found = found.map(|it| it.contribution().as_basis());
        assert_eq!(found, expected, "{prints:?}");
        assert!(decision.denial.is_none());
    };
    let honest = PrintFacts {
        tls: Look::Of(Browser::Chromium),
        http2: Look::Of(Browser::Chromium),
        fields: Fields::There,
        ..LIAR
    };
    check(from(SCRAPER), LIAR, Some(3_000));
    check(from(SCRAPER), honest, None);
    check(from(SCRAPER), PrintFacts::default(), None);
    let program = PrintFacts {
        claim: None,
        ..LIAR
    };
    check(from(SCRAPER), program, None);
    // Who is held to be a machine by a tier of its own may call itself what it likes, once the
    // application knows its key.
    check(from(SCRAPER).key("partner", 1), LIAR, Some(3_000));
}

#[test]
fn a_machine_may_call_itself_what_it_likes() {
    let mut engine = engine();
    let mut sender = from(SCRAPER).key("partner", 1);
    sender.facts.prints = LIAR;
    sender.send(&mut engine, 1_000);
    let decision = sender.send(&mut engine, 1_001);
    assert!(signal(&decision, "client_mismatch").is_none());
}

/// The last decision on requests of one credential that look like `n_kinds` clients in turn.
fn used_by(sender: &Sender, n_kinds: u64) -> Decision {
    let mut engine = engine();
    let mut sender = sender.clone();
    let mut last = None;
    for n in 0..3 * n_kinds {
        sender.facts.fingerprint = 1 + n % n_kinds;
        last = Some(sender.send(&mut engine, 1_000 + 20_000 * n));
    }
    last.unwrap()
}

#[test]
fn a_session_belongs_to_one_client() {
    let check = |sender: &Sender, n_kinds: u64, expected: Option<u32>| {
        let decision = used_by(sender, n_kinds);
        let found = signal(&decision, "fingerprint_churn");
        let found = found.map(|it| it.confidence.as_basis());
        assert_eq!(found, expected, "{n_kinds}");
        let most = Points::from_basis(3_000);
        assert!(decision.score.raw <= most, "{:?}", decision.score);
    };
    let mut session = from(SCRAPER);
    session.facts.session = Some(SessionIdentity {
        hash: SessionHash(7),
    });
    check(&session, 1, None);
    check(&session, 3, None);
    check(&session, 4, Some(3_333));
    check(&session, 6, Some(10_000));
    check(&session, 20, Some(10_000));
    let mut user = from(SCRAPER);
    user.facts.user = Some(UserIdentity {
        hash: UserHash(7),
        proof: UserProof::Verified,
    });
    check(&user, 3, None);
    check(&user, 6, Some(5_000));
    // A key of one party's programs, one in everybody's hands, and an address.
    check(&from(SCRAPER).key("partner", 1), 6, Some(5_000));
    check(&from(SCRAPER).key("free", 1), 20, None);
    check(&from(SCRAPER), 20, None);
}
