//! Requests that are recorded before their end.

use super::*;

#[test]
fn a_request_that_lasts_is_recorded_before_its_end_and_closed_once() {
    let bench = Bench::new("enforce");
    let admit = || {
        let (parts, ()) = Request::get("/x").body(()).unwrap().into_parts();
        bench.pipeline.admit(&RequestHead {
            parts: &parts,
            path: "/x",
            authority: "a",
            client: ClientAddress::direct(SCRAPER.parse().unwrap()),
            local: SocketAddr::from(([192, 0, 2, 80], 443)),
            asks: Asks::Application,
            prints: &NO_PRINTS,
        })
    };
    let response = ResponseFacts {
        answered_by: AnsweredBy::Upstream,
        status: 200,
        bytes_in: 0,
        bytes_out: 7,
        upstream: None,
        total: Duration::from_secs(90),
        observation: None,
        login: None,
    };
    let kinds = || -> Vec<String> {
        (bench.records().iter())
            .map(|event| match event {
                Event::Request(it) if it.partial => format!("partial {:?}", it.http.status),
                Event::Request(it) => format!("whole {:?}", it.http.status),
                Event::Close(it) => format!("close {}", it.bytes_out),
                other => format!("{other:?}"),
            })
            .collect()
    };
    let start = Now::read();
    let at = |s| Now {
        monotonic: start.monotonic.after(Duration::from_secs(s)),
        wall: start.wall.after(Duration::from_secs(s)),
    };
    let (lasting, short) = (admit(), admit());
    bench.pipeline.finish(short.ticket, &response);
    bench.pipeline.record_lasting(at(59));
    assert_eq!(kinds(), ["whole Some(200)"]);
    bench.pipeline.record_lasting(at(61));
    bench.pipeline.record_lasting(at(200));
    assert_eq!(kinds(), ["whole Some(200)", "partial None"]);
    bench.pipeline.finish(lasting.ticket, &response);
    assert_eq!(kinds(), ["whole Some(200)", "partial None", "close 7"]);
}
