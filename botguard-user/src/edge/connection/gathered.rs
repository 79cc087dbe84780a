//! The small frames that HTTP/2 writes, gathered to one TLS record. By itself it writes and flushes
//! each frame with data: a record, a system call and a packet for every small response, however many
//! are ready.
//!
//! Nothing waits for a timer or for more to come: what is gathered goes out when it fills a record,
//! before a large frame, and whenever the connection's task has done all it can for now.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream as HTTP owns it. It answers that it is flushed whenever it is asked to be, which
/// [`Sending`] makes true.
pub(super) struct Gathered<T>(Arc<Mutex<Gathering<T>>>);

/// A connection that sends what it wrote to its [`Gathered`] stream before it rests.
pub(super) struct Sending<C, T> {
    connection: Pin<Box<C>>,
    gathering: Arc<Mutex<Gathering<T>>>,
}

impl<C, T> Sending<C, T> {
    /// The connection that `connect` makes of `stream`.
    pub(super) fn new(stream: T, connect: impl FnOnce(Gathered<T>) -> C) -> Self {
        let gathering = Arc::new(Mutex::new(Gathering {
            stream,
            bytes: Vec::new(),
            n_sent: 0,
            is_full: false,
            failed: None,
        }));
        Self {
            connection: Box::pin(connect(Gathered(Arc::clone(&gathering)))),
            gathering,
        }
    }

    /// The connection itself.
    pub(super) fn connection(&mut self) -> Pin<&mut C> {
        self.connection.as_mut()
    }
}

