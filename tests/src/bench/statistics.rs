//! Samples, and what is said of them: the median, and the quartiles as its spread.

use serde_json::{Value, json};

/// Median and spread of samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Half of the samples lie below.
    pub median: f64,
    /// A quarter of the samples lies below.
    pub lower: f64,
    /// A quarter of the samples lies above.
    pub upper: f64,
    /// How many samples there are.
    pub n: usize,
}

impl Summary {
    /// Of samples in any order; `None` where there is none.
    #[must_use]
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            median: quantile(&sorted, 50)?,
            lower: quantile(&sorted, 25)?,
            upper: quantile(&sorted, 75)?,
            n: sorted.len(),
        })
    }

    /// As a JSON object.
    #[must_use]
    pub fn to_json(self) -> Value {
        json!({
            "median": self.median,
            "lower_quartile": self.lower,
            "upper_quartile": self.upper,
            "n": self.n,
        })
    }
}

/// The sample below which `percent` of the sorted samples lie; the lower one of two.
#[must_use]
pub fn quantile(sorted: &[f64], percent: usize) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get(last * percent / 100).copied()
}

/// `operation` of each pair of samples that were taken in the same round.
#[must_use]
pub fn paired(a: &[f64], b: &[f64], operation: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| operation(*a, *b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quartiles() {
        let summary = Summary::of(&[5.0, 1.0, 3.0, 2.0, 4.0]).unwrap();
        assert_eq!(
            (summary.lower, summary.median, summary.upper),
            (2.0, 3.0, 4.0)
        );
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[7.0]).unwrap().median, 7.0);
    }

    #[test]
    fn rounds_are_paired() {
        assert_eq!(paired(&[4.0, 9.0], &[2.0, 3.0], |a, b| a / b), [2.0, 3.0]);
    }
}
