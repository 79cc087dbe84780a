//! Decisions of every kind, explained.

use super::*;
use crate::audit::record::{
    AuthenticationRecord, BanScope, EnforcementRecord, Event, Record, SignalRecord, Timestamp,
    UpstreamFailureRecord, VERSION, tests::request,
};
use crate::engine::decision::LimitUnit;
use crate::words::clock::Wall;

fn found(request: RequestRecord) -> Found {
    Found {
        record: Record {
            v: VERSION,
            seq: 0,
            ts: Timestamp(Wall::from_unix_ms(1_795_435_200_000)),
            event: Event::Request(Box::new(request.clone())),
        },
        request,
    }
}

#[test]
fn the_worked_example_is_explained_to_the_digit() {
    let text = Explanation::of(&found(request("r1"))).to_string();
    let expected = "\
request     r1 at 2026-11-23T12:00:00.000Z
            GET api.example.com/users, status 403
client      192.0.2.1, AS16509 Amazon.com, Inc., key sk_pub_xyz123… (tier free)
key         +0.10 of at most 0.40
  tier             0.10 × 1.00 = 0.10  sk_pub_xyz123…, tier free
pattern     +0.40 of at most 0.40
  paging           0.40 × 1.00 = 0.40  GET /users?cursor=… × 4,200 in 60 s
behaviour   +0.25 of at most 0.25
  no_interaction   0.25 × 1.00 = 0.25  no UI interaction
network     +0.30 of at most 0.30
  hosting_asn      0.30 × 1.00 = 0.30  AS16509: hosting
sum         1.05
score       1.00
thresholds  throttle 0.50, block 0.90 (route /users)
decision    block in mode enforce: score reached the block threshold
without key        0.95 → block
without pattern    0.65 → throttle
without behaviour  0.80 → throttle
without network    0.75 → throttle
changed by  one group less that is shown above with a milder band
";
    assert_eq!(text, expected);
}

#[test]
fn an_upstream_that_gave_no_response_is_named() {
    let check = |endpoint: Option<&str>, expected: &str| {
        let mut failed = request("r1");
        failed.upstream_failure = Some(UpstreamFailureRecord {
            upstream: "app".to_owned(),
            endpoint: endpoint.map(ToOwned::to_owned),
            kind: "broken".to_owned(),
        });
        let text = Explanation::of(&found(failed)).to_string();
        let expected = format!("status 403\nupstream    {expected}\nclient ");
        assert!(text.contains(&expected), "{text}");
    };
    check(
        Some("http://127.0.0.1:3000"),
        "app at http://127.0.0.1:3000 gave no response: broken",
    );
    check(None, "app gave no response: broken");
}

#[test]
fn a_cap_is_shown_where_it_bites() {
    let mut capped = request("r2");
    let mut burst = capped.signals[1].clone();
    burst.id = "burst".to_owned();
    burst.weight = Points::from_basis(2_000);
    capped.signals.push(burst);
    let text = Explanation::of(&found(capped)).to_string();
    assert!(
        text.contains("pattern     +0.40 (0.60 capped at 0.40)"),
        "{text}"
    );
}

#[test]
fn parts_of_a_weight_are_shown_with_every_digit() {
    let mut partial = request("r4");
    partial.signals[2].confidence = Points::from_basis(3_333);
    let text = Explanation::of(&found(partial)).to_string();
    assert!(text.contains("0.25 × 0.3333 = 0.0833"), "{text}");
}

