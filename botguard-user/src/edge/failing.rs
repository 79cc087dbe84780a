//! Requests that the application fails: what the log, the metrics and the audit record are told.

use super::finish::Finisher;
use super::gate::FailedUpstream;
use super::upstream::{Endpoint, Upstream, UpstreamFailure};
use crate::words::clock::Monotonic;

/// Tells of a request that `upstream` gave no response to; `endpoint` had it last, if any had it.
pub(super) fn tell(
    failure: &UpstreamFailure,
    upstream: &Upstream,
    endpoint: Option<&Endpoint>,
    request_id: &str,
    finisher: &mut Finisher,
) {
    let (name, kind) = (upstream.name(), failure.kind());
    metrics::counter!(
        "botguard_upstream_failures_total",
        "upstream" => name.to_owned(),
        "kind" => kind
    )
    .increment(1);
    let error = failure as &dyn std::error::Error;
    if failure.is_by_client() {
        tracing::debug!(request_id, error, "the client did not send its request");
        return;
    }
    finisher.upstream_failed(&FailedUpstream {
        upstream: name,
        endpoint,
        kind,
    });
    let endpoint = endpoint.map(tracing::field::display);
    match upstream.failures().may_say(kind, Monotonic::read()) {
        Some(not_logged) => tracing::warn!(
            request_id,
            upstream = name,
            endpoint,
            kind,
            error,
            not_logged,
            "no response from the upstream"
        ),
        None => tracing::debug!(
            request_id,
            upstream = name,
            endpoint,
            kind,
            error,
            "no response from the upstream, one of many"
        ),
    }
}
