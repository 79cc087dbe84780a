//! What a token claims, and whether its times and parties are right (RFC 7519 section 4.1). Its
//! signature was checked before, and by somebody else.

use std::time::Duration;

use serde_json::Value;

use super::TokenProblem;
use super::object::Object;
use super::settings::JwtSettings;
use crate::words::clock::Wall;

/// All claims.
pub(super) struct Claims(Object);

/// When a token is valid.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Times {
    expires: Option<Wall>,
    /// The later of `nbf` and `iat`.
    starts: Option<Wall>,
}

impl Times {
    /// Whether it is valid at `now`, give or take the leeway.
    pub(super) fn check(&self, settings: &JwtSettings, now: Wall) -> Result<(), TokenProblem> {
        let leeway = settings.leeway.0;
        match self.expires {
            None if settings.require_expiry => return Err(TokenProblem::Expired),
            Some(expires) if now >= expires.after(leeway) => return Err(TokenProblem::Expired),
            _ => {}
        }
        if self.starts.is_some_and(|starts| now.after(leeway) < starts) {
            return Err(TokenProblem::NotYetValid);
        }
        Ok(())
    }
}

impl Claims {
    pub(super) fn read(payload: &[u8]) -> Result<Self, TokenProblem> {
        let object = Object::parse(payload).map_err(|_cause| TokenProblem::Malformed)?;
        Ok(Self(object))
    }

    pub(super) fn times(&self) -> Result<Times, TokenProblem> {
        Ok(Times {
            expires: self.time("exp")?,
            starts: self.time("nbf")?.max(self.time("iat")?),
        })
    }

    /// Whether issuer and audience are the configured ones.
    pub(super) fn check_parties(&self, settings: &JwtSettings) -> Result<(), TokenProblem> {
        if let Some(issuer) = &settings.issuer
            && self.text("iss")? != Some(issuer)
        {
            return Err(TokenProblem::Issuer);
        }
        let is_ours = |audience: &Value| {
            let audience = audience.as_str();
            audience.is_some_and(|audience| settings.audience.iter().any(|ours| ours == audience))
        };
        let is_for_us = match self.0.value("aud") {
            Some(Value::Array(audiences)) => audiences.iter().any(is_ours),
            Some(audience) => is_ours(audience),
            None => false,
        };
        if settings.audience.is_empty() || is_for_us {
            Ok(())
        } else {
            Err(TokenProblem::Audience)
        }
    }

    /// A user's name, or number. Nothing else names anybody.
    pub(super) fn user(&self, claim: &str) -> Option<String> {
        match self.0.value(claim)? {
            Value::String(name) if !name.is_empty() => Some(name.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// Errors: a claim that is not text.
    pub(super) fn text(&self, claim: &str) -> Result<Option<&str>, TokenProblem> {
        match self.0.value(claim) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(TokenProblem::Malformed),
        }
    }

    /// A NumericDate: seconds since 1970, possibly with a fraction.
    ///
    /// Errors: not a number.
    pub(super) fn time(&self, claim: &str) -> Result<Option<Wall>, TokenProblem> {
        let Some(value) = self.0.value(claim) else {
            return Ok(None);
        };
        let seconds = value.as_f64().ok_or(TokenProblem::Malformed)?;
        // What does not fit is before 1970, or later than anything.
        let since_1970 = Duration::try_from_secs_f64(seconds);
        let since_1970 = since_1970.unwrap_or(if seconds < 0.0 {
            Duration::ZERO
        } else {
            Duration::MAX
        });
        Ok(Some(Wall::from_unix_ms(0).after(since_1970)))
    }
}
