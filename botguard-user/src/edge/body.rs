//! Bodies on their way through: counted, never collected. Frames pass one by one in both
//! directions, trailers included, except botguard's own fields.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use parking_lot::Mutex;

use super::finish::Finisher;
use super::headers;
use super::listener::BodyLimits;
use super::pace::Pace;
use super::tee::Tee;
use super::unread::Owed;
use super::unwanted::ArrivingBody;
use super::upstream::{ResponseBody, ResponseBroken};
use crate::words::clock::Monotonic;

/// The body of a response to the client. Shared with the connection's task, which lets it go when
/// the client takes nothing of it.
pub(super) struct ClientBody(Arc<Mutex<Open>>);

/// A response's body that has not ended.
pub(super) struct Open {
    source: Source,
    /// Taken, and so finished, as soon as the body ends.
    finisher: Option<Finisher>,
    /// Set while it is the client that is waited for.
    pub(super) owed: Option<Owed>,
}

enum Source {
    Upstream(ResponseBody),
    Own(Full<Bytes>),
    /// The client took nothing for too long.
    LetGo,
}

/// A frame, the error that ends the body, or its end.
type Polled = Option<Result<Frame<Bytes>, ResponseBroken>>;

/// What a response held; finished when it is dropped.
pub(super) struct LetGo {
    _source: Source,
    _finisher: Option<Finisher>,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Open")
    }
}

impl Open {
    pub(super) fn let_go(&mut self) -> LetGo {
        self.owed = None;
        LetGo {
            _source: std::mem::replace(&mut self.source, Source::LetGo),
            _finisher: self.finisher.take(),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Upstream(body) => body.is_end_stream(),
            Source::Own(body) => body.is_end_stream(),
            Source::LetGo => false,
        }
    }

    /// With the finisher if that ends the body: to be dropped without the lock.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<(Polled, Option<Finisher>)> {
        self.owed = None;
        let frame = match &mut self.source {
            Source::Upstream(body) => std::task::ready!(Pin::new(body).poll_frame(cx)),
            Source::Own(body) => std::task::ready!(Pin::new(body).poll_frame(cx))
                .map(|frame| frame.map_err(|never| match never {})),
            Source::LetGo => Some(Err(ResponseBroken::Unread)),
        };
        let frame = with_clean_trailers(frame);
        let ended = match &frame {
            // hyper does not ask for anything after them.
            Some(Ok(frame)) if frame.is_trailers() => self.completed(),
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                if let Some(finisher) = &mut self.finisher {
                    finisher.sent(bytes);
                }
                let since = Monotonic::read();
                self.owed = Some(Owed { since, bytes });
                None
            }
            Some(Err(_error)) => self.finisher.take().map(|mut finisher| {
                finisher.upstream_broke();
                finisher
            }),
            None => self.completed(),
        };
        Poll::Ready((frame, ended))
    }

    fn completed(&mut self) -> Option<Finisher> {
        let mut finisher = self.finisher.take()?;
        finisher.complete();
        Some(finisher)
    }
}

impl ClientBody {
    /// The upstream's body, which finishes the request at its end.
    pub(super) fn from_upstream(body: ResponseBody, finisher: Finisher) -> Self {
        Self::new(Source::Upstream(body), Some(finisher))
    }

    /// A body of botguard's own.
    pub(super) fn own(body: Bytes, finisher: Option<Finisher>) -> Self {
        Self::new(Source::Own(Full::new(body)), finisher)
    }

