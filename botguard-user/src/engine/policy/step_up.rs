//! `[step_up]`: what counts as fresh authentication, and where people find it.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::error::PolicyError;
use crate::engine::decision::StepUpDemand;
use crate::words::identity::Authentication;
use crate::words::units::Span;

/// `[step_up]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct StepUpSettings {
    /// How long an authentication counts as fresh; from 1 s to a day.
    pub max_age: Span,
    /// Authentication context classes that will do, the preferred first (RFC 9470 section 4);
    /// empty is any.
    pub acr_values: Vec<String>,
    /// Where a person can authenticate again, for applications with cookies: a URL that the problem
    /// document names.
    pub url: Option<String>,
}

impl Default for StepUpSettings {
    fn default() -> Self {
        Self {
            max_age: Span(Duration::from_secs(300)),
            acr_values: Vec::new(),
            url: None,
        }
    }
}

impl StepUpDemand {
    pub(super) fn compile(settings: &StepUpSettings) -> Result<Self, PolicyError> {
        let second = Duration::from_secs(1);
        let day = Duration::from_secs(86_400);
        if !(second..=day).contains(&settings.max_age.0) {
            return Err(PolicyError::StepUp {
                key: "step_up.max_age",
                problem: "out of range; write from \"1s\" to \"24h\"",
            });
        }
        // Both go into a quoted string of a header field (RFC 9110 section 5.6.4).
        let plain = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|octet| octet.is_ascii_graphic() && octet != b'"' && octet != b'\\')
        };
        if !settings.acr_values.iter().all(|value| plain(value)) {
            return Err(PolicyError::StepUp {
                key: "step_up.acr_values",
                problem: "a class is visible ASCII without blanks and quotes, as in \"urn:mfa\"",
            });
        }
        let is_url = |url: &String| {
            plain(url)
                && (url.starts_with("https://") || url.starts_with('/') && !url.starts_with("//"))
        };
        if settings.url.as_ref().is_some_and(|url| !is_url(url)) {
            return Err(PolicyError::StepUp {
                key: "step_up.url",
                problem: "write a URL as in \"https://app.example.com/reauthenticate\", or a path",
            });
        }
        Ok(Self {
            max_age: settings.max_age.0,
            acr_values: settings
                .acr_values
                .iter()
                .map(|value| Arc::from(value.as_str()))
                .collect(),
            url: settings.url.as_deref().map(Arc::from),
        })
    }

    /// Whether a token's word on the last authentication will do.
    pub(crate) fn is_met_by(&self, authentication: &Authentication) -> bool {
        let class_will_do = self.acr_values.is_empty()
            || (authentication.acr.as_ref()).is_some_and(|acr| self.acr_values.contains(acr));
        class_will_do && authentication.age <= self.max_age
    }
}
