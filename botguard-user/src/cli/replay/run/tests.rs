//! What is read, in which order, and what is left out. That decisions come out the same is tested
//! with records of a real pipeline, in `daemon::pipeline`.

use std::path::Path;

use super::*;
use crate::audit::record::{FactsRecord, GapRecord, Timestamp, Told, VERSION, tests::request};
use crate::engine::facts::AnsweredBy;
use crate::settings::Loaded;
use crate::settings::document::Document;
use crate::words::address::ClientAddress;
use crate::words::clock::Wall;

fn replay() -> Replay {
    let document = Document::from_text(Path::new("b.toml"), String::new());
    Replay::new(Loaded::parse(document).unwrap().policy().unwrap())
}

fn line(event: Event) -> Vec<u8> {
    let record = Record {
        v: VERSION,
        seq: 0,
        ts: Timestamp(Wall::from_unix_ms(0)),
        event,
    };
    record.to_line().unwrap()
}

/// An anonymous request that an engine begun at `engine` decided at `at`, in seconds.
fn recorded(id: &str, engine: u64, at: u64) -> RequestRecord {
    let second = |s| Monotonic::from_boot(Duration::from_secs(s));
    let facts = RequestFacts::anonymous(
        ClientAddress::direct("192.0.2.1".parse().unwrap()),
        http::Method::GET,
        "/users",
        "",
    );
    let response = ResponseFacts {
        answered_by: AnsweredBy::Upstream,
        status: 200,
        bytes_in: 0,
        bytes_out: 0,
        upstream: None,
        total: Duration::ZERO,
        observation: None,
        login: None,
    };
    let told = Told {
        engine: second(engine),
        decided: Some(second(at)),
        observed: Some(second(at + 1)),
        interaction: None,
    };
    RequestRecord {
        facts: FactsRecord::of(&facts, &response, &told),
        ..request(id)
    }
}

fn run(events: Vec<Event>) -> ReplayReport {
    let mut replay = replay();
    for event in events {
        replay.line(&line(event));
    }
    replay.finish()
}

fn requests(records: &[(&str, u64, u64)]) -> ReplayReport {
    let events = records
        .iter()
        .map(|(id, engine, at)| Event::Request(Box::new(recorded(id, *engine, *at))));
    run(events.collect())
}

#[test]
fn each_engine_is_begun_anew_and_time_may_fall_between_them() {
    let check = |records: &[(&str, u64, u64)], n_replayed, n_engines, n_left_out: u64| {
        let report = requests(records);
        assert_eq!(
            (report.n_replayed, report.n_engines),
            (n_replayed, n_engines)
        );
        assert_eq!(report.not_replayable.values().sum::<u64>(), n_left_out);
    };
    check(&[("a", 1, 10), ("b", 1, 11)], 2, 1, 0);
    // A request that ends later is recorded later.
    check(&[("a", 1, 60), ("b", 1, 10), ("c", 1, 61)], 3, 1, 0);
    check(&[("a", 1, 1_000), ("b", 2, 1_001)], 2, 2, 0);
    // Another boot.
    check(&[("a", 1, 1_000), ("b", 2, 10)], 2, 2, 0);
    check(&[("a", 1, 1_000), ("b", 1, 10)], 2, 2, 0);
    // What belongs before something that was replayed already.
    check(&[("a", 1, 100), ("b", 1, 200), ("c", 1, 99)], 2, 1, 1);
}

#[test]
fn what_is_left_out_is_counted_by_its_reason() {
    let mut earlier = recorded("old", 1, 1);
    earlier.facts.engine_ns = None;
    let mut unjudged = recorded("400", 1, 1);
    unjudged.facts.at_ns = None;
    let mut replay = replay();
    for request in [earlier, unjudged, recorded("r", 1, 2)] {
        replay.line(&line(Event::Request(Box::new(request))));
    }
    replay.line(&line(Event::Gap(GapRecord { lost: 3 })));
    replay.line(b"{\"v\":9,\"kind\":\"moon\"}");
    replay.line(b"torn");
    let report = replay.finish();
    assert_eq!(
        (report.n_records, report.n_replayed, report.n_lost),
        (4, 1, 3)
    );
    let reasons: Vec<_> = report.not_replayable.into_iter().collect();
    let expected = [
        ("not a record that this version can read", 2),
        ("refused before it was judged", 1),
        ("written by an earlier version", 1),
    ];
    assert_eq!(reasons, expected.map(|(why, n)| (why.to_owned(), n)));
}

/// The sample says that it was blocked with 1.05; an anonymous request is allowed.
#[test]
fn flips_are_gathered_with_the_first_ids() {
    let ids: Vec<_> = (0..30).map(|n| format!("r{n}")).collect();
    let records: Vec<_> = ids.iter().map(|id| (id.as_str(), 1, 5)).collect();
    let report = requests(&records);
    assert_eq!(report.flips.len(), 1);
    let flip = &report.flips[0];
    assert_eq!((flip.n, flip.request_ids.len()), (30, SHOWN_IDS));
    assert_eq!(flip.request_ids[0], "r0");
    let text = report.to_string();
    assert!(text.contains("30 on default: block → allow"), "{text}");
    assert_eq!(
        (report.scores.n, report.scores.request_ids.len()),
        (30, SHOWN_IDS)
    );
}
