//! What a denied client is answered: a status that says what happened, a problem document, and the
//! header fields that let a well-behaved client do the right thing next.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::Value;

use super::gate::RequestHead;
use super::problem::{Kind, Problem};
use super::rate_limit::{self, whole_seconds};
use super::reader::reader;
use super::reserved::ReservedRoutes;
use crate::engine::decision::{Denial, LimitState, StepUpDemand, ThrottleCause};
use crate::engine::facts::Reader;

/// The answer to a request that is denied. HTML only as a challenge, and only to a page.
pub(super) fn answer(
    denial: &Denial,
    limit: Option<&LimitState>,
    request: &RequestHead<'_>,
    reserved: &dyn ReservedRoutes,
    request_id: &str,
) -> Response<Bytes> {
    let mut response = match denial {
        Denial::Challenge => challenge(request, reserved, request_id),
        Denial::Throttle { retry_after, cause } => {
            throttle(*retry_after, *cause, limit).response(Some(request_id))
        }
        Denial::StepUp(demand) => step_up(demand).response(Some(request_id)),
        Denial::Block => refusal(
            "blocked",
            "Request blocked",
            "The request was refused. Quote the request id when asking why.",
        )
        .response(Some(request_id)),
        Denial::Unrecordable => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Kind::Own("unrecordable"),
            "Service unavailable",
            "The request cannot be recorded at the moment. Try again.",
        )
        .with_field(header::RETRY_AFTER, HeaderValue::from_static("1"))
        .response(Some(request_id)),
        Denial::Suspended => refusal(
            "key-suspended",
            "API key suspended",
            "The API key of the request is suspended. Ask who gave it to you, and quote the request \
             id.",
        )
        .response(Some(request_id)),
    };
    if let Some(limit) = limit {
        rate_limit::set(response.headers_mut(), limit);
    }
    response
}

fn throttle(retry_after: Duration, cause: ThrottleCause, limit: Option<&LimitState>) -> Problem {
    // Never earlier than `t` of `RateLimit` (section 5 of its draft), and at least a second: a
    // client that came back earlier would be throttled again.
    let reset = limit.map_or(Duration::ZERO, |limit| limit.reset);
    let seconds = whole_seconds(retry_after.max(reset)).max(1);
    let (kind, title) = match cause {
        ThrottleCause::Limit => (
            "quota-exceeded",
            "Request cannot be satisfied as assigned quota has been exceeded",
        ),
        ThrottleCause::Score => (
            "abnormal-usage-detected",
            "Request not satisfied due to detection of abnormal request pattern",
        ),
    };
    let mut problem = Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        Kind::Registered(kind),
        title,
        "Slow down and try again after the time in Retry-After.",
    );
    if let (ThrottleCause::Limit, Some(limit)) = (cause, limit) {
        let violated = Value::from(vec![limit.name.as_ref()]);
        problem = problem.with_member("violated-policies", violated);
    }
    problem.with_field(header::RETRY_AFTER, HeaderValue::from(seconds))
}

/// RFC 9470 section 3.
fn step_up(demand: &StepUpDemand) -> Problem {
    let max_age = demand.max_age.as_secs();
    let description = "The user has to prove again who they are";
    let mut parameters = vec![
        "error=\"insufficient_user_authentication\"".to_owned(),
        format!("error_description={}", quoted(description)),
    ];
    if !demand.acr_values.is_empty() {
        let values = quoted(&demand.acr_values.join(" "));
        parameters.push(format!("acr_values={values}"));
    }
    parameters.push(format!("max_age=\"{max_age}\""));
    let mut problem = Problem::new(
        StatusCode::UNAUTHORIZED,
        Kind::Own("step-up-required"),
        "Fresh authentication required",
        "The user has to prove again who they are; then repeat the request.",
    )
    .with_member("max_age", Value::from(max_age));
    if !demand.acr_values.is_empty() {
        let values: Vec<&str> = demand.acr_values.iter().map(AsRef::as_ref).collect();
        problem = problem.with_member("acr_values", Value::from(values));
    }
    if let Some(url) = &demand.url {
        problem = problem.with_member("step_up_url", Value::from(url.as_ref()));
    }
    let scheme = format!("Bearer {}", parameters.join(", "));
    match HeaderValue::from_str(&scheme) {
        Ok(value) => problem.with_field(header::WWW_AUTHENTICATE, value),
        // `quoted` leaves nothing that a field could not hold.
        Err(_unreachable) => problem,
    }
}

/// A quoted string (RFC 9110 section 5.6.4), without what it cannot hold.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            ' '..='~' => quoted.push(character),
            _ => {}
        }
    }
    quoted.push('"');
    quoted
}

fn challenge(
    request: &RequestHead<'_>,
    reserved: &dyn ReservedRoutes,
    request_id: &str,
) -> Response<Bytes> {
    let is_page = reader(&request.parts.method, &request.parts.headers) == Reader::Page;
    let page = (is_page && !is_for_programs(request.path))
        .then(|| reserved.challenge_page(request, request_id))
        .flatten();
    let mut response = page.unwrap_or_else(|| {
        let mut problem = refusal(
            "challenge-required",
            "Challenge required",
            "A browser has to solve a challenge first: open challenge_url in the browser whose \
             page sent the request.",
        );
        if let Some(path) = reserved.challenge_path() {
            // Of the origin that was asked: `target` took the authority from the request.
            let url = format!("https://{}{path}", request.authority);
            problem = problem.with_member("challenge_url", Value::from(url));
        }
        problem.response(Some(request_id))
    });
    *response.status_mut() = StatusCode::FORBIDDEN;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Cookie"));
    response
}

/// Paths that only programs read, whatever they accept (RFC 9309, RFC 8615).
fn is_for_programs(path: &str) -> bool {
    path == "/robots.txt" || path == "/.well-known" || path.starts_with("/.well-known/")
}

fn refusal(kind: &'static str, title: &'static str, detail: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, Kind::Own(kind), title, detail)
}

#[cfg(test)]
mod tests;
