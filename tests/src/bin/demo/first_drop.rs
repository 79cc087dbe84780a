//! When the kernel dropped its first packet: watches the pinned drop counters, which other programs
//! may read, ten thousand times a second.

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use aya::maps::{Map, MapData, PerCpuArray};
use botguard_common::exit::Exit;
use botguard_common::maps::{EXITS, LAYOUT};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// A watch on the counters; ends with its value.
pub(crate) struct FirstDrop {
    seen: Receiver<Result<SystemTime>>,
    end: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl FirstDrop {
    /// Starts to watch the filter that is pinned in `pin_dir`.
    pub(crate) fn watch(pin_dir: &Path) -> Result<Self> {
        let pin = pin_dir
            .join(format!("v{LAYOUT}"))
            .join(format!("map_{EXITS}"));
        let map = MapData::from_pin(&pin).with_context(|| pin.display().to_string())?;
        let exits = PerCpuArray::try_from(Map::from_map_data(map)?)?;
        let (sender, seen) = channel();
        let (end, mut ended) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let answer = tokio::select! {
                    drop = first_drop(&exits) => drop,
                    _ = ended.wait_for(|&over| over) => return,
                };
                // Nobody waits any more once the demo has failed elsewhere.
                let _unheard: Result<(), _> = sender.send(answer);
            });
        });
        Ok(Self {
            seen,
            end,
            thread: Some(thread),
        })
    }

    /// The moment of the first drop, give or take a tenth of a millisecond.
    ///
    /// Errors: there was none within `limit`.
    pub(crate) fn wait(&self, limit: Duration) -> Result<SystemTime> {
        self.seen
            .recv_timeout(limit)
            .context("no packet was dropped")?
    }
}

impl Drop for FirstDrop {
    fn drop(&mut self) {
        self.end.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic of the watcher has been printed; the demo fails by what it misses.
            let _ended: std::thread::Result<()> = thread.join();
        }
    }
}

async fn first_drop(exits: &PerCpuArray<MapData, u64>) -> Result<SystemTime> {
    let mut ticks = interval(Duration::from_micros(100));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        for exit in [Exit::DropListener, Exit::DropHidden, Exit::DropHost] {
            if exits
                .get(&exit.index(), 0)?
                .iter()
                .any(|&packets| packets > 0)
            {
                #[expect(clippy::disallowed_methods, reason = "stamps a real packet")]
                return Ok(SystemTime::now());
            }
        }
        ticks.tick().await;
    }
}
