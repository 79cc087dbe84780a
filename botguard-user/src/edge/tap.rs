//! A stream whose bytes are also heard by somebody else, without being delayed by it: fingerprints,
//! counts of frames and bytes. Who has to hold bytes back is `framing`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Hears what is read from a stream.
pub(in crate::edge) trait Ear {
    /// Takes the next bytes.
    ///
    /// Errors: the stream is not to go on; whoever reads it gets the error instead.
    fn hear(&mut self, bytes: &[u8]) -> io::Result<Wants>;
}

/// Whether an ear stays on.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(in crate::edge) enum Wants {
    More,
    /// It has heard enough, and is taken off.
    NoMore,
}

/// A stream with an ear on it.
pub(in crate::edge) struct Tapped<T, E> {
    stream: T,
    ear: Option<Box<E>>,
}

impl<T, E: Ear> Tapped<T, E> {
    pub(in crate::edge) fn new(stream: T, ear: E) -> Self {
        Self {
            stream,
            ear: Some(Box::new(ear)),
        }
    }
}

impl<T: AsyncRead + Unpin, E: Ear> AsyncRead for Tapped<T, E> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Some(ear) = &mut self.ear {
            let heard = buffer.filled().get(before..).unwrap_or_default();
            if !heard.is_empty() && ear.hear(heard)? == Wants::NoMore {
                self.ear = None;
            }
        }
        read
    }
}

impl<T: AsyncWrite + Unpin, E: Ear> AsyncWrite for Tapped<T, E> {
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
