//! A stream whose first bytes are also read by somebody else, without being delayed by it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Hears what is read from a stream, until it has heard enough.
pub(in crate::edge) trait Ear {
    /// Takes the next bytes; false once it wants no more.
    fn hear(&mut self, bytes: &[u8]) -> bool;
}

/// A stream with an ear on it, which is taken off when it has heard enough.
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
            if !heard.is_empty() && !ear.hear(heard) {
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
