//! Signals to the daemon: SIGHUP reloads, SIGTERM or SIGINT begins the drain, and another of these ends
//! it. A takeover begins the drain as well, and takes no signal's place: whoever tells all processes of
//! a service to end does not cut the connections of one that has handed over.

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::notify::Message;
use super::running::Daemon;

/// The signals that the daemon knows.
pub(super) struct Signals {
    ends: Ends,
    hangup: Signal,
}

/// SIGTERM and SIGINT, which mean the same.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on they are not the default's end.
    ///
    /// Errors: the host gives none.
    pub(super) fn catch() -> std::io::Result<Self> {
        Ok(Self {
            ends: Ends {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            },
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Reloads at each SIGHUP; ends with `shutdown`, which it cancels at SIGTERM or SIGINT. From there
    /// on, `cut_short` is cancelled at the second, beside everything else.
    pub(super) async fn obey(
        self,
        daemon: Arc<Daemon>,
        shutdown: CancellationToken,
        cut_short: CancellationToken,
    ) {
        let Self {
            mut ends,
            mut hangup,
        } = self;
        let drains_already = loop {
            // All arms are cancellation-safe: a signal that is not seen here is seen next time.
            tokio::select! {
                () = shutdown.cancelled() => break true,
                () = ends.next() => break false,
                _ = hangup.recv() => reload(&daemon).await,
            }
        };
        if !drains_already {
            tracing::info!("draining; another signal ends it");
            shutdown.cancel();
        }
        // Without the daemon, whose last reference is not to be here.
        tokio::spawn(async move {
            if drains_already {
                ends.next().await;
                tracing::info!("draining already; another signal ends it");
            }
            ends.next().await;
            tracing::info!("the drain is cut short");
            cut_short.cancel();
        });
    }
}

impl Ends {
    async fn next(&mut self) {
        // Both are cancellation-safe.
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Told to the service manager, which waits for its end. Reads files, so off the threads that serve.
async fn reload(daemon: &Arc<Daemon>) {
    daemon.manager.tell(Message::Reloading);
    let reloading = Arc::clone(daemon);
    let reloaded = tokio::task::spawn_blocking(move || reloading.reload_logged()).await;
    daemon.manager.tell(Message::Ready);
    if let Err(error) = reloaded {
        tracing::error!(%error, "reload");
    }
}
