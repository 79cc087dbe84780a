//! Look-ups of endpoints that are names, for as long as their upstream is in force.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::core::Core;
use super::endpoint::Place;

/// Looks all names up, again and again; ends with its task.
pub(super) async fn resolve(core: Arc<Core>) {
    let mut pauses = Pauses::new(core.resolve);
    loop {
        look_up(&core).await;
        core.set_resolved();
        sleep(pauses.after(core.names())).await;
    }
}

async fn look_up(core: &Core) {
    let mut lookups = JoinSet::new();
    for (index, endpoint) in core.endpoints.iter().enumerate() {
        if let Place::Name { host, port } = endpoint.place() {
            let (host, port) = (host.clone(), *port);
            lookups.spawn(async move { (index, addresses(&host, port).await) });
        }
    }
    while let Some(found) = lookups.join_next().await {
        // A look-up that panicked is one that found nothing.
        let Ok((index, found)) = found else { continue };
        match found {
            Ok(found) if !found.is_empty() => core.found(index, found),
            // What was known stays.
            outcome => {
                let error = outcome.err().map(|error| error.to_string());
                let endpoint = core.endpoints.get(index).map(ToString::to_string);
                tracing::warn!(
                    upstream = core.common.upstream,
                    endpoint,
                    error,
                    "the endpoint's name cannot be looked up"
                );
            }
        }
    }
}

async fn addresses(host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    let found = tokio::net::lookup_host((host, port)).await?;
    let mut addresses: Vec<_> = found.take(MAX_ADDRESSES).collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

/// What is known of an upstream's names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Names {
    /// Each has addresses, though they may be old.
    Known,
    /// One was never found.
    Missing,
}

/// How long to wait for the next look-up: shorter at first, and longer each time, while a name is
/// missing. Whoever starts together with its name server is then not without endpoints for long.
#[derive(Debug)]
struct Pauses {
    settled: Duration,
    next: Duration,
}

impl Pauses {
    fn new(settled: Duration) -> Self {
        Self {
            settled,
            next: FIRST_PAUSE,
        }
    }

    fn after(&mut self, names: Names) -> Duration {
        match names {
            Names::Known => self.settled,
            Names::Missing => {
                let pause = self.next.min(self.settled);
                self.next = self.next.saturating_mul(2);
                pause
            }
        }
    }
}

const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Of one name; more would not fit into a DNS answer over UDP either.
const MAX_ADDRESSES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_soon_looked_up_again() {
        let check = |settled, names: &[Names], expected: &[u64]| {
            let mut pauses = Pauses::new(Duration::from_secs(settled));
            let found: Vec<_> = (names.iter())
                .map(|names| pauses.after(*names).as_secs())
                .collect();
            assert_eq!(found, expected, "{names:?}");
        };
        check(30, &[Names::Known; 3], &[30; 3]);
        check(30, &[Names::Missing; 7], &[1, 2, 4, 8, 16, 30, 30]);
        check(1, &[Names::Missing; 3], &[1; 3]);
        check(
            30,
            &[Names::Missing, Names::Missing, Names::Known],
            &[1, 2, 30],
        );
    }
}
