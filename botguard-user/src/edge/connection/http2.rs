//! HTTP/2 towards clients: its limits, and its life on a stream after TLS.

use std::pin::Pin;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::HttpService;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::ends::Ends;
use super::gathered::{Gathered, Sending};
use super::{Connection, Tls, drive};
use crate::edge::body::ClientBody;
use crate::edge::connections::Live;
use crate::edge::control_frames::ControlFrames;
use crate::edge::farewell::{Left, Lent};
use crate::edge::listener::Limits;
use crate::edge::prints::OpeningEar;
use crate::edge::tap::Tapped;

/// Serves what comes from `tls` until the connection has ended, or is to.
pub(super) async fn serve<S>(
    tls: Lent<Tls>,
    service: S,
    opening: OpeningEar,
    limits: &Limits,
    live: &Live,
    ends: &Ends,
) -> Left
where
    S: HttpService<Incoming, ResBody = ClientBody>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(MAX_STREAMS * STREAM_WINDOW_BYTES)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS)
        // What is beyond the limit is refused by us (`target`), and recorded; what is beyond this
        // h2 answers by itself.
        .max_header_list_size(u32::try_from(2 * limits.head.head_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .keep_alive_interval(limits.idle_timeout);
    let mut connection = Sending::new(tls, |stream| {
        let heard = Tapped::new(Tapped::new(stream, ControlFrames::new()), opening);
        builder.serve_connection(TokioIo::new(heard), service)
    });
    tokio::select! {
        biased;
        left = drive(Pin::new(&mut connection), limits, live, ends) => left,
        () = live.responses().look_after(limits.send_timeout) => Left::Nothing,
    }
}

impl<S> Connection for Sending<http2::Connection<Io, S, TokioExecutor>, Lent<Tls>>
where
    S: HttpService<Incoming, ResBody = ClientBody>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send + 'static,
{
    fn graceful_shutdown(mut self: Pin<&mut Self>) {
        self.connection().graceful_shutdown();
    }
}

/// What HTTP/2 reads from and writes to.
type Io = TokioIo<Tapped<Tapped<Gathered<Lent<Tls>>, ControlFrames>, OpeningEar>>;

/// Streams of HTTP/2 that the client has reset before we looked at them: h2's own default, said
/// here since CVE-2023-44487 (rapid reset) rests on it.
const MAX_PENDING_RESETS: usize = 20;

/// Streams of HTTP/2 that the client made us reset (RUSTSEC-2024-0003): hyper's own default.
const MAX_LOCAL_RESETS: usize = 1_024;

/// Concurrent requests of one HTTP/2 connection; nginx's and h2o's default as well.
const MAX_STREAMS: u32 = 128;

/// Bytes of one request's body that are buffered over HTTP/2 while its application does not take
/// them. The connection has room for all its streams': uploads that wait would otherwise starve the
/// others, of other clients too behind a proxy. So this is also what bounds the memory of a
/// connection, to 32 MiB.
const STREAM_WINDOW_BYTES: u32 = 256 * 1_024;

/// Response bytes buffered for one HTTP/2 stream whose client does not read.
const SEND_BUFFER_BYTES: usize = 64 * 1_024;
