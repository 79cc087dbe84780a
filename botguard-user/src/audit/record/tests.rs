//! Records as the contract shows them.

use super::*;
use crate::engine::decision::{Action, Group, RouteThresholds};
use crate::engine::facts::{AnsweredBy, Unread};
use crate::words::address::Via;
use crate::words::clock::Monotonic;
use crate::words::identity::ClientClass;
use crate::words::key::KeyState;
use crate::words::mode::Mode;
use crate::words::points::Points;

/// The worked example of DESIGN section 1 as a record.
pub(crate) fn request(request_id: &str) -> RequestRecord {
    let points = |basis| Points::from_basis(basis);
    let signal = |id: &str, group, weight, evidence: &str| SignalRecord {
        id: id.to_owned(),
        group,
        weight: points(weight),
        confidence: Points::ONE,
        value: 1.0,
        evidence: evidence.to_owned(),
    };
    let signals = vec![
        signal("tier", Group::Key, 1_000, "sk_pub_xyz123…, tier free"),
        signal(
            "paging",
            Group::Pattern,
            4_000,
            "GET /users?cursor=… × 4,200 in 60 s",
        ),
        signal(
            "no_interaction",
            Group::Behaviour,
            2_500,
            "no UI interaction",
        ),
        signal("hosting_asn", Group::Network, 3_000, "AS16509: hosting"),
    ];
    RequestRecord {
        partial: false,
        request_id: request_id.to_owned(),
        policy: "0123456789abcdef".to_owned(),
        client: ClientRecord {
            ip: "192.0.2.1".parse().unwrap(),
            peer: "192.0.2.1".parse().unwrap(),
            via: Via::Peer,
            asn: Some(16_509),
            as_name: Some("Amazon.com, Inc.".to_owned()),
            country: None,
            hosting: true,
            ja4: None,
            h2: None,
            header_shape: None,
        },
        identity: IdentityRecord {
            class: ClientClass::Browser,
            key: Some("sk_pub_xyz123…".to_owned()),
            key_id: Some("xyz123".to_owned()),
            tier: Some("free".to_owned()),
            session: None,
            user: None,
            user_proof: None,
        },
        http: HttpRecord {
            version: "HTTP/2.0".to_owned(),
            method: "GET".to_owned(),
            host: "api.example.com".to_owned(),
            path: "/users".to_owned(),
            query: "cursor=abc".to_owned(),
            route: "/users".to_owned(),
            status: Some(403),
            bytes_in: 0,
            bytes_out: 123,
            headers: [["user-agent", "curl/8"]].into_iter().collect(),
            broken_off: None,
        },
        facts: FactsRecord {
            key_hash: Some("00112233445566778899aabbccddeeff".to_owned()),
            standing: StandingRecord::Unlisted,
            asn_table: Some("asn.csv".to_owned()),
            hosting_list: Some("built-in".to_owned()),
            answered_by: AnsweredBy::Botguard,
            ..FactsRecord::unjudged(1, Monotonic::default())
        },
        trust: Vec::new(),
        raw: points(10_500),
        score: Points::ONE,
        caps: [
            (Group::Key, points(4_000)),
            (Group::Pattern, points(4_000)),
            (Group::Behaviour, points(2_500)),
            (Group::Network, points(3_000)),
        ]
        .into(),
        groups: signals
            .iter()
            .map(|signal| (signal.group, signal.weight))
            .collect(),
        signals,
        decision: DecisionRecord {
            action: Action::Block,
            would: Action::Block,
            mode: Mode::Enforce,
            route: "/users".to_owned(),
            threshold: Some(points(9_000)),
            thresholds: RouteThresholds {
                throttle: points(5_000),
                challenge: None,
                step_up: None,
                block: points(9_000),
            },
            reason: "score reached the block threshold".to_owned(),
            limit: None,
            key_state: None,
            unrecordable: false,
        },
        enforcement: None,
        timing: TimingRecord {
            score_us: 1.734,
            upstream_us: None,
            total_us: 250.0,
        },
        upstream_failure: None,
    }
}

