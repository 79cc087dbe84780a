//! botguard's own answers: `application/problem+json` (RFC 9457) with a status that says what
//! happened. Never HTML, never 200.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value};

use super::target::TargetError;
use super::upstream::UpstreamFailure;

/// A problem document and its status.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Problem {
    status: StatusCode,
    kind: Kind,
    title: &'static str,
    detail: String,
    members: Map<String, Value>,
    fields: Vec<(HeaderName, HeaderValue)>,
}

/// The last part of a problem's type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Of botguard's own: `urn:botguard:problem:…`.
    Own(&'static str),
    /// In IANA's registry of HTTP problem types (RFC 9457 section 4.2).
    Registered(&'static str),
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(flatten)]
    members: &'a Map<String, Value>,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        kind: Kind,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            status,
            kind,
            title,
            detail: detail.into(),
            members: Map::new(),
            fields: Vec::new(),
        }
    }

    /// With one more member (RFC 9457 section 3.2).
    pub(super) fn with_member(mut self, name: &str, value: Value) -> Self {
        self.members.insert(name.to_owned(), value);
        self
    }

    /// With one more header field.
    pub(super) fn with_field(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.fields.push((name, value));
        self
    }

    /// The response: all that the client learns of the decision.
    pub(super) fn response(&self, request_id: Option<&str>) -> Response<Bytes> {
        let document = Document {
            r#type: match self.kind {
                Kind::Own(kind) => format!("urn:botguard:problem:{kind}"),
                Kind::Registered(kind) => format!("{REGISTRY}#{kind}"),
            },
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            request_id,
            members: &self.members,
        };
        // Strings, numbers and lists of them: there is nothing in it that JSON could not hold.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in &self.fields {
            headers.insert(name, value.clone());
        }
        response
    }
}

const REGISTRY: &str = "https://iana.org/assignments/http-problem-types";

impl From<&TargetError> for Problem {
    fn from(error: &TargetError) -> Self {
        let problem = Self::new(
            error.status(),
            Kind::Own("malformed-request"),
            "Malformed request",
            error.to_string(),
        );
        match error {
            TargetError::Method(_) => {
                problem.with_field(header::ALLOW, HeaderValue::from_static(METHODS))
            }
            _ => problem,
        }
    }
}

/// Of RFC 9110 and RFC 5789, but for those that are not served. What else there is, the application
/// answers for itself.
const METHODS: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH";

impl From<&UpstreamFailure> for Problem {
    fn from(failure: &UpstreamFailure) -> Self {
        let (status, kind, title) = match failure {
            UpstreamFailure::Unreachable(_)
            | UpstreamFailure::Broken(_)
            | UpstreamFailure::Malformed(_)
            | UpstreamFailure::NoUpgrade
            | UpstreamFailure::UnaskedUpgrade => {
                (StatusCode::BAD_GATEWAY, "bad-gateway", "Bad gateway")
            }
            UpstreamFailure::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "service-unavailable",
                "Service unavailable",
            ),
            UpstreamFailure::ConnectTimeout
            | UpstreamFailure::FirstByteTimeout
            | UpstreamFailure::Stalled => (
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
        let problem = Self::new(status, Kind::Own(kind), title, failure.to_string());
        if status == StatusCode::SERVICE_UNAVAILABLE {
            // A place is free again as soon as any of its requests ends.
            problem.with_field(header::RETRY_AFTER, HeaderValue::from_static("1"))
        } else {
            problem
        }
    }
}

/// The body of a request under the reserved prefix is too long, or broke off.
pub(super) fn reserved_body() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        Kind::Own("payload-too-large"),
        "Payload too large",
        "Bodies under this prefix are short.",
    )
}
