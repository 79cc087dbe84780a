//! Facts that become a record, a line, a record and facts again are the same facts.

use std::net::IpAddr;
use std::time::Duration;

use http::Method;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::audit::record::{
    ClientRecord, CloseRecord, Event, HttpRecord, IdentityRecord, Record, RequestRecord, Timestamp,
    TimingRecord, VERSION, tests::request,
};
use crate::engine::facts::{Asn, NetworkFacts};
use crate::engine::prints::{Browser, Fields, Look};
use crate::words::address::{ClientAddress, Via};
use crate::words::clock::Wall;
use crate::words::identity::{
    ClientClass, KeyHash, KeyIdentity, SessionHash, SessionIdentity, UserHash, UserIdentity,
};
use crate::words::key::{KeyLimit, KeyStanding};
use crate::words::mode::Mode;

fn text() -> impl Strategy<Value = std::sync::Arc<str>> {
    "\\PC{0,12}".prop_map(Into::into)
}

fn client() -> impl Strategy<Value = ClientAddress> {
    let via = prop_oneof![
        Just(Via::Peer),
        Just(Via::ProxyProtocol),
        Just(Via::Forwarded),
        Just(Via::Sdk)
    ];
    (any::<IpAddr>(), any::<IpAddr>(), via)
        .prop_map(|(peer, ip, via)| ClientAddress::behind(peer, ip, via))
}

fn network() -> impl Strategy<Value = NetworkFacts> {
    let asn = (any::<u32>(), text(), text()).prop_map(|(number, name, table)| Asn {
        number,
        name,
        table,
    });
    let hosting = option::of(text())
        .prop_map(|list| list.map_or(Hosting::Unlisted, |list| Hosting::Verified { list }));
    (option::of("[A-Z]{2}"), option::of(asn), hosting).prop_map(|(country, asn, hosting)| {
        NetworkFacts {
            country: country.and_then(|code| Country::parse(&code)),
            asn,
            hosting,
        }
    })
}

fn key() -> impl Strategy<Value = KeyIdentity> {
    (text(), text(), any::<u128>(), option::of(text())).prop_map(
        |(public_id, shown, hash, tier)| KeyIdentity {
            public_id,
            shown,
            hash: KeyHash(hash),
            tier,
        },
    )
}

fn ruling() -> impl Strategy<Value = KeyRuling> {
    let standing = prop_oneof![
        Just(KeyStanding::Earned),
        Just(KeyStanding::Suspended),
        Just(KeyStanding::Pinned)
    ];
    let limit = (1..1_000_u32, 1..99_u32).prop_map(|(rate, burst)| KeyLimit {
        rate: format!("{rate}/min").parse().unwrap(),
        burst,
    });
    let mode = prop_oneof![Just(Mode::Off), Just(Mode::Log), Just(Mode::Enforce)];
    (standing, option::of(limit), option::of(mode)).prop_map(|(standing, limit, mode)| KeyRuling {
        standing,
        limit,
        mode,
    })
}

fn crawler_facts() -> impl Strategy<Value = Crawler> {
    (0..4, text()).prop_map(|(kind, name)| match kind {
        0 => Crawler::No,
        1 => Crawler::Unknown { name },
        2 => Crawler::Verified { name },
        _ => Crawler::False { name },
    })
}

fn standing() -> impl Strategy<Value = Standing> {
    prop_oneof![
        Just(Standing::Unlisted),
        Just(Standing::Allowed),
        text().prop_map(|rule| Standing::Blocked { rule }),
    ]
}

