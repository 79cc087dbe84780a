//! Bodies as the tests send them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::channel::{Channel, Sender};

/// A body that hyper's client can send.
pub(super) trait Sendable:
    Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static
{
}
impl<B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static> Sendable for B {}

/// A body that is fed as the test goes on, and ends when its sender is dropped.
pub(super) fn fed() -> (Sender<Bytes>, Channel<Bytes>) {
    Channel::new(MAX_WAITING)
}

/// Frames that a test feeds before anybody reads them, at most.
const MAX_WAITING: usize = 16;

/// As long as anybody reads it.
pub(super) struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 65_536])))))
    }
}

pub(super) fn data(text: &'static str) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(text.as_bytes()))
}
