//! Responses that broke off.

use super::*;

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
