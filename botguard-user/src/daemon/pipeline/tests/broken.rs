//! Responses that broke off, and requests that got none.

use super::*;
use crate::edge::gate::FailedUpstream;

#[test]
fn a_broken_response_says_so() {
    let bench = Bench::new("enforce");
    let (parts, ()) = Request::get("/x").body(()).unwrap().into_parts();
    let mut admission = bench.pipeline.admit(&RequestHead {
        parts: &parts,
        path: "/x",
        authority: "a",
        client: ClientAddress::direct(SCRAPER.parse().unwrap()),
        local: SocketAddr::from(([192, 0, 2, 80], 443)),
        asks: Asks::Application,
        prints: &NO_PRINTS,
    });
    bench
        .pipeline
        .broken_off(&mut admission.ticket, BrokenBy::Upstream);
    let response = ResponseFacts {
        answered_by: AnsweredBy::Upstream,
        status: 200,
        bytes_in: 0,
        bytes_out: 3,
        upstream: Some(Duration::from_millis(1)),
        total: Duration::from_millis(2),
        observation: None,
        login: None,
    };
    let closing = bench.pipeline.finish(admission.ticket, &response);
    assert_eq!(closing, Closing::Keep);
    let broken_off = bench.requests()[0].http.broken_off.clone();
    assert_eq!(broken_off.as_deref(), Some("upstream"));
}

#[test]
fn a_failure_of_the_upstream_is_recorded_and_nothing_of_it_elsewhere() {
    let bench = Bench::new("enforce");
    let endpoint = "http://127.0.0.1:3000".parse().unwrap();
    let admit = || {
        let (parts, ()) = Request::get("/x").body(()).unwrap().into_parts();
        bench.pipeline.admit(&head(&parts, Asks::Application))
    };
    let fail = |ticket: &mut Ticket| {
        let failed = FailedUpstream {
            upstream: "app",
            endpoint: Some(&endpoint),
            kind: "broken",
        };
        bench.pipeline.upstream_failed(ticket, &failed);
    };
    let response = response_of(AnsweredBy::Botguard);
    let (mut failed, answered, mut lasting) = (admit(), admit(), admit());
    fail(&mut failed.ticket);
    bench.pipeline.finish(failed.ticket, &response);
    bench.pipeline.finish(answered.ticket, &response);
    let now = Now::read();
    bench.pipeline.record_lasting(Now {
        monotonic: now.monotonic.after(Duration::from_secs(61)),
        wall: now.wall,
    });
    fail(&mut lasting.ticket);
    bench.pipeline.finish(lasting.ticket, &response);
    let told: Vec<_> = (bench.records().iter())
        .map(|event| serde_json::to_value(event).unwrap())
        .map(|record| record.get("upstream_failure").cloned())
        .collect();
    let expected = serde_json::json!({
        "upstream": "app",
        "endpoint": "http://127.0.0.1:3000",
        "kind": "broken",
    });
    assert_eq!(told, [Some(expected.clone()), None, None, Some(expected)]);
}
