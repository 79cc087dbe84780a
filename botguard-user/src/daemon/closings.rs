//! Whom the daemon that runs has banned or blocked, for those before it that still serve connections:
//! they close them as well, which would only hang otherwise.
//!
//! ```text
//! this:  "closings 1"     to the handover socket of whoever runs
//! other: a network, a line
//! ```

use std::io;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::handover;
use crate::edge::connections::Announced;

pub(super) const REQUEST: &str = "closings 1\n";

/// Between two attempts to find a daemon that runs.
const PAUSE: Duration = Duration::from_millis(200);

/// Says what is announced until `end`, or until the other one has gone.
pub(super) async fn tell(
    mut stream: UnixStream,
    announced: Announced,
    end: &CancellationToken,
) -> io::Result<()> {
    let Announced { recent, mut coming } = announced;
    let (mut read, mut write) = stream.split();
    for network in recent {
        write.write_all(format!("{network}\n").as_bytes()).await?;
    }
    let mut nothing = Vec::new();
    let mut gone = std::pin::pin!(tokio::io::AsyncReadExt::read_to_end(
        &mut read,
        &mut nothing
    ));
    loop {
        let announced = tokio::select! {
            () = end.cancelled() => return Ok(()),
            // It never says anything more.
            _ = &mut gone => return Ok(()),
            announced = coming.recv() => announced,
        };
        match announced {
            Ok(network) => write.write_all(format!("{network}\n").as_bytes()).await?,
            Err(RecvError::Lagged(n_missed)) => {
                tracing::warn!(n_missed, "an earlier daemon was not told of all bans");
            }
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}

/// Closes what it is told to, until it is dropped: by this daemon's successor, or that one's.
pub(super) async fn obey(state_dir: &Path, close: impl Fn(IpNet)) {
    loop {
        if let Err(error) = listen(state_dir, &close).await {
            tracing::trace!(%error, "no daemon says whom to close");
        }
        sleep(PAUSE).await;
    }
}

async fn listen(state_dir: &Path, close: &impl Fn(IpNet)) -> io::Result<()> {
    let mut stream = UnixStream::connect(handover::path(state_dir)).await?;
    stream.write_all(REQUEST.as_bytes()).await?;
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next_line().await? {
        close(line.parse().map_err(io::Error::other)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;
    use tokio::sync::{broadcast, mpsc};

    use super::*;

    #[tokio::test]
    async fn networks_reach_who_asked_also_from_the_next_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let path = handover::path(folder.path());
        let (closed, mut closes) = mpsc::unbounded_channel();
        let state_dir = folder.path().to_owned();
        let obeying = tokio::spawn(async move {
            obey(&state_dir, |network| closed.send(network).unwrap()).await;
        });
        for networks in [
            ["192.0.2.1/32", "2001:db8::/64"],
            ["198.51.100.0/24", "192.0.2.1/32"],
        ] {
            let networks = networks.map(|network| network.parse::<IpNet>().unwrap());
            let door = UnixListener::bind(&path).unwrap();
            let (stream, _) = door.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let mut asked = String::new();
            stream.read_line(&mut asked).await.unwrap();
            assert_eq!(asked, REQUEST);
            let (announces, announced) = broadcast::channel(4);
            let end = CancellationToken::new();
            let before: IpNet = "203.0.113.9/32".parse().unwrap();
            let telling = tokio::spawn({
                let end = end.clone();
                async move {
                    let announced = Announced {
                        recent: vec![before],
                        coming: announced,
                    };
                    tell(stream.into_inner(), announced, &end).await.unwrap();
                }
            });
            assert_eq!(closes.recv().await, Some(before));
            for network in networks {
                announces.send(network).unwrap();
                assert_eq!(closes.recv().await, Some(network));
            }
            end.cancel();
            telling.await.unwrap();
            std::fs::remove_file(&path).unwrap();
        }
        obeying.abort();
    }
}
