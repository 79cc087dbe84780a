//! The orderly end of a connection that is cut while its peer would go on: TLS and TCP say that nothing
//! more comes, and what the peer still sends is taken in for a moment, since a socket closed over bytes
//! that nobody has read resets the connection, and what was sent before may be lost with it.
//!
//! HTTP owns a client's stream by value and gives it back in no version; so it is lent, and returns
//! when it is dropped.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

/// What is left of a client's connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Left {
    /// Nothing: it has ended by itself, or is closed abortively.
    Nothing,
    /// A stream whose client knows of no end.
    Open,
}

/// Ends both directions of `stream`. Returns when the peer has done so too, after [`LIMIT`] at the
/// latest.
pub(super) async fn close(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    close_within(LIMIT, stream).await;
}

async fn close_within(limit: Duration, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let parting = async {
        stream.shutdown().await?;
        let mut unread = vec![0; UNREAD_BYTES];
        while stream.read(&mut unread).await? > 0 {}
        Ok(())
    };
    // Who has gone already need not be told.
    let _told: Result<io::Result<()>, Elapsed> = timeout(limit, parting).await;
}

/// How long a peer may take to hear the end.
pub(super) const LIMIT: Duration = Duration::from_secs(1);

const UNREAD_BYTES: usize = 8 * 1_024;

/// Lends `stream` to whoever is to own it.
pub(super) fn lend<S>(stream: Box<S>) -> (Lent<S>, Loan<S>) {
    let place = Arc::new(Mutex::new(None));
    let lent = Lent {
        stream: Some(stream),
        place: Arc::clone(&place),
    };
    (lent, Loan(place))
}

/// Where a stream returns to.
pub(super) struct Loan<S>(Arc<Mutex<Option<Box<S>>>>);

impl<S> Loan<S> {
    /// The stream, once it has returned.
    pub(super) fn back(&self) -> Option<Box<S>> {
        self.0.lock().take()
    }
}

/// A stream that returns when it is dropped.
pub(super) struct Lent<S> {
    /// `None` only while it is dropped.
    stream: Option<Box<S>>,
    place: Arc<Mutex<Option<Box<S>>>>,
}

impl<S> Drop for Lent<S> {
    fn drop(&mut self) {
        *self.place.lock() = self.stream.take();
    }
}

impl<S: Unpin> Lent<S> {
    fn stream(&mut self) -> io::Result<Pin<&mut S>> {
        let stream = self.stream.as_deref_mut();
        stream
            .map(Pin::new)
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lent<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lent<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        (self.stream.as_ref()).is_some_and(|stream| stream.is_write_vectored())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    #[tokio::test]
    async fn what_still_comes_is_taken() {
        let (mut near, mut far) = duplex(64);
        let sending = tokio::spawn(async move {
            assert_eq!(far.read(&mut [0]).await.unwrap(), 0, "it is told first");
            far.write_all(&[7; 1_000]).await
        });
        close(&mut near).await;
        drop(near);
        sending.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn who_does_not_end_is_not_waited_for() {
        let limit = Duration::from_millis(10);
        let (mut near, _silent) = duplex(64);
        close_within(limit, &mut near).await;
        let (mut near, mut far) = duplex(64);
        let sending = tokio::spawn(async move { while far.write_all(&[7; 64]).await.is_ok() {} });
        close_within(limit, &mut near).await;
        drop(near);
        sending.await.unwrap();
    }

    #[tokio::test]
    async fn what_is_lent_returns_once() {
        let (near, mut far) = duplex(64);
        let (mut lent, loan) = lend(Box::new(near));
        lent.write_all(b"lent").await.unwrap();
        assert!(loan.back().is_none());
        drop(lent);
        let mut near = loan.back().unwrap();
        assert!(loan.back().is_none());
        near.write_all(b", back").await.unwrap();
        drop(near);
        let mut all = String::new();
        far.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "lent, back");
    }
}
