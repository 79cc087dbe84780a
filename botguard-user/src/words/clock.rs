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

    /// The same, sure to be of one instant: a thread that loses its core between two readings
    /// would make the wall clock look stepped.
    #[must_use]
    pub fn read_closely() -> Self {
        const TRIES: u32 = 16;
        const CLOSE: Duration = Duration::from_millis(10);
        let mut now = Self::read();
        for _try in 0..TRIES {
            if Monotonic::read().since(now.monotonic) <= CLOSE {
                break;
            }
            now = Self::read();
        }
        now
    }

    /// Wall time less time since boot.
    #[must_use]
    pub fn offset(&self) -> WallOffset {
        let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        WallOffset(ms(self.wall.0).saturating_sub(ms(self.monotonic.as_ms())))
    }
}

/// How far the wall clock is ahead of the time since boot, in milliseconds.
///
/// Only a step of the wall clock moves it: NTP and adjtime(3) slew both alike.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct WallOffset(i64);

impl WallOffset {
    /// `ms` milliseconds.
    #[must_use]
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds.
    #[must_use]
    pub const fn as_ms(self) -> i64 {
        self.0
    }

    /// The wall time at `instant` by this offset.
    #[must_use]
    pub fn wall_at(self, instant: Monotonic) -> Wall {
        Wall(instant.as_ms()).shifted(Step(self.0))
    }

    /// What the wall clock was stepped by since `earlier`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Step {
        Step(self.0.saturating_sub(earlier.0))
    }
}

/// How far the wall clock was set forward, or back, in milliseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Step(i64);

impl Step {
    /// `ms` milliseconds; negative is back.
    #[must_use]
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds.
    #[must_use]
    pub const fn as_ms(self) -> i64 {
        self.0
    }

    /// How far, either way.
    #[must_use]
    pub const fn size(self) -> Duration {
        Duration::from_millis(self.0.unsigned_abs())
    }
}

/// The clock that ends are kept by: that of one boot of the host. Kept beside them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct BootClock {
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// Wall time less time since boot.
    #[serde(rename = "wall_minus_boot_ms")]
    pub offset: WallOffset,
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

    /// Milliseconds since boot.
    #[must_use]
    pub const fn as_ms(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Time since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The instant `duration` earlier; the boot where that is before it.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(saturating_nanoseconds(duration)))
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

    /// The same instant by a clock that was stepped; saturates.
    #[must_use]
    pub const fn shifted(self, step: Step) -> Self {
        Self(self.0.saturating_add_signed(step.0))
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

/// Microseconds by `CLOCK_MONOTONIC`, which is what `sd_notify(3)` wants to hear in
/// `MONOTONIC_USEC`; nothing else of botguard's is by this clock.
#[must_use]
pub fn monotonic_us() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC) / 1_000
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
    fn an_offset_finds_the_wall_time_of_an_instant() {
        let check = |wall: u64, boot_s: u64| {
            let monotonic = Monotonic::from_boot(Duration::from_secs(boot_s));
            let now = Now {
                monotonic,
                wall: Wall::from_unix_ms(wall),
            };
            assert_eq!(now.offset().wall_at(monotonic), now.wall);
            let step = Step::from_ms(-5);
            let later = WallOffset::from_ms(now.offset().as_ms() - 5);
            assert_eq!(later.since(now.offset()), step);
            assert_eq!(now.wall.shifted(step).as_unix_ms(), wall.saturating_sub(5));
        };
        check(1_795_435_200_123, 7_200);
        // A host without a battery begins in 1970.
        check(3, 90);
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
