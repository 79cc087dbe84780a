//! From which scores on something happens.

use super::error::PolicyError;
use super::settings::{DefaultSettings, ThresholdSettings};
use crate::engine::decision::{RouteThresholds, Threshold};
use crate::words::points::Points;

impl RouteThresholds {
    /// Of a route, with the defaults filled in: 0 < throttle ≤ challenge ≤ step_up ≤ block ≤ 1.
    pub(super) fn compile(table: &str, settings: &ThresholdSettings) -> Result<Self, PolicyError> {
        let fallback = DefaultSettings::default();
        let whole = ThresholdSettings {
            throttle: Some(settings.throttle.unwrap_or(fallback.throttle)),
            block: Some(settings.block.unwrap_or(fallback.block)),
            ..*settings
        };
        whole.check(table)?;
        Ok(Self {
            throttle: whole.throttle.unwrap_or(fallback.throttle),
            challenge: whole.challenge,
            step_up: whole.step_up,
            block: whole.block.unwrap_or(fallback.block),
        })
    }

    /// These, but for what `over` says.
    pub(super) fn overridden_by(self, over: &ThresholdSettings) -> Self {
        Self {
            throttle: over.throttle.unwrap_or(self.throttle),
            challenge: over.challenge.or(self.challenge),
            step_up: over.step_up.or(self.step_up),
            block: over.block.unwrap_or(self.block),
        }
    }

    /// The most severe threshold that `score` reaches.
    #[must_use]
    pub fn reached(&self, score: Points) -> Option<Threshold> {
        let is_reached = |threshold: Option<Points>| threshold.is_some_and(|it| score >= it);
        if score >= self.block {
            Some(Threshold::Block)
        } else if is_reached(self.step_up) {
            Some(Threshold::StepUp)
        } else if is_reached(self.challenge) {
            Some(Threshold::Challenge)
        } else if score >= self.throttle {
            Some(Threshold::Throttle)
        } else {
            None
        }
    }

    /// Its value, if it has one.
    #[must_use]
    pub const fn value(&self, threshold: Threshold) -> Option<Points> {
        match threshold {
            Threshold::Throttle => Some(self.throttle),
            Threshold::Challenge => self.challenge,
            Threshold::StepUp => self.step_up,
            Threshold::Block => Some(self.block),
        }
    }
}

impl ThresholdSettings {
    /// Checks ranges and order of those that are written.
    pub(super) fn check(&self, table: &str) -> Result<(), PolicyError> {
        let rising = [
            ("throttle", self.throttle),
            ("challenge", self.challenge),
            ("step_up", self.step_up),
            ("block", self.block),
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
        Ok(())
    }
}
