//! On whose account a source is blocked: what drops are counted by, and what `would-block` names.
//!
//! A rule is not one entry: all of the operator's single blocks are one rule, all bans another, each
//! imported list and each blocked autonomous system one of its own.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::words::block::Origin;

/// Who made a block, to the list or system.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Rule {
    /// Single blocks of an origin.
    Single(Origin),
    /// An autonomous system that the operator blocked.
    Asn(u32),
    /// An imported list.
    List(ListName),
}

impl Rule {
    /// Its kind: a metric label, and `origin` on the wire.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Single(origin) => origin.name(),
            Self::Asn(_) => "asn",
            Self::List(_) => "list",
        }
    }

    /// Every kind.
    pub const KINDS: [&'static str; 4] = ["operator", "automatic", "asn", "list"];
}

/// `operator`, `automatic`, `AS16509`, `list:spamhaus`. Unique, and read back by [`FromStr`].
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single(origin) => f.write_str(origin.name()),
            Self::Asn(number) => write!(f, "AS{number}"),
            Self::List(name) => write!(f, "list:{name}"),
        }
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        if let Some(name) = text.strip_prefix("list:") {
            return Ok(Self::List(name.parse().map_err(|_error| RuleError)?));
        }
        if let Some(number) = text.strip_prefix("AS") {
            return number.parse().map(Self::Asn).map_err(|_error| RuleError);
        }
        [Origin::Operator, Origin::Automatic]
            .into_iter()
            .find(|origin| origin.name() == text)
            .map(Self::Single)
            .ok_or(RuleError)
    }
}

/// Text that names no rule. Internal: only botguard writes such names.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not the name of a rule")]
pub struct RuleError;

/// The name of an imported list: 1 to [`ListName::MAX_BYTES`] of `a-z`, `0-9`, `.`, `_`, `-`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ListName(Arc<str>);

impl ListName {
    /// Longest name: with its prefix a rule's fits the 64 bytes that the kernel's map has for it.
    pub const MAX_BYTES: usize = 48;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ListName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for ListName {
    type Err = ListNameError;

    fn from_str(text: &str) -> Result<Self, ListNameError> {
        let is_plain = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-')
        };
        if (1..=Self::MAX_BYTES).contains(&text.len()) && text.bytes().all(is_plain) {
            Ok(Self(text.into()))
        } else {
            Err(ListNameError(text.to_owned()))
        }
    }
}

impl TryFrom<String> for ListName {
    type Error = ListNameError;

    fn try_from(text: String) -> Result<Self, ListNameError> {
        text.parse()
    }
}

impl From<ListName> for String {
    fn from(name: ListName) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// Text that cannot name a list. The operator's fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "`{0}` cannot name a list; write 1 to {max} of a-z, 0-9, `.`, `_` and `-`",
    max = ListName::MAX_BYTES
)]
pub struct ListNameError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_written() {
        let check = |text: &str, expected: bool| {
            let rule = text.parse::<Rule>();
            assert_eq!(rule.is_ok(), expected, "{text}");
            if let Ok(rule) = rule {
                assert_eq!(rule.to_string(), text);
                assert!(Rule::KINDS.contains(&rule.kind()));
            }
        };
        check("operator", true);
        check("automatic", true);
        check("AS16509", true);
        check("list:spamhaus-drop.v4", true);
        check("list:", false);
        check("list:Über", false);
        check("AS", false);
        check("AS4294967296", false);
        check("nobody", false);
    }

    #[test]
    fn list_names_are_short_and_plain() {
        let check = |text: &str, expected| assert_eq!(text.parse::<ListName>().is_ok(), expected);
        check("a", true);
        check(&"a".repeat(48), true);
        check(&"a".repeat(49), false);
        check("", false);
        check("a b", false);
        check("../x", false);
        check("A", false);
    }
}
