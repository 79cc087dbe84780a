//! The answers to a solution: a cookie, or a problem document (RFC 9457) with the next puzzle.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::puzzle::{Puzzle, PuzzleError};
use super::settings::ChallengeSettings;

/// 204 with the clearance.
pub(super) fn cleared(settings: &ChallengeSettings, value: &str) -> Response<Bytes> {
    let name = settings.cookie.as_str();
    let seconds = settings.clearance.0.as_secs();
    let cookie =
        format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={seconds}");
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    insert(&mut response, header::SET_COOKIE, &cookie);
    insert(&mut response, header::CACHE_CONTROL, "no-store");
    response
}

/// A solution that earns nothing; the page may try `next`.
pub(super) fn refused(error: PuzzleError, next: Option<&Puzzle>) -> Response<Bytes> {
    let (status, kind, title) = match error {
        PuzzleError::Malformed => (
            StatusCode::BAD_REQUEST,
            "malformed-solution",
            "Malformed solution",
        ),
        PuzzleError::TooEarly => (
            StatusCode::FORBIDDEN,
            "solution-too-early",
            "Solution too early",
        ),
        PuzzleError::Foreign | PuzzleError::Expired | PuzzleError::Wrong | PuzzleError::Spent => (
            StatusCode::FORBIDDEN,
            "solution-refused",
            "Solution refused",
        ),
        PuzzleError::Full => (
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "Unavailable for now",
        ),
    };
    problem(status, kind, title, &error.to_string(), next)
}

pub(super) fn no_randomness() -> Response<Bytes> {
    problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        "Unavailable for now",
        "no randomness to make a challenge from",
        None,
    )
}

pub(super) fn wrong_method() -> Response<Bytes> {
    let mut response = problem(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong-method",
        "Wrong method",
        "See Allow for what can be done here.",
        None,
    );
    insert(&mut response, header::ALLOW, "GET, HEAD, POST");
    response
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge: Option<&'a Puzzle>,
}

fn problem(
    status: StatusCode,
    kind: &str,
    title: &str,
    detail: &str,
    challenge: Option<&Puzzle>,
) -> Response<Bytes> {
    let document = Document {
        r#type: format!("urn:botguard:problem:{kind}"),
        title,
        status: status.as_u16(),
        detail,
        challenge,
    };
    // Strings and numbers: there is nothing in them that JSON could not hold.
    let body = serde_json::to_vec(&document).unwrap_or_default();
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    insert(
        &mut response,
        header::CONTENT_TYPE,
        "application/problem+json",
    );
    insert(&mut response, header::CACHE_CONTROL, "no-store");
    if status == StatusCode::SERVICE_UNAVAILABLE {
        insert(&mut response, header::RETRY_AFTER, "60");
    }
    response
}

fn insert(response: &mut Response<Bytes>, name: HeaderName, value: &str) {
    // All values are built here, of visible ASCII.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
