//! HTTP/2 connections, which many requests share: how many each may carry, and who has a part of
//! it. Opens no socket; `connect` does, and `pool` keeps them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

use super::connect::MAX_HEAD_BYTES;
use super::failure::ConnectError;
use super::transfer::RequestBody;
use crate::words::clock::Monotonic;

/// One stream's part of a connection that others have too.
pub(super) struct Stream {
    pub(super) sender: http2::SendRequest<RequestBody>,
    sharing: Arc<Sharing>,
}

/// What is known of one connection by all who have a part of it.
pub(super) struct Sharing {
    /// How many parts there are.
    n_streams: AtomicUsize,
    /// How many there may be.
    max_streams: AtomicUsize,
    /// Whether the application takes no further requests on it.
    is_retired: AtomicBool,
    /// When its last part ended, in nanoseconds since boot; of no account while it has any.
    idle_since: AtomicU64,
}

impl Sharing {
    fn new(max_streams: usize) -> Self {
        Self {
            n_streams: AtomicUsize::new(1),
            max_streams: AtomicUsize::new(max_streams),
            is_retired: AtomicBool::new(false),
            idle_since: AtomicU64::new(0),
        }
    }

    /// Whether it has had no request for longer than `time`; `now` is asked for only if it has none.
    pub(super) fn is_idle_for(&self, time: Duration, now: impl FnOnce() -> Monotonic) -> bool {
        self.n_streams.load(Ordering::Relaxed) == 0 && {
            let since = Duration::from_nanos(self.idle_since.load(Ordering::Relaxed));
            now().since(Monotonic::from_boot(since)) > time
        }
    }

    pub(super) fn max_streams(&self) -> usize {
        self.max_streams.load(Ordering::Relaxed)
    }

    pub(super) fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Relaxed)
    }
}

impl Stream {
    pub(super) fn sharing(&self) -> &Arc<Sharing> {
        &self.sharing
    }

    /// One more part, unless there are as many as the connection may have.
    pub(super) fn join(
        sender: &http2::SendRequest<RequestBody>,
        sharing: &Arc<Sharing>,
    ) -> Option<Self> {
        let max_streams = sharing.max_streams();
        let n_streams = &sharing.n_streams;
        let joined = n_streams.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
            (n < max_streams).then_some(n + 1)
        });
        joined.is_ok().then(|| Self {
            sender: sender.clone(),
            sharing: Arc::clone(sharing),
        })
    }

    /// The application takes no further requests on this connection. Those on it go on, and the
    /// last of them closes it.
    pub(super) fn retire(&self) {
        self.sharing.is_retired.store(true, Ordering::Relaxed);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let Sharing {
            n_streams,
            idle_since,
            ..
        } = &*self.sharing;
        if n_streams.fetch_sub(1, Ordering::Relaxed) == 1 {
            // Whoever looks in between may close it early, which fails nobody.
            idle_since.store(Monotonic::read().as_nanoseconds(), Ordering::Relaxed);
        }
    }
}

/// Speaks HTTP/2 on `io`, and has the first part of it. Waits for the application's SETTINGS, which
/// say how many requests it takes at a time; gRPC's clients do as well, and whoever accepts
/// connections and speaks something else is found out.
///
/// Without pings: servers of gRPC close connections that ping them more often than every five
/// minutes. An end that is gone without a word is noticed by the time limits of its requests.
///
/// Errors: [`ConnectError`].
pub(super) async fn open<T>(io: T) -> Result<Stream, ConnectError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let spawning = Spawning::default();
    let (sender, mut connection) = http2::Builder::new(spawning.clone())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(STREAM_WINDOW_BYTES * MAX_STREAMS)
        .initial_max_send_streams(NOT_SETTLED)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(io))
        .await?;
    while connection.current_max_send_streams() == NOT_SETTLED {
        tokio::select! {
            () = spawning.0.has_read.notified() => {}
            ended = &mut connection => {
                ended?;
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }
    spawning.0.is_settled.store(true, Ordering::Relaxed);
    let sharing = Arc::new(Sharing::new(max_streams(
        connection.current_max_send_streams(),
    )));
    let shared = Arc::clone(&sharing);
    tokio::spawn(async move {
        let driven = std::future::poll_fn(|cx| {
            let polled = Pin::new(&mut connection).poll(cx);
            // Polled with each request, so that a limit that changes is known to the one after it.
            let max_streams = max_streams(connection.current_max_send_streams());
            shared.max_streams.store(max_streams, Ordering::Relaxed);
            polled
        });
        if let Err(error) = driven.await {
            tracing::debug!(%error, "connection to the application failed");
        }
    });
    Ok(Stream { sender, sharing })
}

fn max_streams(allowed: usize) -> usize {
    allowed.min(MAX_STREAMS as usize)
}

/// Spawns what hyper has to run for a connection. The first is what reads its frames, and says so
/// each time until the application's SETTINGS were among them: hyper tells of them, but wakes
/// nobody.
#[derive(Clone, Default)]
struct Spawning(Arc<Reading>);

#[derive(Default)]
struct Reading {
    is_spawned: AtomicBool,
    is_settled: AtomicBool,
    has_read: Notify,
}

impl<F> Executor<F> for Spawning
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        if self.0.is_spawned.load(Ordering::Relaxed) {
            tokio::spawn(future);
            return;
        }
        self.0.is_spawned.store(true, Ordering::Relaxed);
        let reading = Arc::clone(&self.0);
        let mut future = Box::pin(future);
        tokio::spawn(std::future::poll_fn(move |cx| {
            let polled = future.as_mut().poll(cx);
            if !reading.is_settled.load(Ordering::Relaxed) {
                reading.has_read.notify_one();
            }
            polled
        }));
    }
}

/// What hyper says before the application's SETTINGS, and what stands there while it takes none.
const NOT_SETTLED: usize = 0;

/// Requests on one HTTP/2 connection at most: what RFC 9113 section 6.5.2 asks servers to allow at
/// least.
pub(super) const MAX_STREAMS: u32 = 100;

/// Response bytes that wait for one client. A connection has room for this of every stream, so
/// that clients who do not read do not keep those waiting who do.
const STREAM_WINDOW_BYTES: u32 = 128 * 1_024;

/// Request bytes that wait for an application that does not read, for one stream.
const SEND_BUFFER_BYTES: usize = 128 * 1_024;
