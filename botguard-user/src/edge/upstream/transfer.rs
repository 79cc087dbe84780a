//! The two bodies of a request on an upstream's connection: they say how far they are, so that
//! whoever waits knows who lets it wait, and the response's gives back what it holds at its end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::time::{Sleep, sleep};

use super::connect::Channel;
use super::failure::ResponseBroken;
use super::target::Occupancy;
use crate::edge::body::{BodyError, RequestBytes, UpstreamBody};
use crate::words::clock::Monotonic;

/// A request's body, as connections take it.
pub(super) enum RequestBody {
    /// A client's.
    Client(UpstreamBody, Flow),
    /// That of a check.
    Empty,
}

/// How far a request's body is.
#[derive(Clone, Default)]
pub(super) struct Flow {
    bytes: RequestBytes,
    /// Whether the connection asked for more, and the client had none.
    wants_more: Arc<AtomicBool>,
    cut: Arc<Mutex<Cut>>,
}

/// Whether a request's body is still wanted.
#[derive(Default)]
enum Cut {
    #[default]
    Wanted,
    /// By a connection that waits for more.
    WaitedFor(Waker),
    /// The response has ended.
    Unwanted,
}

/// A position in a body: where two are equal, nothing moved in between.
pub(super) type Position = (u64, bool);

impl Flow {
    pub(super) fn of(body: &UpstreamBody) -> Self {
        Self {
            bytes: body.bytes().clone(),
            wants_more: Arc::new(AtomicBool::new(false)),
            cut: Arc::default(),
        }
    }

    /// Ends the request's body where it is: the response has ended, so nobody waits for the rest, and
    /// nothing limits how long it would take.
    fn cut(&self) {
        let before = std::mem::replace(&mut *self.cut.lock(), Cut::Unwanted);
        if let Cut::WaitedFor(connection) = before {
            connection.wake();
        }
    }

    /// Ready once it was cut.
    fn poll_cut(&self, cx: &Context<'_>) -> Poll<()> {
        let mut cut = self.cut.lock();
        match &*cut {
            Cut::Unwanted => return Poll::Ready(()),
            Cut::WaitedFor(waker) if waker.will_wake(cx.waker()) => {}
            _ => *cut = Cut::WaitedFor(cx.waker().clone()),
        }
        Poll::Pending
    }

    pub(super) fn position(&self) -> Position {
        (self.bytes.count(), self.bytes.has_ended())
    }

    /// When it moved last.
    pub(super) fn last_moved(&self) -> Monotonic {
        self.bytes.last_moved()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.bytes.has_ended()
    }

    /// Whether it is the client that is waited for.
    pub(super) fn waits_for_client(&self) -> bool {
        self.wants_more.load(Ordering::Relaxed)
    }

    pub(super) fn is_broken(&self) -> bool {
        self.bytes.is_broken()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Client(body, flow) => {
                if flow.poll_cut(cx).is_ready() {
                    return Poll::Ready(Some(Err(BodyError::Unwanted)));
                }
                let polled = Pin::new(body).poll_frame(cx);
                flow.wants_more
                    .store(polled.is_pending(), Ordering::Relaxed);
                polled
            }
            Self::Empty => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Client(body, _) => body.is_end_stream(),
            Self::Empty => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Client(body, _) => body.size_hint(),
            Self::Empty => SizeHint::with_exact(0),
        }
    }
}

/// A response's body. Holds its endpoint's place for a request, and its connection, until it ends
/// or is dropped: whoever switches protocols keeps it for as long as the tunnel is open.
pub(in crate::edge) struct ResponseBody {
    incoming: Incoming,
    /// `None` once it has ended.
    occupancy: Option<Occupancy>,
    flow: Flow,
    idle_timeout: Duration,
    /// Runs while nothing comes; made at the first wait.
    idle: Option<Pin<Box<Sleep>>>,
    /// Whether anything came since `idle` was set.
    moved: bool,
    /// How far the request's body was when `idle` was set.
    position: Position,
}

impl ResponseBody {
    pub(super) fn new(
        incoming: Incoming,
        occupancy: Occupancy,
        flow: Flow,
        idle_timeout: Duration,
    ) -> Self {
        Self {
            incoming,
            occupancy: Some(occupancy),
            position: flow.position(),
            flow,
            idle_timeout,
            idle: None,
            moved: false,
        }
    }

    /// Whether what hyper takes for the end over HTTP/2 is a reset with NO_ERROR in its place. A
    /// response is complete with END_STREAM only, which such a reset may follow (RFC 9113 section
    /// 8.1).
    fn is_cut(&self) -> bool {
        let channel = self.occupancy.as_ref().map(|held| &held.channel);
        matches!(channel, Some(Channel::Http2(_))) && !self.incoming.is_end_stream()
    }

    fn end(&mut self) {
        let Some(occupancy) = self.occupancy.take() else {
            return;
        };
        if self.flow.has_ended() {
            occupancy.release();
        } else {
            // An early answer. A connection in the middle of a request is nobody else's.
            self.flow.cut();
        }
    }

    /// Ready once nothing has moved for too long, in either direction.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.idle {
                Some(idle) if !self.moved => ready!(idle.as_mut().poll(cx)),
                Some(idle) => {
                    idle.set(sleep(self.idle_timeout));
                    self.moved = false;
                    self.position = self.flow.position();
                    continue;
                }
                None => {
                    self.idle = Some(Box::pin(sleep(self.idle_timeout)));
                    self.moved = false;
                    self.position = self.flow.position();
                    continue;
                }
            }
            if self.flow.position() == self.position {
                return Poll::Ready(());
            }
            self.moved = true;
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseBroken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBroken>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(None) if self.is_cut() => Poll::Ready(Some(Err(ResponseBroken::Cut))),
            Poll::Ready(frame) => {
                self.moved = true;
                // hyper asks for nothing after trailers.
                if frame.as_ref().is_none_or(is_trailers) {
                    self.end();
                }
                Poll::Ready(frame.map(|frame| frame.map_err(ResponseBroken::Http)))
            }
            Poll::Pending => {
                ready!(self.poll_idle(cx));
                Poll::Ready(Some(Err(ResponseBroken::Idle)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

fn is_trailers(frame: &Result<Frame<Bytes>, hyper::Error>) -> bool {
    frame.as_ref().is_ok_and(Frame::is_trailers)
}

/// hyper does not ask a body of known length for its end, it drops it.
impl Drop for ResponseBody {
    fn drop(&mut self) {
        if self.incoming.is_end_stream() {
            self.end();
        }
    }
}
