//! Notices `Content-Length` beside `Transfer-Encoding` in HTTP/1 heads, so that such a request is
//! refused.
//!
//! hyper settles the conflict as RFC 9112 section 6.3 allows (chunked wins, the other field is
//! dropped, the connection ends), but does not tell. The upstream gets one unambiguous message in
//! either case, so nothing depends on this for safety: it is for refusing loudly. Only heads that
//! begin while no request is running are looked at; one that was pipelined is left to hyper.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connections::Live;

/// A stream whose heads are watched.
pub(super) struct Watched<T> {
    stream: T,
    live: Arc<Live>,
    head: Head,
    /// Requests begun when the last head ended.
    begun: Option<u64>,
}

impl<T> Watched<T> {
    pub(super) fn new(stream: T, live: Arc<Live>) -> Self {
        Self {
            stream,
            live,
            head: Head::default(),
            begun: None,
        }
    }

    fn look(&mut self, bytes: &[u8]) {
        let Some(begun) = self.live.begun_if_idle() else {
            return;
        };
        if self.begun == Some(begun) {
            // The last head's request has not begun yet: this is its body.
            return;
        }
        if let Some(framing) = self.head.read(bytes) {
            self.begun = Some(begun);
            self.head = Head::default();
            if framing == Framing::Conflict {
                self.live.framing_conflicts();
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
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.look(&buffer.filled()[before..]);
        read
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

/// How a head frames its body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Framing {
    OneWay,
    Conflict,
}

/// A head being read, in constant memory: of each line, as much as tells the two names.
#[derive(Default)]
struct Head {
    line: [u8; TRANSFER_ENCODING.len()],
    /// Of the whole line; `line` holds its first bytes.
    line_bytes: usize,
    lines: Lines,
    content_length: bool,
    transfer_encoding: bool,
}

#[derive(Default)]
enum Lines {
    /// Empty lines before the request line do not count (RFC 9112 section 2.2).
    #[default]
    None,
    Some,
}

impl Head {
    /// Reads on; the answer comes with the empty line at the end.
    fn read(&mut self, bytes: &[u8]) -> Option<Framing> {
        for byte in bytes {
            match byte {
                b'\r' => {}
                b'\n' => {
                    match (self.line_bytes, &self.lines) {
                        (0, Lines::None) => {}
                        (0, Lines::Some) => return Some(self.framing()),
                        (_, _) => self.lines = Lines::Some,
                    }
                    self.end_line();
                }
                byte => {
                    if let Some(place) = self.line.get_mut(self.line_bytes) {
                        *place = byte.to_ascii_lowercase();
                    }
                    self.line_bytes = self.line_bytes.saturating_add(1);
                }
            }
        }
        None
    }

    fn end_line(&mut self) {
        self.content_length |= self.line.starts_with(CONTENT_LENGTH);
        self.transfer_encoding |= self.line.starts_with(TRANSFER_ENCODING);
        self.line = Default::default();
        self.line_bytes = 0;
    }

    const fn framing(&self) -> Framing {
        if self.content_length && self.transfer_encoding {
            Framing::Conflict
        } else {
            Framing::OneWay
        }
    }
}

const CONTENT_LENGTH: &[u8] = b"content-length:";
const TRANSFER_ENCODING: &[u8; 18] = b"transfer-encoding:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts_are_found_however_the_head_is_cut() {
        let check = |head: &str, expected: Option<Framing>| {
            for cut in 0..=head.len() {
                let (first, second) = head.as_bytes().split_at(cut);
                let mut reader = Head::default();
                let found = reader.read(first).or_else(|| reader.read(second));
                assert_eq!(found, expected, "{head:?} cut at {cut}");
            }
        };
        let conflict = Some(Framing::Conflict);
        let one_way = Some(Framing::OneWay);
        check(
            "POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
            conflict,
        );
        check(
            "POST / HTTP/1.1\r\nTRANSFER-ENCODING:x\r\ncontent-length:4\r\n\r\n",
            conflict,
        );
        check(
            "\r\nPOST / HTTP/1.1\nContent-Length:4\nTransfer-Encoding:chunked\n\n",
            conflict,
        );
        check(
            "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nTransfer-Encoding: chunked\r\n\r\n",
            one_way,
        );
        check(
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            one_way,
        );
        check(
            "GET / HTTP/1.1\r\nX: Content-Length: 4\r\nTransfer-Encoding: x\r\n\r\n",
            one_way,
        );
        check(
            "GET / HTTP/1.1\r\nX-Content-Length: 4\r\nTransfer-Encoding: x\r\n\r\n",
            one_way,
        );
        check(
            "GET / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: x\r\n",
            None,
        );
    }
}
