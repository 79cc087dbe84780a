//! Notices what no timer tells: that the wall clock was stepped, and that the kernel's ticks stood
//! still while the host slept. Pure; `daemon/enforcer/steady.rs` acts on it.
//!
//! Ends are kept as wall time, but meant as time that passes: a block for an hour is over an hour
//! later, whatever the clock on the wall was set to meanwhile. Wall time less time since boot moves
//! by steps only, since adjtime(3) and NTP slew both alike; so what it moved by is what was stepped.
//! The difference is taken from when it was last acted on, so that many small steps add up to one.

use std::time::Duration;

use crate::words::clock::{BootClock, Monotonic, Now, Step, WallOffset};

/// All clocks at one instant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reading {
    /// Wall and boot time.
    pub now: Now,
    /// Time by the kernel's ticks since any fixed instant; `None` without a kernel filter.
    pub kernel: Option<Duration>,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Looked {
    /// Move every end by this much, but for the kernel's.
    pub step: Option<Step>,
    /// Give the kernel its ends anew.
    pub kernel_lags: bool,
}

/// The clocks as they were when last acted on.
#[derive(Clone, Copy, Debug)]
pub struct ClockWatch {
    offset: WallOffset,
    kernel: Option<(Monotonic, Duration)>,
}

/// A smaller step is left until more come together. Leap seconds are of this size.
const STEP: Duration = Duration::from_secs(1);
/// What the kernel's ends may be late by; four of its ticks at 250 Hz are.
const LAG: Duration = Duration::from_secs(2);

impl ClockWatch {
    /// At a start, from the clock that the store's ends were kept by. Returns the step that
    /// they have missed, if it is known: another boot has another clock, and its ends are taken at
    /// their word.
    #[must_use]
    pub fn start(
        kept: Option<&BootClock>,
        boot_id: &str,
        reading: Reading,
    ) -> (Self, Option<Step>) {
        let offset = reading.now.offset();
        let kept = kept.filter(|kept| kept.boot_id == boot_id);
        let step = kept.and_then(|kept| stepped(kept.offset, offset));
        let offset = match (kept, step) {
            // Not far enough off to be acted on, so that nothing is lost of it.
            (Some(kept), None) => kept.offset,
            _ => offset,
        };
        let watch = Self {
            offset,
            kernel: reading.kernel.map(|kernel| (reading.now.monotonic, kernel)),
        };
        (watch, step)
    }

    /// Wall time less time since boot, by which all ends stand now.
    #[must_use]
    pub const fn offset(&self) -> WallOffset {
        self.offset
    }

    /// What happened since the last call; it is taken as acted on.
    pub fn look(&mut self, reading: Reading) -> Looked {
        let offset = reading.now.offset();
        let step = stepped(self.offset, offset);
        if step.is_some() {
            self.offset = offset;
        }
        Looked {
            step,
            kernel_lags: self.kernel_lags(reading),
        }
    }

    fn kernel_lags(&mut self, reading: Reading) -> bool {
        let boot = reading.now.monotonic;
        let Some(kernel) = reading.kernel else {
            self.kernel = None;
            return false;
        };
        let (boot_before, kernel_before) = *self.kernel.get_or_insert((boot, kernel));
        // A filter that was made anew counts from anew; that it is filled again does no harm.
        let passed = kernel.saturating_sub(kernel_before);
        let lags = boot.since(boot_before).abs_diff(passed) > LAG;
        if lags {
            self.kernel = Some((boot, kernel));
        }
        lags
    }
}

fn stepped(from: WallOffset, to: WallOffset) -> Option<Step> {
    let step = to.since(from);
    (step.size() > STEP).then_some(step)
}

#[cfg(test)]
mod tests;
