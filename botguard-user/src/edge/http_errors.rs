//! Why connections end early, by hyper's and h2's word: labels of `botguard_http_errors_total`.

/// Counts and logs why a connection ended early, unless that is counted where it was found.
pub(super) fn count(error: &hyper::Error) {
    let kind = if error.is_timeout() {
        "timeout"
    } else if error.is_parse() {
        // hyper has answered it, or could not.
        metrics::counter!(
            "botguard_requests_refused_total", "status" => "400", "reason" => "unparsable"
        )
        .increment(1);
        "malformed"
    } else if error.is_user() {
        // The response's body failed: counted where it is finished.
        return;
    } else {
        flood(error).unwrap_or("broken")
    };
    tracing::debug!(%error, "HTTP connection failed");
    metrics::counter!("botguard_http_errors_total", "kind" => kind).increment(1);
}

/// The flood that h2 ended a connection for. It tells by the debug data of the GOAWAY that it sends.
fn flood(error: &hyper::Error) -> Option<&'static str> {
    let told = std::error::Error::source(error)?.to_string();
    let floods = [
        ("too_many_continuations", "continuation_flood"),
        ("too_many_resets", "rapid_reset"),
        ("too_many_internal_resets", "rapid_reset"),
        ("too_many_data_frames", "data_flood"),
    ];
    floods
        .iter()
        .find_map(|(data, kind)| told.contains(data).then_some(*kind))
}