#[test]
fn a_request_writes_no_lines_of_its_own() {
    let mut forged = request("r5");
    forged.http.path = "/users\nscore       0.00\u{1b}[8m".to_owned();
    forged.signals[1].evidence = forged.http.path.clone();
    let text = Explanation::of(&found(forged)).to_string();
    assert!(!text.contains("\nscore       0.00"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn a_list_that_decided_is_named() {
    let mut banned = request("r3");
    banned.facts.standing = StandingRecord::Blocked("192.0.2.1/32 automatic".to_owned());
    let text = Explanation::of(&found(banned)).to_string();
    assert!(
        text.contains("did not decide this request: 192.0.2.1/32 automatic"),
        "{text}"
    );
}

#[test]
fn what_speaks_for_a_client_is_taken_off() {
    let mut trusted = request("r6");
    trusted.trust = vec![TrustRecord {
        id: "fresh_authentication".to_owned(),
        credit: Points::from_basis(2_000),
        evidence: "40 s ago".to_owned(),
    }];
    trusted.score = Points::from_basis(8_500);
    let text = Explanation::of(&found(trusted)).to_string();
    for line in [
        "sum         1.05\ntrust       -0.20 fresh_authentication  40 s ago\nscore       0.85\n",
        "without key        0.75 → throttle",
        "without fresh_authentication 1.00 → block",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

/// Every kind of decision: what is shown of it, what would have changed it, and how it is undone.
#[test]
fn every_decision_says_what_would_change_it_and_how_to_undo_it() {
    let check = |change: &dyn Fn(&mut RequestRecord), expected: &[&str]| {
        let mut record = request("r7");
        record.decision.thresholds.challenge = Some(Points::from_basis(6_000));
        record.decision.thresholds.step_up = Some(Points::from_basis(7_000));
        change(&mut record);
        let text = Explanation::of(&found(record)).to_string();
        for part in expected {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    };
    let decide = |record: &mut RequestRecord, action| {
        record.decision.action = action;
        record.decision.would = action;
    };
    check(
        &|_| {},
        &[
            "thresholds  throttle 0.50, challenge 0.60, step_up 0.70, block 0.90 (route /users)",
            "without pattern    0.65 → challenge",
            "without network    0.75 → step_up",
        ],
    );
    let limit = LimitRecord {
        name: "key".to_owned(),
        unit: LimitUnit::Requests,
        quota: 60,
        window_s: 30.0,
        remaining: 0,
        reset_s: 0.5,
    };
    check(
        &|it| {
            decide(it, Action::Throttle);
            it.decision.limit = Some(limit.clone());
        },
        &[
            "limit       key: 0 of 60 requests in 30 s left, more in 0.5 s",
            "changed by  waiting 0.5 s, a higher limit `key`",
        ],
    );
    check(
        &|it| decide(it, Action::Throttle),
        &["changed by  a slower client"],
    );
    let looks = |id: &str| SignalRecord {
        id: id.to_owned(),
        group: Group::Client,
        weight: Points::from_basis(3_000),
        confidence: Points::ONE,
        value: 1.0,
        evidence: "says it is Firefox, but its TLS is no browser's".to_owned(),
    };
    check(
        &|it| it.signals.push(looks("client_mismatch")),
        &["changed by  a User-Agent that says what the client is; if a proxy"],
    );
    check(
        &|it| it.signals.push(looks("fingerprint_churn")),
        &["changed by  a session of its own for each client"],
    );
    check(
        &|it| decide(it, Action::Challenge),
        &["changed by  a browser that solves the challenge"],
    );
    check(
        &|it| {
            decide(it, Action::StepUp);
            it.facts.authentication = Some(AuthenticationRecord {
                age_ns: 7_200_500_000_000,
                acr: None,
            });
        },
        &["changed by  fresh authentication: the user's was 7200 s old"],
    );
    check(
        &|it| it.decision.key_state = Some(KeyState::Suspended),
        &[
            "key state   suspended",
            "undo        botguard key resume xyz123",
        ],
    );
    check(
        &|it| {
            it.facts.ruling = Some(KeyRuling {
                mode: Some(Mode::Log),
                ..KeyRuling::default()
            });
        },
        &[
            "operator    judged by its reputation, mode log at most",
            "undo        botguard key show xyz123",
        ],
    );
    check(
        &|it| it.facts.standing = StandingRecord::Blocked("192.0.2.0/24 operator".to_owned()),
        &[
            "changed by  another address, or the end of the block",
            "undo        botguard block del 192.0.2.0/24",
            "undo        botguard allow add 192.0.2.1",
        ],
    );
    let ban = |scope, target: &str| {
        Some(EnforcementRecord {
            target: target.to_owned(),
            scope,
            ttl_s: 600,
            rule: "automatic".to_owned(),
            durable: false,
        })
    };
    check(
        &|it| it.enforcement = ban(BanScope::Network, "192.0.2.0/24"),
        &[
            "ban         192.0.2.0/24 (network) for 600 s, rule automatic",
            "undo        botguard block del 192.0.2.0/24",
        ],
    );
    check(
        &|it| it.enforcement = ban(BanScope::Pair, "key xyz123 from 192.0.2.1"),
        &["undo        none needed: key xyz123 from 192.0.2.1 is refused for 600 s"],
    );
    check(
        &|it| it.decision.unrecordable = true,
        &["changed by  room for the audit log"],
    );
    check(
        &|it| {
            it.decision.action = Action::Log;
            it.decision.mode = Mode::Log;
        },
        &["changed by  nothing was denied, since the mode is log"],
    );
}

#[test]
fn a_request_that_passed_needs_no_remedy() {
    let mut passed = request("r8");
    passed.decision.action = Action::Allow;
    passed.decision.would = Action::Allow;
    passed.decision.key_state = Some(KeyState::Ok);
    let explanation = Explanation::of(&found(passed));
    assert_eq!(
        (explanation.would_change.len(), explanation.undo.len()),
        (0, 0)
    );
}
