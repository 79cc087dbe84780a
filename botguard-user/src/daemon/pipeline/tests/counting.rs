//! What of a decision reaches the metrics.

use metrics_exporter_prometheus::PrometheusBuilder;

use super::*;
use crate::engine::decision::PairBan;
use crate::engine::decision::{Decision, Reason};
use crate::engine::facts::RequestFacts;

#[test]
fn limits_and_pair_bans_are_counted() {
    let bench = Bench::new("enforce");
    let client = ClientAddress::direct(SCRAPER.parse().unwrap());
    let facts = RequestFacts::anonymous(client, http::Method::GET, "/users", "");
    let decision = {
        let mut engine = bench.pipeline.engine.lock();
        engine.decide(Monotonic::default(), &facts).0
    };
    let check = |decision: &Decision, limits: bool, pairs: bool| {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let pipeline = &bench.pipeline;
        ::metrics::with_local_recorder(&recorder, || pipeline.count(decision, Duration::ZERO));
        let page = handle.render();
        let has = |line: &str| page.contains(line);
        let counted = has("botguard_limits_exceeded_total{limit=\"key\"} 1");
        assert_eq!(
            (counted, has("botguard_pair_bans_total 1")),
            (limits, pairs),
            "{page}"
        );
    };
    check(&decision, false, false);
    let limited = Decision {
        reason: Reason::LimitReached {
            limit: Arc::from("key"),
        },
        ..decision.clone()
    };
    check(&limited, true, false);
    let pair = Decision {
        pair_ban: Some(PairBan {
            ttl: Duration::from_secs(60),
            reason: String::new(),
        }),
        ..decision
    };
    check(&pair, false, true);
}
