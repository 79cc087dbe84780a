//! Durations (`"10m"`), sizes (`"64KiB"`) and rates (`"120/min"`) as the configuration writes them.
//!
//! A bare number is refused: `ttl = 10` leaves open what it counts.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time: `"10s"`, `"1h 30m"`, `"250ms"`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Span(pub Duration);

/// A number of bytes: `"64KiB"`, `"1MB"`, `"512 B"`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Size(pub u64);

/// So many in a unit of time: `"120/min"`, `"5/s"`, `"1000/h"`. Never zero.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Rate {
    count: u32,
    per: Per,
}

impl Rate {
    /// `count` a minute; a count of zero becomes one.
    #[must_use]
    pub const fn per_minute(count: u32) -> Self {
        Self {
            count: if count == 0 { 1 } else { count },
            per: Per::Minute,
        }
    }

    /// Time from one to the next when evenly spaced; at least a nanosecond.
    #[must_use]
    pub fn interval(self) -> Duration {
        (self.per.duration() / self.count).max(Duration::from_nanos(1))
    }
}

/// Text that is not a duration, size or rate. The configuration's or the caller's fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnitError {
    /// Not a duration.
    #[error(
        "`{0}` is not a duration; write a number with a unit, as in \"10s\", \"15m\" or \"24h\""
    )]
    Span(String),
    /// Not a size.
    #[error("`{0}` is not a size; write a number with a unit, as in \"64KiB\" or \"1MiB\"")]
    Size(String),
    /// Not a rate.
    #[error(
        "`{0}` is not a rate; write a whole number above 0, a slash and s, min, h or d, as in \"120/min\""
    )]
    Rate(String),
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let refuse = || UnitError::Span(text.to_owned());
        humantime::parse_duration(text.trim())
            .map(Self)
            .map_err(|_cause| refuse())
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let refuse = || UnitError::Size(text.to_owned());
        if text.trim().bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refuse());
        }
        text.trim()
            .parse::<bytesize::ByteSize>()
            .map(|size| Self(size.as_u64()))
            .map_err(|_cause| refuse())
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let refuse = || UnitError::Rate(text.to_owned());
        let (count, per) = text.split_once('/').ok_or_else(refuse)?;
        let count = count.trim().parse::<u32>().map_err(|_cause| refuse())?;
        let per = match per.trim() {
            "s" | "sec" | "second" => Per::Second,
            "m" | "min" | "minute" => Per::Minute,
            "h" | "hour" => Per::Hour,
            "d" | "day" => Per::Day,
            _ => return Err(refuse()),
        };
        if count == 0 {
            Err(refuse())
        } else {
            Ok(Self { count, per })
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bytesize::ByteSize::b(self.0).display().iec().fmt(f)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.per.as_str())
    }
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Per {
    Second,
    Minute,
    Hour,
    Day,
}

impl Per {
    const fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        })
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "h",
            Self::Day => "d",
        }
    }
}

macro_rules! as_text {
    ($($unit:ty),*) => {$(
        impl Serialize for $unit {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
as_text!(Span, Size, Rate);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        let check = |text: &str, expected: Option<u64>| {
            let ms = text.parse::<Span>().ok().map(|span| span.0.as_millis());
            assert_eq!(ms, expected.map(u128::from), "{text}");
        };
        check("10m", Some(600_000));
        check("250ms", Some(250));
        check("1h 30m", Some(5_400_000));
        check("10", None);
        check("", None);
        check("-1s", None);
    }

    #[test]
    fn sizes() {
        let check = |text: &str, expected| {
            assert_eq!(
                text.parse::<Size>().ok().map(|size| size.0),
                expected,
                "{text}"
            );
        };
        check("64KiB", Some(65_536));
        check("1MB", Some(1_000_000));
        check("512 B", Some(512));
        check("64", None);
        check("many", None);
    }

    #[test]
    fn rates() {
        let check = |text: &str, expected_ms: Option<u64>| {
            let interval = text.parse::<Rate>().ok().map(Rate::interval);
            assert_eq!(interval, expected_ms.map(Duration::from_millis), "{text}");
        };
        check("120/min", Some(500));
        check("5/s", Some(200));
        check("3600/h", Some(1_000));
        check("0/s", None);
        check("5", None);
        check("5/fortnight", None);
    }

    #[test]
    fn units_survive_a_round_trip() {
        for text in ["120/min", "5/s", "1/d"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        assert_eq!("90m".parse::<Span>().unwrap().to_string(), "1h 30m");
        assert_eq!("64KiB".parse::<Size>().unwrap().to_string(), "64.0 KiB");
    }
}
