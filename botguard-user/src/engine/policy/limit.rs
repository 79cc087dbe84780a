//! Declared limits, compiled: what each counts, for whom, and how much of it.

use std::sync::Arc;
use std::time::Duration;

use super::error::PolicyError;
use super::rollout::mix_text;
use super::settings::{LimitSettings, QuotaSettings};
use crate::engine::decision::LimitUnit;
use crate::words::key::KeyLimit;

/// One limit of a route, tier or of everything.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Limit {
    /// What responses call it.
    pub(crate) name: Arc<str>,
    /// Whose buckets these are: stays the same when rate and burst change, so that a reload goes on
    /// with what was used.
    pub(crate) family: u64,
    /// Who has a bucket of its own.
    pub(crate) per: LimitSubject,
    /// What it counts.
    pub(crate) unit: LimitUnit,
    /// How much of it.
    pub(crate) pace: Pace,
}

/// Who has a bucket of its own.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitSubject {
    /// The API key, from wherever it is used; without one as `session`.
    #[default]
    Key,
    /// The session; without one as `address`.
    Session,
    /// The user of a verified token; without one as `session`.
    User,
    /// The address; IPv6 by its /64.
    Address,
    /// Nobody: all who use the route share one.
    Route,
}

/// So much in so long, and so much at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Pace {
    /// Units in [`Self::per`]; at least 1.
    pub(crate) count: u64,
    pub(crate) per: Duration,
    /// Units at once; at least 1.
    pub(crate) burst: u64,
}

impl Pace {
    /// Time that `units` take, rounded up: a limit never grants more than it says.
    pub(crate) fn time_for(self, units: u64) -> Duration {
        let time = (self.per.as_nanos().saturating_mul(u128::from(units)))
            .div_ceil(u128::from(self.count));
        Duration::from_nanos(u64::try_from(time).unwrap_or(u64::MAX))
    }

    /// Whole units that come in within `time`.
    pub(crate) fn units_in(self, time: Duration) -> u64 {
        let units =
            time.as_nanos().saturating_mul(u128::from(self.count)) / self.per.as_nanos().max(1);
        u64::try_from(units).unwrap_or(u64::MAX)
    }

    /// A part of it, in percent; at least one unit.
    pub(crate) fn part(self, percent: u64) -> Self {
        Self {
            // Slower in the same measure, so that no fraction is lost.
            per: self.per.saturating_mul(100) / u32::try_from(percent.max(1)).unwrap_or(u32::MAX),
            burst: (self.burst.saturating_mul(percent) / 100).max(1),
            ..self
        }
    }
}

impl From<KeyLimit> for Pace {
    fn from(limit: KeyLimit) -> Self {
        Self {
            count: 1,
            per: limit.rate.interval(),
            burst: u64::from(limit.burst.max(1)),
        }
    }
}

impl Limit {
    /// `table` names the key for errors, `scope` the route or tier for the buckets.
    pub(super) fn compile(
        table: &str,
        scope: &str,
        settings: &LimitSettings,
    ) -> Result<Self, PolicyError> {
        let default_name = match settings.per {
            LimitSubject::Key => "key",
            LimitSubject::Session => "session",
            LimitSubject::User => "user",
            LimitSubject::Address => "address",
            LimitSubject::Route => "route",
        };
        let name = settings.name.as_deref().unwrap_or(default_name);
        if !is_name(name) {
            return Err(PolicyError::LimitName {
                key: format!("{table}.name"),
                text: name.to_owned(),
            });
        }
        if settings.burst == 0 {
            return Err(PolicyError::Zero {
                key: format!("{table}.burst"),
            });
        }
        Ok(Self {
            name: Arc::from(name),
            family: mix_text(&format!("{scope} {default_name} {name}")),
            per: settings.per,
            unit: LimitUnit::Requests,
            pace: Pace {
                count: 1,
                per: settings.rate.interval(),
                burst: u64::from(settings.burst),
            },
        })
    }

    /// The limit of a key whose tier declares none; its pace comes with each request.
    pub(super) fn of_keys() -> Self {
        Self {
            name: Arc::from("key"),
            family: mix_text("keys"),
            per: LimitSubject::Key,
            unit: LimitUnit::Requests,
            pace: Pace {
                count: 1,
                per: Duration::from_secs(1),
                burst: 1,
            },
        }
    }

    /// A quota of bytes: all of it at once, coming back evenly over its window.
    pub(super) fn quota(
        table: &str,
        scope: &str,
        settings: &QuotaSettings,
    ) -> Result<Self, PolicyError> {
        let zero = |name| PolicyError::Zero {
            key: format!("{table}.{name}"),
        };
        if settings.bytes.0 == 0 {
            return Err(zero("bytes"));
        }
        if settings.window.0.is_zero() {
            return Err(zero("window"));
        }
        Ok(Self {
            name: Arc::from("bytes"),
            family: mix_text(&format!("{scope} bytes")),
            per: settings.per,
            unit: LimitUnit::Bytes,
            pace: Pace {
                count: settings.bytes.0,
                per: settings.window.0,
                burst: settings.bytes.0,
            },
        })
    }
}

/// It goes into a structured field as a string and into records: no quotes or escapes.
fn is_name(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn odd_numbers_do_not_overflow() {
        let pace = Pace {
            count: 1,
            per: Duration::MAX,
            burst: u64::MAX,
        };
        let longest = Duration::from_nanos(u64::MAX);
        assert_eq!(pace.time_for(u64::MAX), longest);
        assert_eq!(pace.part(1).time_for(u64::MAX), longest);
        let fast = Pace {
            count: u64::MAX,
            per: Duration::from_nanos(1),
            burst: 1,
        };
        assert_eq!(fast.units_in(Duration::MAX), u64::MAX);
    }

    proptest! {
        #[test]
        fn what_comes_in_never_exceeds_what_was_waited_for(
            count in 1u64..1_000_000_000, seconds in 1u64..100_000, units in 0u64..1_000_000,
        ) {
            let pace = Pace { count, per: Duration::from_secs(seconds), burst: 1 };
            let time = pace.time_for(units);
            prop_assert!(pace.units_in(time) >= units);
            if let Some(earlier) = time.checked_sub(Duration::from_nanos(1)) {
                prop_assert!(units == 0 || pace.units_in(earlier) < units || count > 1_000_000_000);
            }
        }

        #[test]
        fn a_part_is_no_more_than_the_whole(percent in 1u64..=100, burst in 1u64..1_000_000) {
            let whole = Pace { count: 7, per: Duration::from_secs(60), burst };
            let part = whole.part(percent);
            prop_assert!(part.burst <= whole.burst && part.burst >= 1);
            prop_assert!(part.time_for(5) >= whole.time_for(5));
        }
    }
}
