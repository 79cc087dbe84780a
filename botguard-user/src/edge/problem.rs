//! botguard's own answers: `application/problem+json` (RFC 9457) with a status that says what
//! happened. Never HTML, never 200.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::target::TargetError;
use super::upstream::UpstreamFailure;
use crate::engine::decision::Denial;

/// A problem document and its status.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Problem {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    retry_after_s: Option<u64>,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

impl Problem {
    /// The response. `Retry-After` and the body are all that the client learns of the decision.
    pub(super) fn response(&self, request_id: Option<&str>) -> Response<Bytes> {
        let document = Document {
            r#type: format!("urn:botguard:problem:{}", self.kind),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            request_id,
        };
        // Strings and a number: there is nothing in it that JSON could not hold.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<Denial> for Problem {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Throttle { retry_after, .. } => Self {
                status: StatusCode::TOO_MANY_REQUESTS,
                kind: "throttled",
                title: "Too many requests",
                detail: "Slow down and try again after the time in Retry-After.".to_owned(),
                retry_after_s: Some(whole_seconds(retry_after)),
            },
            Denial::Unrecordable => Self {
                status: StatusCode::SERVICE_UNAVAILABLE,
                kind: "unrecordable",
                title: "Service unavailable",
                detail: "The request cannot be recorded at the moment. Try again.".to_owned(),
                retry_after_s: Some(1),
            },
            Denial::Block | Denial::Challenge | Denial::StepUp(_) | Denial::Suspended => Self {
                status: StatusCode::FORBIDDEN,
                kind: "blocked",
                title: "Request blocked",
                detail: "The request was refused. Quote the request id when asking why.".to_owned(),
                retry_after_s: None,
            },
        }
    }
}

impl From<&TargetError> for Problem {
    fn from(error: &TargetError) -> Self {
        Self {
            status: error.status(),
            kind: "malformed-request",
            title: "Malformed request",
            detail: error.to_string(),
            retry_after_s: None,
        }
    }
}

impl From<&UpstreamFailure> for Problem {
    fn from(failure: &UpstreamFailure) -> Self {
        let (status, kind, title) = match failure {
            UpstreamFailure::Unreachable(_) | UpstreamFailure::Broken(_) => {
                (StatusCode::BAD_GATEWAY, "bad-gateway", "Bad gateway")
            }
            UpstreamFailure::ConnectTimeout(_) | UpstreamFailure::FirstByteTimeout => (
                StatusCode::GATEWAY_TIMEOUT,
                "gateway-timeout",
                "Gateway timeout",
            ),
            UpstreamFailure::ClientBroke => (
                StatusCode::BAD_REQUEST,
                "malformed-request",
                "Malformed request",
            ),
            UpstreamFailure::ClientStalled => (
                StatusCode::REQUEST_TIMEOUT,
                "request-timeout",
                "Request timeout",
            ),
        };
        Self {
            status,
            kind,
            title,
            detail: failure.to_string(),
            retry_after_s: None,
        }
    }
}

/// The body of a request under the reserved prefix is too long, or broke off.
pub(super) fn reserved_body() -> Problem {
    Problem {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        kind: "payload-too-large",
        title: "Payload too large",
        detail: "Bodies under this prefix are short.".to_owned(),
        retry_after_s: None,
    }
}

/// The upstream switched protocols, which it was not asked to.
pub(super) fn unasked_upgrade() -> Problem {
    Problem {
        status: StatusCode::BAD_GATEWAY,
        kind: "bad-gateway",
        title: "Bad gateway",
        detail: "the application switched protocols without being asked".to_owned(),
        retry_after_s: None,
    }
}

/// Rounded up, and at least 1: a client that came back earlier would be throttled again.
fn whole_seconds(duration: Duration) -> u64 {
    let up = u64::from(duration.subsec_nanos() > 0);
    duration.as_secs().saturating_add(up).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::decision::ThrottleCause;

    #[test]
    fn denials() {
        let check = |denial: Denial, status: u16, retry_after: Option<&str>| {
            let response = Problem::from(denial).response(Some("r-1"));
            assert_eq!(response.status().as_u16(), status);
            let headers = response.headers();
            assert_eq!(headers["content-type"], "application/problem+json");
            let seconds = headers.get("retry-after");
            assert_eq!(seconds.map(|value| value.to_str().unwrap()), retry_after);
            let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(body["status"], status);
            assert_eq!(body["request_id"], "r-1");
            for member in ["type", "title", "detail"] {
                assert!(body[member].is_string(), "{member}");
            }
        };
        let throttle = |ms| Denial::Throttle {
            cause: ThrottleCause::Score,
            retry_after: Duration::from_millis(ms),
        };
        check(Denial::Block, 403, None);
        check(Denial::Unrecordable, 503, Some("1"));
        check(throttle(1), 429, Some("1"));
        check(throttle(0), 429, Some("1"));
        check(throttle(2_000), 429, Some("2"));
        check(throttle(2_001), 429, Some("3"));
    }
}