impl<C: Future, T: AsyncWrite + Unpin> Future for Sending<C, T> {
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        if let Poll::Ready(ended) = self.connection.as_mut().poll(cx) {
            return Poll::Ready(ended);
        }
        let mut gathering = self.gathering.lock();
        if gathering.failed.is_none()
            && let Poll::Ready(Err(error)) = gathering.send(cx)
        {
            gathering.failed = Some(error.kind());
            // HTTP is told when it reads or writes next, which is now.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// Both owners are in one task: nobody ever waits for the lock.
struct Gathering<T> {
    stream: T,
    /// Small writes, of a record at most. No room is kept where nothing waits: it would be an idle
    /// connection's.
    bytes: Vec<u8>,
    /// So many of them the stream has taken.
    n_sent: usize,
    /// Whether all has to be sent before there is more.
    is_full: bool,
    /// Why no more will be.
    failed: Option<io::ErrorKind>,
}

impl<T: AsyncWrite + Unpin> Gathering<T> {
    /// Copies what is small, and writes what is large behind it: that costs a call and a record in
    /// any case. What does not fit has to wait until all before is sent, since who does not read is to
    /// hold up HTTP as ever.
    fn gather(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.go_on()?;
        let n_bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        let is_small = n_bytes < SMALL_BYTES;
        if self.is_full || is_small && self.bytes.len() + n_bytes > RECORD_BYTES {
            ready!(self.send(cx))?;
        }
        if !is_small {
            let n_written = ready!(self.write_behind(cx, slices))?;
            self.is_full = true;
            return Poll::Ready(Ok(n_written));
        }
        if self.bytes.is_empty() {
            self.bytes.reserve_exact(SMALL_BYTES);
        }
        for slice in slices {
            self.bytes.extend_from_slice(slice);
        }
        Poll::Ready(Ok(n_bytes))
    }

    /// Writes what is gathered and `slices` as one, as far as the stream takes them. How many bytes of
    /// `slices` it took.
    fn write_behind(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        while let Some(rest @ [_, ..]) = self.bytes.get(self.n_sent..) {
            let mut all = [io::IoSlice::new(rest); MOST_SLICES];
            let n_slices = slices.len().min(MOST_SLICES - 1);
            for (place, slice) in all.iter_mut().skip(1).zip(slices) {
                *place = *slice;
            }
            let all = all.get(..=n_slices).unwrap_or_default();
            let n = not_zero(ready!(
                Pin::new(&mut self.stream).poll_write_vectored(cx, all)
            )?)?;
            if n > rest.len() {
                let n_behind = n - rest.len();
                self.n_sent = self.bytes.len();
                return Poll::Ready(Ok(n_behind));
            }
            self.n_sent += n;
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    /// Sends all of it.
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest @ [_, ..]) = self.bytes.get(self.n_sent..) {
            self.n_sent += not_zero(ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?)?;
        }
        // TLS takes far more than it can send: a record counts until it is out.
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.bytes = Vec::new();
        self.n_sent = 0;
        self.is_full = false;
        Poll::Ready(Ok(()))
    }

    fn go_on(&self) -> io::Result<()> {
        self.failed.map_or(Ok(()), |kind| Err(kind.into()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gathered<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut gathering = self.0.lock();
        gathering.go_on()?;
        Pin::new(&mut gathering.stream).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gathered<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().gather(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().gather(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.lock().go_on())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathering = self.0.lock();
        gathering.go_on()?;
        ready!(gathering.send(cx))?;
        Pin::new(&mut gathering.stream).poll_shutdown(cx)
    }
}

/// Errors: the stream takes nothing for good.
fn not_zero(n: usize) -> io::Result<usize> {
    match n {
        0 => Err(io::ErrorKind::WriteZero.into()),
        n => Ok(n),
    }
}

/// The most that a record of TLS carries (RFC 8446 section 5.1).
const RECORD_BYTES: usize = 1 << 14;

/// A write from here on is not copied.
const SMALL_BYTES: usize = 4 << 10;

/// h2 has two, a frame's head and its data; what is beyond is written next time.
const MOST_SLICES: usize = 4;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::task::Waker;

    use bytes::Buf;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A socket that takes as much of each write as it was told to, and nothing at a zero. Like
    /// TLS it may take what it then does not send.
    #[derive(Default)]
    struct Socket {
        takes: VecDeque<io::Result<usize>>,
        writes: Vec<Vec<u8>>,
        is_stuck: bool,
        is_shut: bool,
    }

    impl AsyncRead for Socket {
        fn poll_read(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            _buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Socket {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let n = match self.takes.pop_front().transpose()? {
                Some(0) => return Poll::Pending,
                Some(n) => n.min(bytes.len()),
                None => bytes.len(),
            };
            self.writes.push(bytes[..n].to_vec());
            Poll::Ready(Ok(n))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[io::IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let bytes: Vec<&[u8]> = slices.iter().map(|slice| &**slice).collect();
            self.poll_write(cx, &bytes.concat())
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            match self.is_stuck {
                true => Poll::Pending,
                false => Poll::Ready(Ok(())),
            }
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.is_shut = true;
            Poll::Ready(Ok(()))
        }
    }

    impl Gathering<Socket> {
        /// Of HTTP, in all.
        fn n_taken(&self) -> usize {
            self.bytes.len() - self.n_sent + self.stream.writes.concat().len()
        }
    }

    fn poll_once(future: &mut (impl Future + Unpin)) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(future).poll(&mut cx).is_ready()
    }

    /// As HTTP/2 does it, and then it waits.
    async fn write(mut stream: Gathered<Socket>, frames: Vec<Vec<u8>>) -> io::Result<()> {
        for frame in frames {
            let (head, data) = frame.split_at(frame.len().min(9));
            stream.write_all_buf(&mut Buf::chain(head, data)).await?;
            stream.flush().await?;
        }
        // What hears of an error that came later.
        stream.read_u8().await?;
        Ok(())
    }

    #[test]
    fn small_frames_go_out_together_and_large_ones_behind_them() {
        let check = |frames: &[usize], expected: &[usize]| {
            let frames = frames.iter().map(|n| vec![7; *n]).collect();
            let mut sending = Sending::new(Socket::default(), |it| write(it, frames));
            assert!(!poll_once(&mut sending));
            let gathering = sending.gathering.lock();
            let sizes: Vec<_> = gathering.stream.writes.iter().map(Vec::len).collect();
            assert_eq!(sizes, expected);
            assert_eq!(gathering.bytes.capacity(), 0, "idle costs nothing");
        };
        check(&[], &[]);
        check(&[9, 1_055, 1_055], &[2_119]);
        check(&[4_000; 5], &[16_000, 4_000]);
        check(&[SMALL_BYTES], &[SMALL_BYTES]);
        check(&[300, 300, 16_393, 16_393, 20], &[16_993, 16_393, 20]);
    }

    #[test]
    fn who_sends_nothing_is_given_no_more_than_a_record() {
        let check = |takes: usize, frame: usize, expected: usize| {
            let socket = Socket {
                takes: (0..10).map(|_| Ok(takes)).collect(),
                is_stuck: true,
                ..Socket::default()
            };
            let frames = vec![vec![7; frame]; 40];
            let mut sending = Sending::new(socket, |it| Box::pin(write(it, frames)));
            for _ in 0..4 {
                assert!(!poll_once(&mut sending));
                assert_eq!(sending.gathering.lock().n_taken(), expected);
            }
            sending.gathering.lock().stream.takes.clear();
            sending.gathering.lock().stream.is_stuck = false;
            assert!(!poll_once(&mut sending));
            let written = sending.gathering.lock().stream.writes.concat();
            assert_eq!(written.len(), 40 * frame);
        };
        check(0, 1_000, 16_000);
        check(RECORD_BYTES, 1_000, 16_000);
        check(0, 5_000, 0);
        check(RECORD_BYTES, 5_000, 5_000);
    }

    #[test]
    fn what_could_not_be_sent_is_an_error_of_the_connection() {
        let check = |failing: &[io::Result<usize>]| {
            let takes = failing.iter().map(|it| match it {
                Ok(n) => Ok(*n),
                Err(error) => Err(error.kind().into()),
            });
            let socket = Socket {
                takes: takes.collect(),
                ..Socket::default()
            };
            let mut sending = Sending::new(socket, |it| Box::pin(write(it, vec![vec![7; 100]])));
            let n_polls = (1..9).find(|_| poll_once(&mut sending));
            assert_eq!(n_polls, Some(failing.len() + 1));
        };
        check(&[Err(io::ErrorKind::BrokenPipe.into())]);
        check(&[Ok(0), Err(io::ErrorKind::TimedOut.into())]);
    }

    #[test]
    fn the_end_comes_after_all_that_was_written() {
        let mut sending = Sending::new(Socket::default(), |mut stream| {
            Box::pin(async move {
                stream.write_all(b"the last words").await.unwrap();
                stream.shutdown().await.unwrap();
            })
        });
        assert!(poll_once(&mut sending));
        let gathering = sending.gathering.lock();
        assert_eq!(gathering.stream.writes, [b"the last words"]);
        assert!(gathering.stream.is_shut);
    }

    proptest! {
        #[test]
        fn all_of_it_arrives_in_order(
            frames in prop::collection::vec(
                prop_oneof![0..300_usize, 0..3 * RECORD_BYTES]
                    .prop_map(|n| (0..=250_u8).cycle().take(n).collect::<Vec<_>>()),
                0..12,
            ),
            takes in prop::collection::vec(prop_oneof![Just(0), 1..20_000_usize], 0..40),
        ) {
            let expected = frames.concat();
            let socket = Socket {
                takes: takes.iter().map(|n| Ok(*n)).collect(),
                ..Socket::default()
            };
            let mut sending = Sending::new(socket, |it| Box::pin(write(it, frames)));
            for _ in 0..=takes.len() {
                prop_assert!(!poll_once(&mut sending));
                prop_assert!(sending.gathering.lock().bytes.len() <= RECORD_BYTES);
            }
            let gathering = sending.gathering.lock();
            prop_assert_eq!(gathering.stream.writes.concat(), expected);
            prop_assert!(gathering.bytes.is_empty());
        }
    }
}
