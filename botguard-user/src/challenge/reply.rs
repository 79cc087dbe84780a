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
pub(super) fn refused(
    error: PuzzleError,
    next: Option<&Puzzle>,
    request_id: &str,
) -> Response<Bytes> {
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
    let document = Document {
        detail: &error.to_string(),
        challenge: next,
        ..Document::new(status, kind, title, request_id)
    };
    document.response(status)
}

pub(super) fn no_randomness(request_id: &str) -> Response<Bytes> {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let document = Document {
        detail: "no randomness to make a challenge from",
        ..Document::new(status, "unavailable", "Unavailable for now", request_id)
    };
    document.response(status)
}

pub(super) fn wrong_method(request_id: &str) -> Response<Bytes> {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let document = Document {
        detail: "See Allow for what can be done here.",
        ..Document::new(status, "wrong-method", "Wrong method", request_id)
    };
    let mut response = document.response(status);
    insert(&mut response, header::ALLOW, "GET, HEAD, POST");
    response
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge: Option<&'a Puzzle>,
}

impl<'a> Document<'a> {
    fn new(status: StatusCode, kind: &str, title: &'a str, request_id: &'a str) -> Self {
        Self {
            r#type: format!("urn:botguard:problem:{kind}"),
            title,
            status: status.as_u16(),
            detail: title,
            request_id,
            challenge: None,
        }
    }

    fn response(&self, status: StatusCode) -> Response<Bytes> {
        // Strings and numbers: there is nothing in them that JSON could not hold.
        let body = serde_json::to_vec(self).unwrap_or_default();
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
}

fn insert(response: &mut Response<Bytes>, name: HeaderName, value: &str) {
    // All values are built here, of visible ASCII.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
