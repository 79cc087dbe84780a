//! Which requests are sent a second time although they were written once. Knows no connection.
//!
//! A connection that was kept may be closed by the application at the very moment at which a
//! request goes out on it. A client would send it again where that is safe (RFC 9110 section 9.2.2,
//! RFC 9112 section 9.3.1), so it is done here, once. Only requests without a body: bodies are
//! never kept.

use std::error::Error;
use std::io;

use http::{Method, Request};

use super::target::Age;
use super::transfer::RequestBody;

/// When a request may be sent a second time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Replay {
    /// Also where the application may have begun with it: a second time changes nothing.
    WhenClosed,
    /// Where the application says that it has not begun with it.
    WhenUnprocessed,
    Never,
}

/// Whether a request has a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Content {
    Some,
    None,
}

/// What a failure says of the request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    /// The application did nothing with it (RFC 9113 section 8.7).
    Unprocessed,
    /// The connection ended without a response.
    Closed,
    /// It was answered with what is no response, or never sent as it was.
    Unknown,
}

impl Replay {
    /// When a request with `method` may be.
    pub(super) fn of(method: &Method, content: Content) -> Self {
        if content == Content::Some {
            Self::Never
        } else if method.is_idempotent() {
            Self::WhenClosed
        } else {
            Self::WhenUnprocessed
        }
    }

    /// Whether it may be after `fate` on a connection of `age`. A new one was not closed for having
    /// been idle: whoever ends it with a request does so because of the request.
    pub(super) fn allows(self, fate: Fate, age: Age) -> bool {
        match fate {
            Fate::Unprocessed => self != Self::Never,
            Fate::Closed => self == Self::WhenClosed && age == Age::Used,
            Fate::Unknown => false,
        }
    }
}

impl Fate {
    pub(super) fn of(error: &hyper::Error) -> Self {
        if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
            return Self::Closed;
        }
        let mut cause = error.source();
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<h2::Error>() {
                return Self::of_http2(error);
            }
            if let Some(error) = error.downcast_ref::<io::Error>() {
                return Self::of_io(error);
            }
            cause = error.source();
        }
        Self::Unknown
    }

    /// h2 ends with GOAWAY only the streams beyond its last stream id; those that the application
    /// had begun with go on, and end with the connection.
    fn of_http2(error: &h2::Error) -> Self {
        let is_refusal = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        if error.is_remote() && (is_refusal || error.is_go_away()) {
            Self::Unprocessed
        } else {
            error.get_io().map_or(Self::Unknown, Self::of_io)
        }
    }

    fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected
            | io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Unknown,
        }
    }
}

/// A second one of a request that has no body.
pub(super) fn copy(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_done_twice_is_sent_twice() {
        let check = |method: &str, content, expected: [bool; 5]| {
            let replay = Replay::of(&method.parse().unwrap(), content);
            let found = [
                (Fate::Closed, Age::Used),
                (Fate::Closed, Age::New),
                (Fate::Unprocessed, Age::Used),
                (Fate::Unprocessed, Age::New),
                (Fate::Unknown, Age::Used),
            ]
            .map(|(fate, age)| replay.allows(fate, age));
            assert_eq!(found, expected, "{method} with {content:?}");
        };
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
            check(method, Content::None, [true, false, true, true, false]);
            check(method, Content::Some, [false; 5]);
        }
        for method in ["POST", "PATCH", "CONNECT", "PURGE"] {
            check(method, Content::None, [false, false, true, true, false]);
            check(method, Content::Some, [false; 5]);
        }
    }
}