#[test]
fn the_worked_example_is_written_to_the_digit() {
    let record = Record {
        v: VERSION,
        seq: 0,
        ts: Timestamp(Wall::from_unix_ms(0)),
        event: Event::Request(Box::new(request("r1"))),
    };
    let line = String::from_utf8(record.to_line().unwrap()).unwrap();
    for part in [
        r#""kind":"request""#,
        r#""raw":1.05,"score":1.0,"#,
        r#""groups":{"key":0.1,"pattern":0.4,"behaviour":0.25,"network":0.3}"#,
        r#""headers":[["user-agent","curl/8"]]"#,
        r#""timing":{"score_us":1.734,"upstream_us":null,"total_us":250.0}"#,
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    // Only where there is one; who reads an older log misses nothing.
    assert!(!line.contains("upstream_failure"), "{line}");
    assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
}

/// What is not known is null: who reads the log finds every field of the contract in every record.
#[test]
fn every_field_of_the_contract_is_in_its_place() {
    let mut bare = request("r1");
    bare.enforcement = Some(EnforcementRecord {
        target: "192.0.2.1/32".to_owned(),
        scope: BanScope::Address,
        ttl_s: 600,
        rule: "automatic".to_owned(),
        durable: false,
    });
    let check = |record: RequestRecord, path: &str, promised: &[&str]| {
        let record = Record {
            v: VERSION,
            seq: 0,
            ts: Timestamp(Wall::from_unix_ms(0)),
            event: Event::Request(Box::new(record)),
        };
        let record = serde_json::to_value(record).unwrap();
        let part = record.pointer(path).unwrap().as_object().unwrap();
        for field in promised {
            assert!(part.contains_key(*field), "{path}/{field} in {record}");
        }
    };
    let check = |path: &str, fields: &str| {
        let fields: Vec<_> = fields.split(' ').collect();
        check(bare.clone(), path, &fields);
    };
    check(
        "",
        "v kind seq ts request_id policy client identity http facts raw score groups signals \
         trust decision enforcement timing",
    );
    check(
        "/client",
        "ip peer via asn as_name country hosting ja4 h2 header_shape",
    );
    check("/identity", "class key key_id tier session user");
    check(
        "/http",
        "version method host path query route status bytes_in bytes_out headers",
    );
    check("/signals/0", "id group weight confidence value evidence");
    check("/decision", "action would mode route threshold reason");
    check("/enforcement", "target ttl_s rule durable");
    check("/timing", "score_us upstream_us total_us");
}

/// Keys of an object and of the objects in it, but for those that are data: `groups`, `caps`.
fn field_names(value: &serde_json::Value, names: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                names.push(name.clone());
                if name != "groups" && name != "caps" {
                    field_names(value, names);
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|it| field_names(it, names)),
        _ => {}
    }
}

