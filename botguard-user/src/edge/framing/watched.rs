//! A client's stream on its way to hyper, HTTP/1 only: heads are held back until they are whole and
//! found good, bodies pass as they come.
//!
//! A head that is refused never reaches hyper. A stand-in does, and `Live` says which request that
//! is: so earlier responses of a pipeline are written in peace, the refusal is answered in its
//! turn, and nothing of the stream is read after it. A body that is refused breaks off like one
//! whose client left. After a switch of protocols (101) everything passes.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::stand_in::{has_target, stand_in};
use super::{HeadLimits, Next, Progress, Tracker, Violation};
use crate::edge::connections::Live;

/// A stream whose requests are watched.
pub(in crate::edge) struct Watched<T> {
    stream: T,
    live: Arc<Live>,
    tracker: Tracker,
    mode: Mode,
    /// Heads that were handed on.
    heads: u64,
    /// The begin of a head; or, until a switch of protocols is decided, what came after one. At
    /// most `most_held`, but for one read.
    held: Vec<u8>,
    most_held: usize,
    /// Handed on before anything else.
    ready: BytesMut,
    header_timeout: Duration,
    /// Runs while the begin of a head is held.
    slow: Option<Pin<Box<Sleep>>>,
}

#[derive(Clone, Copy)]
enum Mode {
    Watching,
    /// A head asked for another protocol: what comes next depends on the answer.
    Undecided,
    Switched,
    HeadRefused,
    BodyRefused,
}

impl<T> Watched<T> {
    /// Refuses what `limits` do not allow, and heads that take longer than `header_timeout` from
    /// their first byte.
    pub(in crate::edge) fn new(
        stream: T,
        live: Arc<Live>,
        limits: HeadLimits,
        header_timeout: Duration,
    ) -> Self {
        Self {
            stream,
            live,
            tracker: Tracker::new(limits),
            mode: Mode::Watching,
            heads: 0,
            held: Vec::new(),
            most_held: limits.head_bytes,
            ready: BytesMut::new(),
            header_timeout,
            slow: None,
        }
    }

    /// Looks at what was read. The first bytes of it, as many as are returned, may be handed on,
    /// after all that was held.
    fn look(&mut self, bytes: &[u8]) -> usize {
        let (mut good, mut at) = (0, 0);
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let was_in_head = self.tracker.is_in_head();
            match self.tracker.advance(rest) {
                Progress::All => {
                    if !self.tracker.is_in_head() {
                        good = bytes.len();
                    }
                    break;
                }
                Progress::HeadEnds { at: end, next } => {
                    let head = bytes.get(good..at + end).unwrap_or_default();
                    if !self.has_target(good, head) {
                        self.refuse_head((bytes, good), at + end, Violation::Target);
                        return 0;
                    }
                    at += end;
                    good = at;
                    self.heads += 1;
                    if next == Next::Upgrade {
                        self.mode = Mode::Undecided;
                        break;
                    }
                }
                Progress::BodyEnds { at: end } => {
                    at += end;
                    good = at;
                }
                Progress::Refused {
                    at: end, violation, ..
                } => {
                    if was_in_head {
                        self.refuse_head((bytes, good), at + end, violation);
                        return 0;
                    }
                    metrics::counter!(
                        "botguard_requests_refused_total",
                        "status" => violation.status().as_str().to_owned(),
                        "reason" => violation.label()
                    )
                    .increment(1);
                    tracing::debug!(%violation, "a request's body is refused");
                    self.mode = Mode::BodyRefused;
                    return at + end;
                }
            }
        }
        good
    }

    /// Whether the head that ends with `last` has a target that hyper takes. What is held begins it,
    /// if nothing is `good` before it.
    fn has_target(&self, good: usize, last: &[u8]) -> bool {
        if self.held.is_empty() || good > 0 {
            has_target(last)
        } else {
            has_target(&[&self.held, last].concat())
        }
    }

    /// Refuses the head in `bytes` that begins after those that are `good`, and is known up to `end`.
    fn refuse_head(&mut self, (bytes, good): (&[u8], usize), end: usize, violation: Violation) {
        self.hand_on(bytes.get(..good).unwrap_or_default());
        self.held.extend(bytes.get(good..end).into_iter().flatten());
        self.refuse(violation);
    }

    /// Puts what is held, and `bytes` after it, where they are read first.
    fn hand_on(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.ready.extend_from_slice(&self.held);
            self.ready.extend_from_slice(bytes);
            self.held.clear();
        }
    }

    /// Hands on a stand-in for the head that is held, and nothing after it.
    fn refuse(&mut self, violation: Violation) {
        self.live.refuse(self.heads, violation);
        self.heads += 1;
        self.ready.extend_from_slice(&stand_in(&self.held));
        self.held = Vec::new();
        self.slow = None;
        self.mode = Mode::HeadRefused;
    }

    /// Lets time run once a head has begun. Some clients send an empty line after a body (RFC 9112
    /// section 2.2): that is no head, and hyper would take it for the begin of one.
    fn wait_for_head(&mut self) {
        if matches!(self.mode, Mode::Watching) && self.tracker.is_between() {
            self.held.clear();
        }
        if !self.tracker.has_begun_head() {
            self.slow = None;
        } else if self.slow.is_none() {
            self.slow = Some(Box::pin(sleep(self.header_timeout)));
        }
    }

    /// Looks at what was read into the end of `buffer`, and leaves there what may be handed on.
    fn sift(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let bytes = buffer.filled().get(before..).unwrap_or_default();
        let good = self.look(bytes);
        let (handed_on, kept) = bytes.split_at_checked(good).unwrap_or((bytes, &[]));
        let whole = !handed_on.is_empty();
        let in_place = self.held.is_empty();
        if !in_place {
            self.hand_on(handed_on);
        }
        if matches!(self.mode, Mode::Watching | Mode::Undecided) {
            self.held.extend_from_slice(kept);
        }
        if whole {
            self.slow = None;
        }
        self.wait_for_head();
        buffer.set_filled(if in_place { before + good } else { before });
    }
}

