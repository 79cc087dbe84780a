//! The keys of `[challenge]`.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::words::units::Span;

/// `[challenge]`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChallengeSettings {
    /// Leading zero bits that a solution's hash must have, 1 to 24. Each doubles the work; 16 are
    /// well under a second for a telephone.
    pub difficulty: Difficulty,
    /// A solution that comes earlier than this after its puzzle is refused, at most 60s. A person
    /// waits this long at least; a farm of solvers must keep each client waiting as long.
    #[serde(deserialize_with = "solve_floor")]
    pub solve_floor: Span,
    /// How long a browser that has solved a challenge is not shown another, 1m to 30d.
    #[serde(deserialize_with = "clearance")]
    pub clearance: Span,
    /// The cookie that holds the clearance. The application is not shown it.
    pub cookie: CookieName,
}

impl Default for ChallengeSettings {
    fn default() -> Self {
        Self {
            difficulty: Difficulty(16),
            solve_floor: Span(Duration::from_secs(1)),
            clearance: Span(Duration::from_secs(30 * 60)),
            cookie: CookieName("botguard_clearance".to_owned()),
        }
    }
}

fn solve_floor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    // A puzzle lives for two minutes.
    within(deserializer, Duration::ZERO, Duration::from_secs(60))
}

fn clearance<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    let month = Duration::from_secs(30 * 24 * 60 * 60);
    within(deserializer, Duration::from_secs(60), month)
}

fn within<'de, D: Deserializer<'de>>(
    deserializer: D,
    least: Duration,
    most: Duration,
) -> Result<Span, D::Error> {
    let span = Span::deserialize(deserializer)?;
    if (least..=most).contains(&span.0) {
        Ok(span)
    } else {
        let (least, most) = (Span(least), Span(most));
        let message = format!("`{span}` is out of range; write {least} to {most}");
        Err(D::Error::custom(message))
    }
}

/// Leading zero bits, 1 to 24.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Difficulty(u8);

impl Difficulty {
    /// How many bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }
}

/// A difficulty that nobody would solve, or everybody. The configuration's fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a difficulty of {0} is out of range; write 1 to 24, as in 16")]
pub struct DifficultyError(u8);

impl TryFrom<u8> for Difficulty {
    type Error = DifficultyError;

    fn try_from(bits: u8) -> Result<Self, DifficultyError> {
        // 24 are about a minute of a slow telephone.
        if (1..=24).contains(&bits) {
            Ok(Self(bits))
        } else {
            Err(DifficultyError(bits))
        }
    }
}

impl From<Difficulty> for u8 {
    fn from(difficulty: Difficulty) -> Self {
        difficulty.0
    }
}

/// A cookie's name (RFC 6265 section 4.1.1).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct CookieName(String);

impl CookieName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Text that cannot name a cookie. The configuration's fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` cannot name a cookie; write letters, digits, `_` and `-`, at most 64")]
pub struct CookieNameError(String);

impl TryFrom<String> for CookieName {
    type Error = CookieNameError;

    fn try_from(name: String) -> Result<Self, CookieNameError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
            Ok(Self(name))
        } else {
            Err(CookieNameError(name))
        }
    }
}

impl From<CookieName> for String {
    fn from(name: CookieName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked() {
        let check = |text: &str, expected: Option<&str>| {
            let error = toml::from_str::<ChallengeSettings>(text).err();
            let message = error.map(|error| error.message().to_owned());
            match (&message, expected) {
                (None, None) => {}
                (Some(message), Some(part)) => assert!(message.contains(part), "{message}"),
                _ => panic!("{text}: {message:?}"),
            }
        };
        check("", None);
        check(
            "difficulty = 1\nsolve_floor = '0s'\nclearance = '30d'",
            None,
        );
        check("cookie = '__Host-cleared'", None);
        check("difficulty = 0", Some("write 1 to 24"));
        check("difficulty = 25", Some("write 1 to 24"));
        check("solve_floor = '61s'", Some("write 0s to 1m"));
        check("clearance = '59s'", Some("write 1m to 30days"));
        check("clearance = '31d'", Some("out of range"));
        check("cookie = ''", Some("cannot name a cookie"));
        check("cookie = 'a;b'", Some("cannot name a cookie"));
        check("floor = '1s'", Some("unknown field"));
    }
}
