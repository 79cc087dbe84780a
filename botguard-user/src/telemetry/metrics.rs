//! Every metric that control sets: its name, help and labels; those of each request are counted by
//! `request_metrics`. Labels are bounded: route templates, actions, signals, exits; never an address,
//! key or AS number.

use std::sync::Arc;

use ::metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};

/// Histogram of scores.
pub const SCORE: &str = "botguard_score";
/// Histogram of the engine's time for one decision.
pub const ENGINE_SECONDS: &str = "botguard_engine_seconds";
pub(super) const REQUESTS: &str = "botguard_requests_total";
pub(super) const DECISIONS: &str = "botguard_decisions_total";
pub(super) const SIGNALS: &str = "botguard_signals_total";
pub(super) const UPSTREAM_SECONDS: &str = "botguard_upstream_seconds";
const UPSTREAM_ENDPOINT_UP: &str = "botguard_upstream_endpoint_up";
const KERNEL_PACKETS: &str = "botguard_kernel_packets_total";
const KERNEL_ENTRIES: &str = "botguard_kernel_entries";
const KERNEL_RULE_PACKETS: &str = "botguard_kernel_rule_packets_total";
pub(super) const PRINCIPALS: &str = "botguard_principals";
const KEYS: &str = "botguard_keys";
const OVERRIDES: &str = "botguard_key_overrides";
const ADMIN_REFUSED: &str = "botguard_admin_refused_total";
const LIMITS_EXCEEDED: &str = "botguard_limits_exceeded_total";
const PAIR_BANS: &str = "botguard_pair_bans_total";
const AUDIT_LOST: &str = "botguard_audit_lost_total";
const STORE_FAILED: &str = "botguard_store_failed_commits_total";
const CRAWLER_LOOKUPS: &str = "botguard_crawler_lookups_total";
const UI_EVENTS: &str = "botguard_ui_events_total";
const DEGRADED: &str = "botguard_degraded";

/// What the edge counts by itself.
const EDGE: [(&str, &str); 11] = [
    (
        "botguard_accept_errors_total",
        "Connections that could not be accepted.",
    ),
    ("botguard_connections_total", "Connections accepted."),
    (
        "botguard_connections_refused_total",
        "Connections closed at once, by reason.",
    ),
    (
        "botguard_handshakes_failed_total",
        "TLS handshakes that failed, by kind.",
    ),
    (
        "botguard_http_errors_total",
        "Connections that ended in an HTTP error, by kind.",
    ),
    (
        "botguard_requests_refused_total",
        "Requests refused before they were judged, by status and reason.",
    ),
    (
        "botguard_responses_broken_total",
        "Responses that broke off, by side.",
    ),
    (
        "botguard_tokens_refused_total",
        "Tokens of users that name nobody, by reason.",
    ),
    (
        "botguard_unknown_host_total",
        "Requests for a host that is not among their listener's `hosts`.",
    ),
    (
        "botguard_upstream_failures_total",
        "Requests that the upstream failed, by upstream and kind.",
    ),
    (
        "botguard_upstream_replays_total",
        "Requests sent a second time, since their connection was closed or refused them.",
    ),
];