fn prints() -> impl Strategy<Value = PrintFacts> {
    const BROWSERS: &[Browser] = &[Browser::Chromium, Browser::Firefox, Browser::WebKit];
    let browser = prop::sample::select(BROWSERS);
    let look = prop_oneof![
        Just(Look::Unknown),
        Just(Look::Plain),
        Just(Look::Program),
        prop::sample::select(BROWSERS).prop_map(Look::Of)
    ];
    let fields = prop_oneof![
        Just(Fields::Unknown),
        Just(Fields::There),
        Just(Fields::Missing)
    ];
    (option::of(browser), look.clone(), look, fields).prop_map(|(claim, tls, http2, fields)| {
        PrintFacts {
            claim,
            tls,
            http2,
            fields,
        }
    })
}

prop_compose! {
    fn request_facts_()(
        client in client(),
        network in network(),
        standing in standing(),
        key in option::of(key()),
        ruling in ruling(),
        session in option::of(any::<u128>()),
        user in option::of((any::<u128>(), any::<bool>())),
        authentication in option::of((any::<u64>(), option::of(text()))),
        crawler in crawler_facts(),
        (cleared, reader) in (any::<bool>(), 0..3_usize),
        (host, fingerprint, prints) in (text(), any::<u64>(), prints()),
        (method, path, query) in ("[A-Z]{1,8}", text(), text()),
    ) -> RequestFacts {
        RequestFacts {
            client,
            network,
            standing,
            key,
            ruling,
            session: session.map(|hash| SessionIdentity { hash: SessionHash(hash) }),
            user: user.map(|(hash, verified)| UserIdentity {
                hash: UserHash(hash),
                proof: if verified { UserProof::Verified } else { UserProof::Claimed },
            }),
            authentication: authentication.map(|(ns, acr)| Authentication {
                age: Duration::from_nanos(ns),
                acr,
            }),
            crawler,
            clearance: if cleared { Clearance::Valid } else { Clearance::None },
            reader: [Reader::Page, Reader::Script, Reader::Program][reader],
            host,
            fingerprint,
            prints,
            method: method.parse().unwrap(),
            path,
            query,
        }
    }
}

prop_compose! {
    fn response()(
        by_upstream in any::<bool>(),
        status in 100..1_000_u16,
        (bytes_in, bytes_out) in any::<(u64, u64)>(),
        upstream_ns in option::of(0..2_000_000_000_000_000_u64),
        total_ns in 0..2_000_000_000_000_000_u64,
        said in option::of((option::of(any::<u128>()), option::of(any::<u64>()), 0..4_usize)),
        owner in option::of(any::<u128>()),
        tried in option::of((option::of(any::<u128>()), any::<bool>())),
    ) -> ResponseFacts {
        ResponseFacts {
            answered_by: if by_upstream { AnsweredBy::Upstream } else { AnsweredBy::Botguard },
            status,
            bytes_in,
            bytes_out,
            upstream: upstream_ns.map(Duration::from_nanos),
            total: Duration::from_nanos(total_ns),
            observation: said.map(|(user, records, login)| Observation {
                user: user.map(UserHash),
                owner: owner.map(UserHash),
                records,
                login: [None, Some(Login::Ok), Some(Login::Fail), Some(Login::UnknownUser)][login],
                fresh_auth: login == 1,
            }),
            login: tried.map(|(user, outcome)| LoginAttempt {
                name: user.map_or(LoginName::Unread(Unread::TooLarge), |user| {
                    LoginName::Hashed(UserHash(user))
                }),
                outcome: outcome.then_some(Login::Fail),
            }),
        }
    }
}

/// As the log has it: a line, read back.
fn logged(event: Event) -> Event {
    let record = Record {
        v: VERSION,
        seq: 0,
        ts: Timestamp(Wall::from_unix_ms(0)),
        event,
    };
    let line = record.to_line().unwrap();
    serde_json::from_slice::<Record>(&line).unwrap().event
}

