//! Requests that are recorded before their end.

use super::*;

#[test]
fn a_request_that_lasts_is_recorded_before_its_end_and_closed_once() {
    let bench = Bench::new("enforce");
    let admit = || {
        let (parts, ()) = Request::get("/x").body(()).unwrap().into_parts();
        bench.pipeline.admit(&head(&parts, Asks::Application))
    };
    let response = ResponseFacts {
        bytes_out: 7,
        total: Duration::from_secs(90),
        ..response_of(AnsweredBy::Upstream)
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