/// Gives each metric its help text.
pub(super) fn describe() {
    describe_counter!(REQUESTS, "Requests by route, method and class of status.");
    describe_counter!(DECISIONS, "Decisions by route, action and effective mode.");
    describe_counter!(SIGNALS, "Requests that a signal contributed to.");
    describe_histogram!(SCORE, "Scores of requests, 0 to 1.");
    describe_histogram!(ENGINE_SECONDS, Unit::Seconds, "Time to score one request.");
    describe_histogram!(
        UPSTREAM_SECONDS,
        Unit::Seconds,
        "Time to the head of the upstream's response."
    );
    describe_gauge!(
        UPSTREAM_ENDPOINT_UP,
        "1 while requests are offered to the endpoint, at one of its addresses at least."
    );
    describe_counter!(KERNEL_PACKETS, "Packets by the kernel filter's way out.");
    describe_counter!(
        KERNEL_RULE_PACKETS,
        "Packets of blocked sources, by kind of rule and whether they were dropped."
    );
    describe_gauge!(KERNEL_ENTRIES, "Blocks in force by origin.");
    describe_gauge!(PRINCIPALS, "Principals that the engine keeps state of.");
    describe_counter!(
        LIMITS_EXCEEDED,
        "Requests that found a declared limit used up, by its name."
    );
    describe_counter!(
        PAIR_BANS,
        "Pairs of credential and address that were refused for some time."
    );
    describe_gauge!(KEYS, "API keys by state, as far as they are not well.");
    describe_gauge!(OVERRIDES, "Overrides of API keys by command.");
    describe_counter!(
        ADMIN_REFUSED,
        "Requests to operate over HTTP that were refused, by reason."
    );
    describe_counter!(AUDIT_LOST, "Audit records that could not be written.");
    describe_counter!(STORE_FAILED, "Commits of the store that failed.");
    describe_counter!(
        CRAWLER_LOOKUPS,
        "Addresses of crawlers looked up by name, by answer; `dropped` where too many waited."
    );
    describe_counter!(UI_EVENTS, "Interaction events from pages, by outcome.");
    describe_gauge!(DEGRADED, "1 where `botguard status` would exit 2.");
    for (name, help) in EDGE {
        describe_counter!(name, help);
    }
    counter!(AUDIT_LOST).absolute(0);
    counter!(STORE_FAILED).absolute(0);
}

/// A request found this limit used up. Names are the configuration's.
pub fn limit_exceeded(limit: impl Into<Label>) {
    counter!(LIMITS_EXCEEDED, "limit" => limit.into().0).increment(1);
}

/// A pair of credential and address is refused for some time.
pub fn pair_ban() {
    counter!(PAIR_BANS).increment(1);
}

/// So many keys are in this state.
pub fn keys(state: &'static str, count: usize) {
    gauge!(KEYS, "state" => state).set(count as f64);
}

/// The engine keeps state of so many principals.
pub fn principals(count: usize) {
    gauge!(PRINCIPALS).set(count as f64);
}

/// So many overrides of keys are kept.
pub fn overrides(count: usize) {
    gauge!(OVERRIDES).set(count as f64);
}

/// A request to operate over HTTP was refused: `no_door`, `no_token`, `wrong_token`, `host`.
pub fn admin_refused(reason: &'static str) {
    counter!(ADMIN_REFUSED, "reason" => reason).increment(1);
}

/// The kernel has counted `total` packets on this way out since it was attached.
pub fn kernel_packets(exit: &'static str, total: u64) {
    counter!(KERNEL_PACKETS, "exit" => exit).absolute(total);
}

/// The kernel has dropped, and would have dropped, so many packets for rules of this kind.
pub fn kernel_rule_packets(kind: &'static str, dropped: u64, would_drop: u64) {
    counter!(KERNEL_RULE_PACKETS, "rule" => kind, "verdict" => "dropped").absolute(dropped);
    counter!(KERNEL_RULE_PACKETS, "rule" => kind, "verdict" => "would_drop").absolute(would_drop);
}

/// So many blocks of this origin are in force.
pub fn kernel_entries(origin: &'static str, count: usize) {
    gauge!(KERNEL_ENTRIES, "origin" => origin).set(count as f64);
}

/// Whether anything is degraded.
pub fn degraded(reasons: usize) {
    gauge!(DEGRADED).set(if reasons == 0 { 0.0 } else { 1.0 });
}

/// A label's value: a constant, or a shared template that is not copied.
#[derive(Debug)]
pub struct Label(::metrics::SharedString);

impl From<&'static str> for Label {
    fn from(text: &'static str) -> Self {
        Self(text.into())
    }
}

impl From<&Arc<str>> for Label {
    fn from(text: &Arc<str>) -> Self {
        Self(Arc::clone(text).into())
    }
}