#[test]
fn every_field_is_documented() {
    let page = include_str!("../../../../docs/audit.md");
    let mut sample = request("r1");
    sample.http.broken_off = Some("client".to_owned());
    sample.decision.unrecordable = true;
    let failure = UpstreamFailureRecord {
        upstream: "app".to_owned(),
        endpoint: Some("http://127.0.0.1:3000".to_owned()),
        kind: "broken".to_owned(),
    };
    sample.upstream_failure = Some(failure.clone());
    sample.decision.limit = Some(LimitRecord {
        name: "key".to_owned(),
        unit: crate::engine::decision::LimitUnit::Requests,
        quota: 60,
        window_s: 60.0,
        remaining: 0,
        reset_s: 1.0,
    });
    sample.trust = vec![TrustRecord {
        id: "fresh_authentication".to_owned(),
        credit: Points::ONE,
        evidence: "test".to_owned(),
    }];
    let observation = ObservationRecord {
        user: None,
        owner: None,
        records: Some(5),
        login: None,
        fresh_auth: false,
    };
    sample.facts.observation = Some(observation.clone());
    let login = LoginRecord {
        user: None,
        unread: Some(Unread::TooLarge),
        outcome: None,
    };
    sample.facts.login = Some(login.clone());
    sample.facts.authentication = Some(AuthenticationRecord {
        age_ns: 1,
        acr: None,
    });
    sample.enforcement = Some(EnforcementRecord {
        target: "192.0.2.1/32".to_owned(),
        scope: BanScope::Address,
        ttl_s: 600,
        rule: "automatic".to_owned(),
        durable: false,
    });
    let events = [
        Event::Request(Box::new(sample)),
        Event::Operator(OperatorRecord {
            actor: "uid 0".to_owned(),
            operation: "reload".to_owned(),
            target: String::new(),
            result: "done".to_owned(),
        }),
        Event::Ban(BanRecord {
            request_id: "r1".to_owned(),
            target: "192.0.2.1/32".parse().unwrap(),
            ttl_s: 600,
            rule: Origin::Automatic,
            reason: "test".to_owned(),
            in_kernel: false,
            decision_to_kernel_us: 1.0,
            refused: Some("test".to_owned()),
        }),
        Event::Key(KeyRecord {
            key: "sk_pub_xyz1…".to_owned(),
            key_id: "xyz1".to_owned(),
            from: KeyState::Ok,
            to: KeyState::Suspended,
            by: "uid 0".to_owned(),
            reason: "leaked".to_owned(),
            until: None,
        }),
        Event::Gap(GapRecord { lost: 1 }),
        Event::Key(KeyRecord {
            key: "sk_pub_xyz123…".to_owned(),
            key_id: "xyz123".to_owned(),
            from: KeyState::Ok,
            to: KeyState::Suspended,
            by: "uid 0".to_owned(),
            reason: "test".to_owned(),
            until: Some(Wall::from_unix_ms(0).to_string()),
        }),
        Event::Close(Box::new(CloseRecord {
            request_id: "r1".to_owned(),
            status: 200,
            bytes_in: 0,
            bytes_out: 0,
            broken_off: None,
            timing: request("r1").timing,
            observed_at_ns: Some(1),
            answered_by: Some(AnsweredBy::Upstream),
            observation: Some(observation),
            login: Some(login),
            upstream_failure: Some(failure),
        })),
        Event::Drops(DropsRecord {
            rule: "automatic".to_owned(),
            packets: 1,
            would_have_dropped: 0,
        }),
    ];
    for event in events {
        let record = Record {
            v: VERSION,
            seq: 0,
            ts: Timestamp(Wall::from_unix_ms(0)),
            event,
        };
        let mut names = Vec::new();
        field_names(&serde_json::to_value(record).unwrap(), &mut names);
        for name in names {
            assert!(
                page.contains(&format!("`{name}`")),
                "`{name}` is not on the page"
            );
        }
    }
}

#[test]
fn operator_records_have_the_promised_form() {
    let record = Record {
        v: VERSION,
        seq: 7,
        ts: Timestamp(Wall::from_unix_ms(1_795_435_200_123)),
        event: Event::Operator(OperatorRecord {
            actor: "uid 0".to_owned(),
            operation: "block add".to_owned(),
            target: "192.0.2.0/24".to_owned(),
            result: "done".to_owned(),
        }),
    };
    let line = String::from_utf8(record.to_line().unwrap()).unwrap();
    assert_eq!(
        line,
        concat!(
            r#"{"v":1,"seq":7,"ts":"2026-11-23T12:00:00.123Z","kind":"operator","#,
            r#""actor":"uid 0","operation":"block add","target":"192.0.2.0/24","#,
            r#""result":"done"}"#,
            "\n"
        )
    );
    assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
}
