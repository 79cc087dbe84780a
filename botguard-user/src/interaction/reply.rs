//! The responses under the reserved prefix: JSON, or a problem document (RFC 9457).

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::token::TokenError;

pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    with_body(status, "application/json", body)
}

pub(super) fn preflight(allowed_headers: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let fields = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    for (name, value) in fields {
        insert(&mut response, name, value);
    }
    response
}

pub(super) fn malformed(detail: &str) -> Response<Bytes> {
    problem(
        StatusCode::BAD_REQUEST,
        "malformed-event",
        "Malformed event",
        detail,
    )
}

pub(super) fn refused_token(error: &TokenError) -> Response<Bytes> {
    let detail = error.to_string();
    match error {
        TokenError::Malformed => malformed(&detail),
        TokenError::Foreign | TokenError::Expired | TokenError::Spent => problem(
            StatusCode::FORBIDDEN,
            "token-refused",
            "Token refused",
            &detail,
        ),
        TokenError::Full => unavailable(&detail),
    }
}

pub(super) fn unavailable(detail: &str) -> Response<Bytes> {
    let mut response = problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        "Unavailable for now",
        detail,
    );
    insert(&mut response, header::RETRY_AFTER, "60");
    response
}

pub(super) fn too_many(wait: Duration) -> Response<Bytes> {
    let mut response = problem(
        StatusCode::TOO_MANY_REQUESTS,
        "throttled",
        "Too many tokens",
        "Events of this client come faster than they are counted.",
    );
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    insert(
        &mut response,
        header::RETRY_AFTER,
        &seconds.max(1).to_string(),
    );
    response
}

pub(super) fn wrong_method(allowed: &str) -> Response<Bytes> {
    let mut response = problem(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong-method",
        "Wrong method",
        "See Allow for what can be done here.",
    );
    insert(&mut response, header::ALLOW, allowed);
    response
}

pub(super) fn foreign_origin() -> Response<Bytes> {
    problem(
        StatusCode::FORBIDDEN,
        "foreign-origin",
        "Foreign origin",
        "Pages of this origin may not report interaction; see [ui] origins.",
    )
}

pub(super) fn unknown_path() -> Response<Bytes> {
    problem(
        StatusCode::NOT_FOUND,
        "unknown-path",
        "Not found",
        "There is nothing here under the reserved prefix.",
    )
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

fn problem(status: StatusCode, kind: &str, title: &str, detail: &str) -> Response<Bytes> {
    let document = Document {
        r#type: format!("urn:botguard:problem:{kind}"),
        title,
        status: status.as_u16(),
        detail,
    };
    with_body(status, "application/problem+json", &document)
}

fn with_body(status: StatusCode, media_type: &str, body: &impl Serialize) -> Response<Bytes> {
    // Strings and numbers: there is nothing in them that JSON could not hold.
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    insert(&mut response, header::CONTENT_TYPE, media_type);
    insert(&mut response, header::CACHE_CONTROL, "no-store");
    response
}

fn insert(response: &mut Response<Bytes>, name: HeaderName, value: &str) {
    // All values are built here, of visible ASCII.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
