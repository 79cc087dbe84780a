//! A request's body as it comes from the client, and what becomes of the part that nobody wants: it
//! is read on for a while and thrown away. A connection that is closed with bytes unread resets, and
//! the client, still sending, loses the answer that it was just given (RFC 9112 section 9.6); a
//! stream of HTTP/2 that is reset at once takes it from some clients as well.
//!
//! Not here: how slowly a body may come while it is wanted (`pace`).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header;
use http::request::Parts;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// A request's body. Dropped before its end, the rest is thrown away as it comes.
pub(super) struct ArrivingBody {
    /// `None` from its end on.
    incoming: Option<Incoming>,
    is_sent: Sent,
}

/// Whether the client sends the body of itself.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Sent {
    Unasked,
    /// It waits for a 100, which whoever reads the body makes hyper send (RFC 9110 section 10.1.1).
    /// After another answer it may send no body at all, so that its next request would be taken for
    /// one.
    OnceAsked,
}

impl ArrivingBody {
    /// Of the request with this head.
    pub(super) fn new(incoming: Incoming, parts: &Parts) -> Self {
        let is_sent = match parts.headers.contains_key(header::EXPECT) {
            true => Sent::OnceAsked,
            false => Sent::Unasked,
        };
        Self {
            incoming: (!incoming.is_end_stream()).then_some(incoming),
            is_sent,
        }
    }

    /// Nothing more of it is read, by anybody.
    pub(super) fn abandon(&mut self) {
        self.incoming = None;
    }
}

impl Body for ArrivingBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.is_sent = Sent::Unasked;
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let frame = std::task::ready!(Pin::new(&mut *incoming).poll_frame(cx));
        if incoming.is_end_stream() || !matches!(frame, Some(Ok(_))) {
            self.incoming = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.incoming.as_ref().map(Incoming::size_hint);
        hint.unwrap_or_else(|| SizeHint::with_exact(0))
    }
}

impl Drop for ArrivingBody {
    fn drop(&mut self) {
        let rest = self
            .incoming
            .take()
            .filter(|_| self.is_sent == Sent::Unasked);
        // There is none when the daemon ends.
        if let (Some(rest), Ok(runtime)) = (rest, Handle::try_current()) {
            runtime.spawn(throw_away(rest));
        }
    }
}

/// Ends with the body, or the connection, or when it has lasted long enough.
async fn throw_away(mut rest: Incoming) {
    let all = async { while let Ok(Some(Ok(_))) = timeout(LONGEST_SILENCE, rest.frame()).await {} };
    let _read_or_given_up: Result<(), _> = timeout(LONGEST, all).await;
}

/// Between two pieces; nginx's `lingering_timeout`.
pub(super) const LONGEST_SILENCE: Duration = Duration::from_secs(5);

/// Over all. A third of nginx's `lingering_time`, since the client may be a hostile one.
const LONGEST: Duration = Duration::from_secs(10);
