//! Waiting for something that happens in another process.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Asks `ready` until it answers, at most `limit`.
///
/// The answer ends the wait, never the time: a slow machine only asks more often.
///
/// Errors: `limit` passed; the message names `what`.
pub fn until<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> Result<T> {
    let start = now();
    loop {
        if let Some(answer) = ready() {
            return Ok(answer);
        }
        if start.elapsed() > limit {
            bail!("{what}: not within {limit:?}");
        }
        pause();
    }
}

/// Between two questions; other processes need the core more than this one.
fn pause() {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that waits for other processes"
    )]
    std::thread::sleep(Duration::from_millis(10));
}

/// The present, for measuring how long something outside took.
#[must_use]
pub fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "measures real processes, not the engine"
    )]
    Instant::now()
}
