//! From which scores on something happens.

use super::error::PolicyError;
use super::settings::{DefaultSettings, ThresholdSettings};
use crate::engine::decision::{RouteThresholds, Threshold};
use crate::words::points::Points;

/// 0 < throttle ≤ block ≤ 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Thresholds {
    throttle: Points,
    block: Points,
}

impl Thresholds {
    /// Checks the order of all four, acted on or not, so that a file which loads today still loads
    /// when they are.
    pub(super) fn compile(table: &str, settings: &ThresholdSettings) -> Result<Self, PolicyError> {
        let fallback = DefaultSettings::default();
        let throttle = settings.throttle.unwrap_or(fallback.throttle);
        let block = settings.block.unwrap_or(fallback.block);
        let rising = [
            ("throttle", Some(throttle)),
            ("challenge", settings.challenge),
            ("step_up", settings.step_up),
            ("block", Some(block)),
        ];
        let mut milder: Option<(&str, Points)> = None;
        for (name, value) in rising {
            let Some(value) = value else { continue };
            if value == Points::ZERO || value > Points::ONE {
                let key = format!("{table}.{name}");
                return Err(PolicyError::OutOfRange { key, value });
            }
            if let Some((milder, milder_value)) = milder
                && milder_value > value
            {
                return Err(PolicyError::ThresholdOrder {
                    milder: format!("{table}.{milder}"),
                    milder_value,
                    severer: format!("{table}.{name}"),
                    severer_value: value,
                });
            }
            milder = Some((name, value));
        }
        Ok(Self { throttle, block })
    }

    /// The most severe threshold that `score` reaches.
    pub(crate) fn reached(&self, score: Points) -> Option<Threshold> {
        if score >= self.block {
            Some(Threshold::Block)
        } else if score >= self.throttle {
            Some(Threshold::Throttle)
        } else {
            None
        }
    }

    /// Both, for the record.
    pub(crate) const fn both(&self) -> RouteThresholds {
        RouteThresholds {
            throttle: self.throttle,
            challenge: None,
            step_up: None,
            block: self.block,
        }
    }

    /// Its value.
    pub(crate) const fn value(&self, threshold: Threshold) -> Points {
        match threshold {
            Threshold::Throttle | Threshold::Challenge | Threshold::StepUp => self.throttle,
            Threshold::Block => self.block,
        }
    }
}
