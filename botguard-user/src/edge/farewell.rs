//! The orderly end of a connection that is cut while its peer would go on: TLS and TCP say that nothing
//! more comes, and what the peer still sends is taken in for a moment, since a socket closed over bytes
//! that nobody has read resets the connection, and what was sent before may be lost with it.
//!
//! HTTP owns a client's stream by value and gives it back in no version; so it is lent: what HTTP owns
//! is the guard of a lock.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::OwnedMutexGuard;
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

/// A stream that HTTP owns while it serves, and that is free again once HTTP has dropped it.
pub(super) type Lent<S> = Pin<OwnedMutexGuard<S>>;

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
}