    fn new(source: Source, finisher: Option<Finisher>) -> Self {
        let live = finisher
            .as_ref()
            .map(|finisher| Arc::clone(finisher.live()));
        let open = Arc::new(Mutex::new(Open {
            source,
            finisher,
            owed: None,
        }));
        if let Some(live) = live {
            live.responses().enter(&open);
        }
        Self(open)
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = ResponseBroken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Polled> {
        let polled = self.0.lock().poll_frame(cx);
        polled.map(|(frame, ended)| {
            drop(ended);
            frame
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0.lock().source {
            Source::Upstream(body) => body.size_hint(),
            Source::Own(body) => body.size_hint(),
            Source::LetGo => SizeHint::default(),
        }
    }
}

/// hyper does not ask a body of known length for its end, it drops it.
impl Drop for ClientBody {
    fn drop(&mut self) {
        let mut open = self.0.lock();
        let ended = open.is_end_stream().then(|| open.completed());
        drop(open);
        drop(ended);
    }
}

/// The body of a request to the upstream. Clones share the one body: a clone whose connection
/// could not be made was never read, so that the next may try.
#[derive(Clone)]
pub(super) struct UpstreamBody {
    received: Arc<Mutex<Received>>,
    bytes: RequestBytes,
    tee: Option<Tee>,
}

struct Received {
    incoming: ArrivingBody,
    pace: Pace,
}

/// Why a request's body breaks off. The client's fault.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error(transparent)]
    Broken(#[from] hyper::Error),
    #[error("the client sends the body of its request too slowly")]
    TooSlow,
    /// Nobody's fault.
    #[error("the application has answered without the rest of the request's body")]
    Unwanted,
}

impl UpstreamBody {
    pub(super) fn new(incoming: ArrivingBody, bytes: RequestBytes, limits: BodyLimits) -> Self {
        if incoming.is_end_stream() {
            bytes.end();
        }
        let pace = Pace::new(limits);
        Self {
            received: Arc::new(Mutex::new(Received { incoming, pace })),
            bytes,
            tee: None,
        }
    }

    /// Its bytes are looked at as they pass.
    pub(super) fn teed(self, tee: Option<Tee>) -> Self {
        Self { tee, ..self }
    }

    pub(super) const fn bytes(&self) -> &RequestBytes {
        &self.bytes
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // Never contended: clones are polled one after another.
        let mut received = self.received.lock();
        let Poll::Ready(frame) = Pin::new(&mut received.incoming).poll_frame(cx) else {
            if self.bytes.is_answered() {
                return Poll::Pending;
            }
            std::task::ready!(received.pace.poll_too_slow(cx));
            self.bytes.give_up();
            received.incoming.abandon();
            metrics::counter!("botguard_http_errors_total", "kind" => "slow_body").increment(1);
            return Poll::Ready(Some(Err(BodyError::TooSlow)));
        };
        self.bytes.moved();
        match &frame {
            Some(Ok(frame)) => {
                let data = frame.data_ref().map_or(0, Bytes::len);
                self.bytes.add(data);
                if let (Some(tee), Some(data)) = (&self.tee, frame.data_ref()) {
                    tee.see(data);
                }
                received.pace.arrived(data);
                // hyper asks for nothing after trailers.
                if frame.is_trailers() || received.incoming.is_end_stream() {
                    self.bytes.end();
                }
            }
            Some(Err(_broken)) => self.bytes.break_off(),
            None => self.bytes.end(),
        }
        Poll::Ready(with_clean_trailers(frame).map(|frame| frame.map_err(BodyError::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.received.lock().incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.received.lock().incoming.size_hint()
    }
}

/// How much of a request's body has arrived.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestBytes(Arc<Progress>);

#[derive(Debug, Default)]
struct Progress {
    count: AtomicU64,
    ended: AtomicBool,
    broken: AtomicBool,
    too_slow: AtomicBool,
    answered: AtomicBool,
    /// When the last of it came, in nanoseconds since boot.
    moved: AtomicU64,
}

impl RequestBytes {
    pub(super) fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.0.ended.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: usize) {
        self.0.count.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn moved(&self) {
        let now = Monotonic::read().as_nanoseconds();
        self.0.moved.store(now, Ordering::Relaxed);
    }

    /// When it moved last, its end included; the boot where it never did.
    pub(super) fn last_moved(&self) -> Monotonic {
        Monotonic::from_boot(Duration::from_nanos(self.0.moved.load(Ordering::Relaxed)))
    }

    /// The client left in the middle of it, or framed it wrongly.
    pub(super) fn is_broken(&self) -> bool {
        self.0.broken.load(Ordering::Relaxed)
    }

    /// It came too slowly, and is not waited for any more.
    pub(super) fn is_too_slow(&self) -> bool {
        self.0.too_slow.load(Ordering::Relaxed)
    }

    /// The response has begun: from here on, the body may come when it likes.
    pub(super) fn answered(&self) {
        self.0.answered.store(true, Ordering::Relaxed);
    }

    fn is_answered(&self) -> bool {
        self.0.answered.load(Ordering::Relaxed)
    }

    fn give_up(&self) {
        self.0.too_slow.store(true, Ordering::Relaxed);
        self.break_off();
    }

    fn break_off(&self) {
        self.0.broken.store(true, Ordering::Relaxed);
        self.end();
    }

    pub(super) fn end(&self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }
}

/// `Botguard-*` fields are botguard's own word, and what a proxy says is the proxy's, in a trailer
/// as in a header. Trailers of which nothing is left are the end of the body.
fn with_clean_trailers<E>(
    frame: Option<Result<Frame<Bytes>, E>>,
) -> Option<Result<Frame<Bytes>, E>> {
    match frame?.map(Frame::into_trailers) {
        Ok(Ok(mut trailers)) => {
            headers::clean_trailers(&mut trailers);
            (!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers)))
        }
        Ok(Err(frame)) => Some(Ok(frame)),
        Err(error) => Some(Err(error)),
    }
}
