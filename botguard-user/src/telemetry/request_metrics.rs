//! What is counted with every request. Each counter is looked up by its labels once and then kept:
//! looking up costs several times what counting does. Names and help stand in [`super::metrics`].

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use http::Method;
use parking_lot::RwLock;

use super::metrics::{
    DECISIONS, ENGINE_SECONDS, PRINCIPALS, REQUESTS, SCORE, SIGNALS, UPSTREAM_SECONDS,
};
use crate::engine::decision::Action;
use crate::words::mode::Mode;

/// The metrics of requests, of the recorder that was installed when it was made.
pub struct RequestMetrics {
    score: Histogram,
    engine: Histogram,
    upstream: Histogram,
    principals: Gauge,
    /// As many as policies had routes.
    routes: RwLock<HashMap<Arc<str>, Arc<RouteMetrics>>>,
    /// As many as there are signals.
    signals: RwLock<HashMap<&'static str, Counter>>,
}

/// The counters of one route. `route` of the methods below is a template, never a path.
pub struct RouteMetrics {
    route: Arc<str>,
    decisions: [[OnceLock<Counter>; MODES.len()]; ACTIONS.len()],
    requests: [[OnceLock<Counter>; CLASSES.len()]; METHODS.len() + 1],
}

impl Default for RequestMetrics {
    fn default() -> Self {
        Self {
            score: histogram!(SCORE),
            engine: histogram!(ENGINE_SECONDS),
            upstream: histogram!(UPSTREAM_SECONDS),
            principals: gauge!(PRINCIPALS),
            routes: RwLock::default(),
            signals: RwLock::default(),
        }
    }
}

impl RequestMetrics {
    /// The counters of a route.
    #[must_use]
    pub fn route(&self, route: &Arc<str>) -> Arc<RouteMetrics> {
        if let Some(known) = self.routes.read().get(route) {
            return Arc::clone(known);
        }
        let mut routes = self.routes.write();
        let metrics = routes.entry(Arc::clone(route));
        Arc::clone(metrics.or_insert_with(|| Arc::new(RouteMetrics::of(Arc::clone(route)))))
    }

    /// A score, from 0 to 1, was made in `elapsed`.
    pub fn score(&self, score: f64, elapsed: Duration) {
        self.score.record(score);
        self.engine.record(elapsed);
    }

    /// A signal contributed to a score.
    pub fn signal(&self, id: &'static str) {
        if let Some(known) = self.signals.read().get(id) {
            return known.increment(1);
        }
        let mut signals = self.signals.write();
        let known = signals.entry(id);
        known
            .or_insert_with(|| counter!(SIGNALS, "signal" => id))
            .increment(1);
    }

    /// The upstream answered after `elapsed`.
    pub fn upstream(&self, elapsed: Duration) {
        self.upstream.record(elapsed);
    }

    /// The engine keeps state of so many principals.
    pub fn principals(&self, count: usize) {
        self.principals.set(count as f64);
    }
}

impl RouteMetrics {
    fn of(route: Arc<str>) -> Self {
        Self {
            route,
            decisions: Default::default(),
            requests: Default::default(),
        }
    }

    /// A decision was taken.
    pub fn decided(&self, action: Action, mode: Mode) {
        let (action_at, mode_at) = (place(&ACTIONS, &action), place(&MODES, &mode));
        if let Some(counter) = at(&self.decisions, action_at, mode_at) {
            let make = || {
                let route = Arc::clone(&self.route);
                let (action, mode) = (action.name(), mode.name());
                counter!(DECISIONS, "route" => route, "action" => action, "mode" => mode)
            };
            counter.get_or_init(make).increment(1);
        }
    }

    /// A request ended with this status.
    pub fn ended(&self, method: &Method, status: u16) {
        let (method_at, class_at) = (place(&METHODS, method), usize::from(status / 100));
        let class_at = class_at.clamp(1, CLASSES.len()) - 1;
        if let Some(counter) = at(&self.requests, method_at, class_at) {
            let make = || {
                let route = Arc::clone(&self.route);
                // A client may make up any number of methods.
                let method = METHOD_NAMES.get(method_at).copied().unwrap_or("other");
                let class = CLASSES[class_at];
                counter!(REQUESTS, "route" => route, "method" => method, "status" => class)
            };
            counter.get_or_init(make).increment(1);
        }
    }
}

/// Its place in a list; one behind the last if it is not there.
fn place<T: PartialEq>(all: &[T], one: &T) -> usize {
    let found = all.iter().position(|other| other == one);
    found.unwrap_or(all.len())
}

fn at<T, const ROWS: usize, const COLUMNS: usize>(
    table: &[[T; COLUMNS]; ROWS],
    row: usize,
    column: usize,
) -> Option<&T> {
    table.get(row)?.get(column)
}

const ACTIONS: [Action; 6] = [
    Action::Allow,
    Action::Log,
    Action::Throttle,
    Action::Challenge,
    Action::StepUp,
    Action::Block,
];

const MODES: [Mode; 3] = [Mode::Off, Mode::Log, Mode::Enforce];

const METHODS: [Method; 7] = [
    Method::GET,
    Method::POST,
    Method::HEAD,
    Method::OPTIONS,
    Method::PUT,
    Method::DELETE,
    Method::PATCH,
];

const METHOD_NAMES: [&str; METHODS.len()] =
    ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"];

/// Of statuses.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl std::fmt::Debug for RequestMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RequestMetrics")
    }
}

impl std::fmt::Debug for RouteMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RouteMetrics").field(&self.route).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_is_counted_under_its_labels() {
        let recorder = super::super::builder(super::super::GAUGE_IDLE)
            .unwrap()
            .build_recorder();
        let handle = recorder.handle();
        ::metrics::with_local_recorder(&recorder, || {
            let metrics = RequestMetrics::default();
            let route = Arc::from("/users");
            for _ in 0..2 {
                let route = metrics.route(&route);
                route.decided(Action::Block, Mode::Enforce);
                route.ended(&Method::GET, 403);
                metrics.signal("paging");
            }
            let route = metrics.route(&Arc::from("default"));
            for (method, name) in METHODS.iter().zip(METHOD_NAMES) {
                assert_eq!(method.as_str(), name);
                route.ended(method, 200);
            }
            let invented = Method::from_bytes(b"BREW").unwrap();
            for status in [0, 99, 101, 500, 999, u16::MAX] {
                route.ended(&invented, status);
            }
            for action in ACTIONS {
                route.decided(action, Mode::Log);
            }
            metrics.score(1.0, Duration::from_micros(2));
            metrics.upstream(Duration::from_millis(3));
            metrics.principals(7);
        });
        let page = handle.render();
        for line in [
            r#"botguard_requests_total{route="/users",method="GET",status="4xx"} 2"#,
            r#"botguard_requests_total{route="default",method="PATCH",status="2xx"} 1"#,
            r#"botguard_requests_total{route="default",method="other",status="1xx"} 3"#,
            r#"botguard_requests_total{route="default",method="other",status="5xx"} 3"#,
            r#"botguard_decisions_total{route="/users",action="block",mode="enforce"} 2"#,
            r#"botguard_decisions_total{route="default",action="step_up",mode="log"} 1"#,
            r#"botguard_score_bucket{le="0.95"} 0"#,
            r#"botguard_score_bucket{le="1"} 1"#,
            r#"botguard_engine_seconds_bucket{le="0.000002"} 1"#,
            r#"botguard_upstream_seconds_bucket{le="0.005"} 1"#,
            r#"botguard_signals_total{signal="paging"} 2"#,
            "botguard_principals 7",
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
    }
}
