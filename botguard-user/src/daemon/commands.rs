//! The commands that are being carried out, so that no daemon hands over in the middle of one: a large
//! import holds lists, kernel and store for seconds.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::{sleep, timeout};

/// Counts them.
#[derive(Clone, Debug)]
pub(super) struct Commands {
    places: Arc<Semaphore>,
    limit: Duration,
}

/// While it is kept, no command begins.
#[derive(Debug)]
pub(super) struct Paused(
    #[expect(dead_code, reason = "given back by its drop")] OwnedSemaphorePermit,
);

impl Default for Commands {
    fn default() -> Self {
        Self::waiting(LIMIT)
    }
}

impl Commands {
    /// Waits for commands for at most `limit`.
    pub(super) fn waiting(limit: Duration) -> Self {
        Self {
            places: Arc::new(Semaphore::new(PLACES as usize)),
            limit,
        }
    }

    /// A command runs while the answer is kept; `None` while they are paused.
    pub(super) fn begin(&self) -> Option<SemaphorePermit<'_>> {
        self.places.try_acquire().ok()
    }

    /// Waits until none runs, for no longer than the limit. Others begin meanwhile: a kill switch must not
    /// wait for an import and a handover.
    pub(super) async fn pause(&self) -> Option<Paused> {
        let all_ended = async {
            loop {
                if let Ok(all) = Arc::clone(&self.places).try_acquire_many_owned(PLACES) {
                    return Paused(all);
                }
                sleep(LOOK).await;
            }
        };
        timeout(self.limit, all_ended).await.ok()
    }
}

/// More than ever run at once.
const PLACES: u32 = 4_096;

/// The next daemon waits for ten seconds.
const LIMIT: Duration = Duration::from_secs(8);

const LOOK: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pause_waits_for_commands_and_holds_them_off() {
        let commands = Commands::default();
        let running = commands.begin().unwrap();
        let ending = async {
            drop(commands.begin().expect("others run meanwhile"));
            drop(running);
        };
        let (paused, ()) = tokio::join!(commands.pause(), ending);
        assert!(commands.begin().is_none());
        drop(paused.unwrap());
        assert!(commands.begin().is_some());
    }

    #[tokio::test]
    async fn a_command_that_does_not_end_is_not_waited_for_forever() {
        let commands = Commands::waiting(LOOK);
        let _endless = commands.begin().unwrap();
        assert!(commands.pause().await.is_none());
        assert!(commands.begin().is_some());
    }
}
