//! `[reputation]`: from which suspicion on a key is watched, throttled, suspended.

use serde::Deserialize;

use super::error::PolicyError;
use crate::words::points::Points;

/// `[reputation]`
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct ReputationSettings {
    /// Reputation from which a key is `watch`; above 0, at most 1.
    pub watch: Points,
    /// From which its clients are held to a part of its rate.
    pub throttle: Points,
    /// From which it can be suspended.
    pub suspend: Points,
    /// How far below a threshold it must fall to leave the state again.
    pub margin: Points,
    /// Hours of the last day in each of which it must have been at `suspend` before it is
    /// suspended; from 1 to 24.
    pub suspend_after_hours: u32,
    /// The part of its rate that a throttled key keeps, in percent; from 1 to 100.
    pub throttled_to: u32,
}

impl Default for ReputationSettings {
    fn default() -> Self {
        Self {
            watch: Points::from_basis(3_000),
            throttle: Points::from_basis(5_000),
            suspend: Points::from_basis(7_000),
            margin: Points::from_basis(1_500),
            suspend_after_hours: 3,
            throttled_to: 25,
        }
    }
}

impl ReputationSettings {
    pub(super) fn check(&self) -> Result<(), PolicyError> {
        let rising = [
            ("reputation.watch", self.watch),
            ("reputation.throttle", self.throttle),
            ("reputation.suspend", self.suspend),
        ];
        for (key, value) in rising {
            if value == Points::ZERO || value > Points::ONE {
                return Err(PolicyError::OutOfRange {
                    key: key.to_owned(),
                    value,
                });
            }
        }
        for pair in rising.windows(2) {
            if let [(milder, milder_value), (severer, severer_value)] = pair
                && milder_value > severer_value
            {
                return Err(PolicyError::StateOrder {
                    milder: (*milder).to_owned(),
                    milder_value: *milder_value,
                    severer: (*severer).to_owned(),
                    severer_value: *severer_value,
                });
            }
        }
        if !(1..=24).contains(&self.suspend_after_hours) {
            return Err(PolicyError::Number {
                key: "reputation.suspend_after_hours",
                range: "1 to 24",
            });
        }
        if !(1..=100).contains(&self.throttled_to) {
            return Err(PolicyError::Number {
                key: "reputation.throttled_to",
                range: "1 to 100",
            });
        }
        Ok(())
    }
}

/// Whether reputation alone may suspend the keys of a tier.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Suspension {
    /// A pattern that is sustained over hours suspends the key.
    Automatic,
    /// Only the operator does; reputation throttles at most.
    Manual,
}