fn recorded(facts: &RequestFacts, response: &ResponseFacts, told: &Told) -> RequestRecord {
    let mut record = RequestRecord {
        client: ClientRecord::of(facts),
        facts: FactsRecord::of(facts, response, told),
        timing: TimingRecord::of(Duration::ZERO, response),
        ..request("r1")
    };
    record.identity = IdentityRecord::of(facts, ClientClass::Any);
    record.http = HttpRecord {
        method: facts.method.to_string(),
        path: facts.path.to_string(),
        query: facts.query.to_string(),
        status: Some(response.status),
        bytes_in: response.bytes_in,
        bytes_out: response.bytes_out,
        ..record.http
    };
    match logged(Event::Request(Box::new(record))) {
        Event::Request(record) => *record,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn facts_survive_the_log(
        facts in request_facts_(),
        response in response(),
        times in any::<[u64; 4]>(),
    ) {
        let [engine, decided, observed, interaction] =
            times.map(|ns| Monotonic::from_boot(Duration::from_nanos(ns)));
        let told = Told {
            engine,
            decided: Some(decided),
            observed: Some(observed),
            interaction: Some(interaction),
        };
        let record = recorded(&facts, &response, &told);
        let (at, read) = record.request_facts().unwrap();
        prop_assert_eq!(at, decided);
        prop_assert_eq!(format!("{read:?}"), format!("{facts:?}"));
        prop_assert_eq!(record.response_facts(), Some((observed, response)));
        let (at, touched) = record.interaction_facts().unwrap();
        prop_assert_eq!(at, interaction);
        prop_assert_eq!((touched.client, touched.key), (facts.client, facts.key));

        let close = CloseRecord {
            request_id: "r1".to_owned(),
            status: response.status,
            bytes_in: response.bytes_in,
            bytes_out: response.bytes_out,
            broken_off: None,
            timing: TimingRecord::of(Duration::ZERO, &response),
            observed_at_ns: Some(observed.as_nanoseconds()),
            answered_by: Some(response.answered_by),
            observation: response.observation.as_ref().map(Into::into),
            login: response.login.as_ref().map(Into::into),
            upstream_failure: None,
        };
        let Event::Close(close) = logged(Event::Close(Box::new(close))) else { panic!() };
        prop_assert_eq!(close.response_facts(), Some((observed, response)));
    }
}

#[test]
fn what_cannot_be_replayed_says_why() {
    let at = Some(Monotonic::from_boot(Duration::from_secs(1)));
    let facts = RequestFacts::anonymous(
        ClientAddress::direct("192.0.2.1".parse().unwrap()),
        Method::GET,
        "/",
        "",
    );
    let response = TimingRecord::of(Duration::ZERO, &request("r1").timing.response()).response();
    let told = Told {
        decided: at,
        ..Told::default()
    };
    let whole = recorded(&facts, &response, &told);
    let check = |change: &dyn Fn(&mut RequestRecord), expected: Option<Unreplayable>| {
        let mut record = whole.clone();
        change(&mut record);
        assert_eq!(record.request_facts().err(), expected);
    };
    check(&|_| {}, None);
    check(&|it| it.facts.at_ns = None, Some(Unreplayable::Unjudged));
    check(&|it| it.facts.engine_ns = None, Some(Unreplayable::Earlier));
    let odd = || Some("xyz".to_owned());
    check(
        &|it| it.facts.key_hash = odd(),
        Some(Unreplayable::Malformed),
    );
    check(
        &|it| it.facts.session_hash = odd(),
        Some(Unreplayable::Malformed),
    );
    check(
        &|it| it.http.method = "G ET".to_owned(),
        Some(Unreplayable::Malformed),
    );
}

/// As version 0.1.0 wrote it.
#[test]
fn records_of_the_first_version_are_read() {
    let old = r##"{"fingerprint":"0000000000000001","key_hash":null,"standing":"unlisted",
        "asn_table":null,"hosting_list":null,"answered_by":"upstream"}"##;
    let facts: FactsRecord = serde_json::from_str(old).unwrap();
    assert_eq!(
        (facts.engine_ns, facts.at_ns, facts.own),
        (None, None, false)
    );
}
