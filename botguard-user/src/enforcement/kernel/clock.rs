//! The kernel's clock, read: how many jiffies passed, and how many of them a second has. User space
//! sees neither; a small program that is run but never attached tells.

use std::time::Duration;

use aya::programs::{TestRun as _, TestRunOptions};
use botguard_common::maps::{CLOCK, ClockReading, Config};

use super::lasting::of_map;
use super::{KernelError, KernelFilter};
use crate::enforcement::kernel_clock::{KernelClock, jiffies_per_second};
use crate::words::clock::Wall;

impl KernelFilter {
    /// The kernel's clock beside the wall clock's `now`, for compiling entries at once.
    pub fn clock(&self, now: Wall) -> Result<KernelClock, KernelError> {
        let config = self.config()?;
        Ok(KernelClock {
            jiffies: self
                .read_clock(1)?
                .jiffies
                .saturating_sub(config.anchor_jiffies),
            jiffies_per_second: config.jiffies_per_second,
            wall: now,
        })
    }

    /// Finds the rate of jiffies, once in the life of the maps, and sets the anchor.
    pub(super) fn calibrate(&mut self) -> Result<(), KernelError> {
        let config = self.config()?;
        if config.anchor_jiffies != 0 {
            return Ok(());
        }
        let first = self.read_clock(1)?;
        let jiffies_per_second = loop {
            // The kernel repeats the program, so this waits for the very clock it measures.
            let reading = self.read_clock(CLOCK_REPEAT)?;
            let elapsed_ns = reading.boot_ns.saturating_sub(first.boot_ns);
            if u128::from(elapsed_ns) >= CALIBRATION.as_nanos() {
                let passed = reading.jiffies.saturating_sub(first.jiffies);
                break jiffies_per_second(passed, elapsed_ns).ok_or_else(|| {
                    KernelError::Clock(format!("{passed} jiffies in {elapsed_ns} ns"))
                })?;
            }
        };
        self.set_config(Config {
            anchor_jiffies: first.jiffies.saturating_sub(ANCHOR_AHEAD).max(1),
            jiffies_per_second,
            ..config
        })
    }

    fn read_clock(&self, repeat: u32) -> Result<ClockReading, KernelError> {
        let packet = [0; 64];
        let mut options = TestRunOptions::new();
        options.data_in = Some(&packet);
        options.repeat = repeat;
        self.clock
            .test_run(options)
            .map_err(|error| KernelError::Clock(error.to_string()))?;
        of_map(CLOCK, self.lasting.clock.get(&0, 0))
    }
}

/// Long enough to tell 250 from 300 jiffies a second: 62 or 63 against 75.
const CALIBRATION: Duration = Duration::from_millis(250);
/// A few milliseconds of clock readings in one system call.
const CLOCK_REPEAT: u32 = 50_000;
/// Jiffies that the anchor lies in the past, so that an end may too.
const ANCHOR_AHEAD: u64 = 1 << 16;
