//! Scores and weights as exact decimals.
//!
//! Sums of weights must come out to the digit (0.10 + 0.40 + 0.25 + 0.30 = 1.05) and the same on
//! every machine, so they are integers of 1/10,000, never floats.

use std::iter::Sum;
use std::ops::Add;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A weight, a sum of weights, or a score, in 1/10,000. Range 0 to about 429,496.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Points(u32);

impl Points {
    /// 0.
    pub const ZERO: Self = Self(0);
    /// 1.0, the highest score.
    pub const ONE: Self = Self(SCALE);

    /// From ten-thousandths: `Points::from_basis(4_000)` is 0.40.
    #[must_use]
    pub const fn from_basis(ten_thousandths: u32) -> Self {
        Self(ten_thousandths)
    }

    /// Ten-thousandths.
    #[must_use]
    pub const fn as_basis(self) -> u32 {
        self.0
    }

    /// The nearest value to `value`.
    ///
    /// Errors: [`PointsError`] where `value` is not a number, negative, or above 1,000.
    pub fn from_decimal(value: f64) -> Result<Self, PointsError> {
        if !(0.0..=1_000.0).contains(&value) {
            return Err(PointsError { value });
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 <= value <= 1000 was checked, so the product fits"
        )]
        Ok(Self((value * f64::from(SCALE)).round() as u32))
    }

    /// As a decimal fraction.
    #[must_use]
    pub fn as_decimal(self) -> f64 {
        f64::from(self.0) / f64::from(SCALE)
    }

    /// What is left when `other` is taken off, at least 0.
    #[must_use]
    pub const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// This weight at the given confidence, rounded to the nearest; both at most 1.0 in practice.
    #[must_use]
    pub fn scaled_by(self, confidence: Self) -> Self {
        let product = u64::from(self.0) * u64::from(confidence.0) + u64::from(SCALE / 2);
        Self(u32::try_from(product / u64::from(SCALE)).unwrap_or(u32::MAX))
    }
}

/// A weight or threshold outside its range. The configuration's fault.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{value} is not a number from 0 to 1000")]
pub struct PointsError {
    value: f64,
}

impl Add for Points {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Points {
    fn sum<I: Iterator<Item = Self>>(points: I) -> Self {
        points.fold(Self::ZERO, Self::add)
    }
}

/// Two decimals as in the worked example, or `{:.4}` for all of them.
impl std::fmt::Display for Points {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.*}", f.precision().unwrap_or(2), self.as_decimal())
    }
}

impl Serialize for Points {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_decimal())
    }
}

impl<'de> Deserialize<'de> for Points {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_decimal(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

const SCALE: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn points(value: f64) -> Points {
        Points::from_decimal(value).unwrap()
    }

    #[test]
    fn the_worked_example_sums_to_the_digit() {
        let sum: Points = [0.10, 0.40, 0.25, 0.30].into_iter().map(points).sum();
        assert_eq!(sum, points(1.05));
        assert_eq!(sum.to_string(), "1.05");
        assert_eq!(serde_json::to_string(&sum).unwrap(), "1.05");
    }

    #[test]
    fn scaling_rounds_to_the_nearest() {
        assert_eq!(points(0.40).scaled_by(Points::ONE), points(0.40));
        assert_eq!(points(0.40).scaled_by(Points::ZERO), Points::ZERO);
        assert_eq!(points(0.25).scaled_by(points(0.3333)), points(0.0833));
    }

    #[test]
    fn out_of_range_is_refused() {
        for value in [-0.1, f64::NAN, f64::INFINITY, 1_000.1] {
            assert!(Points::from_decimal(value).is_err(), "{value}");
        }
    }
}
