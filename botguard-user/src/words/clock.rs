//! The two clocks, and the only place that reads them.
//!
//! [`Monotonic`] orders events and measures windows; [`Wall`] stamps records and says when a ban
//! ends across a reboot. Everything else takes them as arguments.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Both clocks read together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Now {
    /// For windows and order.
    pub monotonic: Monotonic,
    /// For records and the store.
    pub wall: Wall,
}

impl Now {
    /// Reads `CLOCK_BOOTTIME` and `CLOCK_REALTIME`.
    #[must_use]
    pub fn read() -> Self {
        Self {
            monotonic: Monotonic::read(),
            wall: Wall::read(),
        }
    }
}

/// Nanoseconds since boot, suspend included (`CLOCK_BOOTTIME`). Never steps.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Monotonic(u64);

impl Monotonic {
    /// Reads `CLOCK_BOOTTIME`.
    #[must_use]
    pub fn read() -> Self {
        Self(nanoseconds(ClockId::CLOCK_BOOTTIME))
    }

    /// The instant `since_boot` after boot; for tests and replay.
    #[must_use]
    pub fn from_boot(since_boot: Duration) -> Self {
        Self(saturating_nanoseconds(since_boot))
    }

    /// Nanoseconds since boot.
    #[must_use]
    pub const fn as_nanoseconds(self) -> u64 {
        self.0
    }

    /// Time since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The instant `duration` later; saturates.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(saturating_nanoseconds(duration)))
    }
}

/// Milliseconds since the Unix epoch, UTC. May step.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Wall(u64);

impl Wall {
    /// Reads `CLOCK_REALTIME`.
    #[must_use]
    pub fn read() -> Self {
        Self(nanoseconds(ClockId::CLOCK_REALTIME) / 1_000_000)
    }

    /// The instant `ms` milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_unix_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_unix_ms(self) -> u64 {
        self.0
    }

    /// Time left until `later`; zero when it has passed.
    #[must_use]
    pub const fn until(self, later: Self) -> Duration {
        Duration::from_millis(later.0.saturating_sub(self.0))
    }

    /// The instant `duration` later; saturates.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}

/// RFC 3339 with milliseconds, in UTC: `2026-11-23T12:00:00.000Z`.
impl std::fmt::Display for Wall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // RFC 3339 has four digits of year; later times are shown as its last instant.
        const YEAR_9999_END_MS: u64 = 253_402_300_799_999;
        let ms = self.0.min(YEAR_9999_END_MS);
        let time = std::time::UNIX_EPOCH + Duration::from_millis(ms);
        humantime::format_rfc3339_millis(time).fmt(f)
    }
}

fn nanoseconds(clock: ClockId) -> u64 {
    // clock_gettime(2) fails only for an unknown clock or a bad pointer; neither can be here. An
    // answer before the epoch reads as the epoch.
    clock_gettime(clock).map_or(0, |time| saturating_nanoseconds(Duration::from(time)))
}

fn saturating_nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_prints_rfc_3339() {
        let check = |ms, expected: &str| assert_eq!(Wall::from_unix_ms(ms).to_string(), expected);
        check(0, "1970-01-01T00:00:00.000Z");
        check(1_795_435_200_123, "2026-11-23T12:00:00.123Z");
        check(u64::MAX, "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn differences_saturate() {
        let early = Monotonic::from_boot(Duration::from_secs(1));
        let late = Monotonic::from_boot(Duration::from_secs(3));
        assert_eq!(late.since(early), Duration::from_secs(2));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(
            Wall::from_unix_ms(5).until(Wall::from_unix_ms(3)),
            Duration::ZERO
        );
    }
}