impl<T: AsyncRead + Unpin> Watched<T> {
    /// Reads and keeps; the answer is false at the end of the stream.
    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut bytes = [0; 1_024];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        self.held.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(!buffer.filled().is_empty()))
    }

    /// Reads what nobody will look at, so that the answer is not lost to the RST that a socket with
    /// unread bytes is closed with. Bounded by how long the answer takes.
    fn discard(&mut self, cx: &mut Context<'_>) {
        for _ in 0..DISCARDED_READS {
            self.held.clear();
            if !matches!(self.poll_hold(cx), Poll::Ready(Ok(true))) {
                return;
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.ready.is_empty() {
                let n = this.ready.len().min(buffer.remaining());
                buffer.put_slice(this.ready.get(..n).unwrap_or_default());
                this.ready.advance(n);
                return Poll::Ready(Ok(()));
            }
            match this.mode {
                Mode::Switched => return Pin::new(&mut this.stream).poll_read(cx, buffer),
                Mode::BodyRefused => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                Mode::HeadRefused => {
                    this.discard(cx);
                    // Not the end of the stream, which hyper would take for the client's leaving.
                    return Poll::Pending;
                }
                Mode::Undecided if this.live.has_switched() => {
                    this.mode = Mode::Switched;
                    this.slow = None;
                    this.ready
                        .extend_from_slice(&std::mem::take(&mut this.held));
                }
                Mode::Undecided if this.live.begun_if_idle() == Some(this.heads) => {
                    this.mode = Mode::Watching;
                    let held = std::mem::take(&mut this.held);
                    let good = this.look(&held);
                    this.hand_on(held.get(..good).unwrap_or_default());
                    if matches!(this.mode, Mode::Watching | Mode::Undecided) {
                        this.held.extend(held.get(good..).into_iter().flatten());
                    }
                    this.wait_for_head();
                }
                Mode::Undecided => {
                    // hyper reads again when the response is there.
                    if this.held.len() >= this.most_held {
                        return Poll::Pending;
                    }
                    if !ready!(this.poll_hold(cx))? {
                        // The client has left. What it sent before that cannot be told apart, and
                        // nobody is there for an answer to it.
                        return Poll::Ready(if this.held.is_empty() {
                            Ok(())
                        } else {
                            Err(io::ErrorKind::UnexpectedEof.into())
                        });
                    }
                }
                Mode::Watching => {
                    let before = buffer.filled().len();
                    match Pin::new(&mut this.stream).poll_read(cx, buffer) {
                        Poll::Ready(Ok(())) if buffer.filled().len() > before => {
                            this.sift(buffer, before);
                            if buffer.filled().len() > before {
                                return Poll::Ready(Ok(()));
                            }
                        }
                        Poll::Ready(ended) => return Poll::Ready(ended),
                        Poll::Pending => {
                            let Some(slow) = &mut this.slow else {
                                return Poll::Pending;
                            };
                            ready!(slow.as_mut().poll(cx));
                            this.refuse(Violation::HeadTooSlow);
                        }
                    }
                }
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Of a kibibyte each, in one turn.
const DISCARDED_READS: usize = 256;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        head_bytes: 1_000,
        uri_bytes: 100,
        fields: 10,
    };
    const UPGRADE: &str = "GET / HTTP/1.1\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    const FRAMES: &str = "\x01\n\0 : \r";

    /// What of `sent` is handed on before more is needed.
    async fn handed_on(watched: &mut Watched<tokio::io::DuplexStream>) -> String {
        let mut all = Vec::new();
        loop {
            let mut bytes = [0; 7];
            tokio::select! {
                biased;
                read = watched.read(&mut bytes) => match read {
                    Ok(n) if n > 0 => all.extend_from_slice(&bytes[..n]),
                    _ => break,
                },
                () = std::future::ready(()) => break,
            }
        }
        String::from_utf8(all).unwrap()
    }

    #[tokio::test]
    async fn what_follows_an_upgrade_waits_for_the_answer() {
        let live = Arc::new(Live::default());
        let check = async |live: &Arc<Live>, expected: &str| {
            let (mut client, server) = tokio::io::duplex(4_096);
            let timeout = Duration::from_secs(600);
            let mut watched = Watched::new(server, Arc::clone(live), LIMITS, timeout);
            client.write_all(UPGRADE.as_bytes()).await.unwrap();
            client.write_all(FRAMES.as_bytes()).await.unwrap();
            assert_eq!(handed_on(&mut watched).await, UPGRADE);
            live.request_begins();
            assert_eq!(handed_on(&mut watched).await, "");
            if expected == FRAMES {
                live.switches();
            }
            live.request_ends();
            assert_eq!(handed_on(&mut watched).await, expected);
        };
        check(&live, "GET / HTTP/1.1\r\nconnection: close\r\n\r\n").await;
        assert_eq!(live.refusal_of(1), Some(Violation::RequestLine));
        assert_eq!(live.refusal_of(0), None);
        check(&Arc::new(Live::default()), FRAMES).await;
    }

    #[tokio::test]
    async fn who_leaves_before_the_answer_to_an_upgrade_has_left() {
        let check = async |after: &str, expected: Result<usize, io::ErrorKind>| {
            let live = Arc::new(Live::default());
            let (mut client, server) = tokio::io::duplex(4_096);
            let timeout = Duration::from_secs(600);
            let mut watched = Watched::new(server, Arc::clone(&live), LIMITS, timeout);
            client.write_all(UPGRADE.as_bytes()).await.unwrap();
            client.write_all(after.as_bytes()).await.unwrap();
            assert_eq!(handed_on(&mut watched).await, UPGRADE);
            live.request_begins();
            assert_eq!(handed_on(&mut watched).await, "");
            drop(client);
            let read = watched.read(&mut [0; 7]).await;
            assert_eq!(read.map_err(|error| error.kind()), expected, "{after:?}");
        };
        check("", Ok(0)).await;
        check(FRAMES, Err(io::ErrorKind::UnexpectedEof)).await;
    }

    #[tokio::test]
    async fn a_head_is_held_back_until_it_is_whole() {
        let live = Arc::new(Live::default());
        let (mut client, server) = tokio::io::duplex(4_096);
        let timeout = Duration::from_secs(600);
        let mut watched = Watched::new(server, live, LIMITS, timeout);
        let mut check = async |sent: &str, expected: &str| {
            client.write_all(sent.as_bytes()).await.unwrap();
            assert_eq!(handed_on(&mut watched).await, expected, "{sent:?}");
        };
        check("POST / HT", "").await;
        check("TP/1.1\r\nContent-Length: 5\r\n\r", "").await;
        let head = "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n";
        check("\nab", &format!("{head}ab")).await;
        check("c", "c").await;
        check("deGET", "de").await;
        check(" / HTTP/1.1\r\n\r\nX", "GET / HTTP/1.1\r\n\r\n").await;
    }
}
