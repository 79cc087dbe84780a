//! API keys on the wire: how a request names one, and what is shown of it. Never the key itself:
//! whoever has it hashes it first.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::words::key::{KeyLimit, KeyStanding, KeyState};
use crate::words::mode::Mode;
use crate::words::points::Points;

/// What the operator wants of API keys.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "operation", rename_all = "snake_case", deny_unknown_fields)]
pub enum KeyRequest {
    /// List the keys that are known.
    List {
        /// Only those in this state.
        #[serde(default)]
        state: Option<KeyState>,
    },
    /// Everything about one key.
    Show {
        /// Which.
        key: KeyReference,
    },
    /// Refuse a key.
    Suspend {
        /// Which.
        key: KeyReference,
        /// Why.
        reason: String,
        /// For so long; without it until it is resumed.
        #[serde(default)]
        for_s: Option<u64>,
    },
    /// Lift a key's suspension, and forget what it earned.
    Resume {
        /// Which.
        key: KeyReference,
        /// Why.
        #[serde(default)]
        reason: String,
    },
    /// Override what holds for a key; in place of an earlier override.
    Override {
        /// Which.
        key: KeyReference,
        /// What holds.
        terms: OverrideTerms,
        /// Why.
        reason: String,
        /// For so long; without it until it is cleared.
        #[serde(default)]
        for_s: Option<u64>,
    },
    /// Lift an override; a suspension stays.
    Clear {
        /// Which.
        key: KeyReference,
        /// Why.
        #[serde(default)]
        reason: String,
    },
}

/// Which key a request is about.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum KeyReference {
    /// By a name that [`KeyName`] reads.
    Named(String),
    /// By what is kept of it; for one that may not have been seen yet.
    Card(KeyCard),
}

/// What is kept of a key that somebody has and botguard may not have seen yet.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyCard {
    /// Its keyed hash, 32 hexadecimal digits.
    pub hash: String,
    /// Its public id.
    pub public_id: String,
    /// As people are shown it.
    pub shown: String,
    /// The tier whose pattern it matches.
    #[serde(default)]
    pub tier: Option<String>,
}

/// A key's name as people write it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeyName {
    /// Its public id: up to 12 characters without `_`. Read from the form that is shown, too.
    PublicId(String),
    /// `#` and at least 8 hexadecimal digits: the first ones of its hash, in small letters.
    Hash(String),
}

/// Text that names no key. The caller's fault. Does not repeat the text: it may be a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyNameError {
    /// It may be the key itself.
    #[error(
        "that is longer than a public id, and may be a whole key. If it is, it has now been in the \
         list of processes and perhaps in a shell's history. Give the public id (up to 12 characters \
         after the last `_`; `botguard key list` shows it), or put the key into a file and name it \
         by `--key-file FILE`"
    )]
    WholeKey,
    /// `#` and something else.
    #[error(
        "behind `#` come 8 to 32 hexadecimal digits of a key's hash, as `botguard key list` shows them"
    )]
    Hash,
    /// Nothing.
    #[error("a key is named by its public id, or by `#` and 8 to 32 digits of its hash")]
    Empty,
}

/// The longest public id: see `public_key_id` in `edge::identity`.
const PUBLIC_ID_CHARS: usize = 12;

impl std::str::FromStr for KeyName {
    type Err = KeyNameError;

    fn from_str(text: &str) -> Result<Self, KeyNameError> {
        if let Some(digits) = text.strip_prefix('#') {
            let is_hash = (8..=32).contains(&digits.len())
                && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            return if is_hash {
                Ok(Self::Hash(digits.to_ascii_lowercase()))
            } else {
                Err(KeyNameError::Hash)
            };
        }
        // What is shown ends in this, so it is no whole key.
        let public_id = match text.strip_suffix('…') {
            Some(shown) => shown.rsplit('_').next().unwrap_or(shown),
            None => text,
        };
        if public_id.is_empty() {
            return Err(KeyNameError::Empty);
        }
        if public_id.contains('_') || public_id.chars().count() > PUBLIC_ID_CHARS {
            return Err(KeyNameError::WholeKey);
        }
        Ok(Self::PublicId(public_id.to_owned()))
    }
}

/// For records: what is not a name may be a secret, and is left out.
impl fmt::Display for KeyReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Card(card) => write!(f, "key {} #{}", card.public_id, card.hash),
            Self::Named(text) => match text.parse::<KeyName>() {
                Ok(KeyName::PublicId(id)) => write!(f, "key {id}"),
                Ok(KeyName::Hash(digits)) => write!(f, "key #{digits}"),
                Err(_not_shown) => f.write_str("(no name of a key)"),
            },
        }
    }
}

/// What an override is to say; one thing at least.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct OverrideTerms {
    /// Nothing that it does denies it anything or suspends it; of limits only its own holds.
    pub pin: bool,
    /// Its rate in place of its tier's.
    pub limit: Option<KeyLimit>,
    /// Upper bound of its requests' mode: `log` or `off`.
    pub mode: Option<Mode>,
}

/// Keys that are known: their reputation is remembered, or there is an override.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Keys {
    /// The worst state first, then by public id.
    pub keys: Vec<KeyEntry>,
}

/// One key.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct KeyEntry {
    /// Its public id.
    pub public_id: String,
    /// As people are shown it.
    pub shown: String,
    /// Its keyed hash, 32 hexadecimal digits.
    pub hash: String,
    /// Its tier, where it is known.
    pub tier: Option<String>,
    /// What holds, overrides taken into account.
    pub state: KeyState,
    /// What it earned by itself.
    pub earned: KeyState,
    /// Since when it has earned that, RFC 3339; `null` where nothing is remembered.
    pub since: Option<String>,
    /// Mean score of its requests over hour, day and week, 0 to 1; `null` without requests.
    pub reputation: Reputation,
    /// Requests in the last hour, about.
    pub requests_last_hour: u64,
    /// What the operator decided about it.
    #[serde(rename = "override")]
    pub set: Option<OverrideEntry>,
}

/// Mean scores, the recent ones counting more: by half after an hour, a day, a week.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Reputation {
    /// Over an hour.
    pub hour: Option<Points>,
    /// Over a day.
    pub day: Option<Points>,
    /// Over a week.
    pub week: Option<Points>,
}

/// An override in force.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct OverrideEntry {
    /// `earned`, `suspended` or `pinned`.
    pub standing: KeyStanding,
    /// Its rate in place of its tier's.
    pub limit: Option<KeyLimit>,
    /// Upper bound of its requests' mode.
    pub mode: Option<Mode>,
    /// Why.
    pub reason: String,
    /// Who.
    pub actor: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// When it ends, RFC 3339; `null` is never.
    pub until: Option<String>,
}

/// Everything about one key.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct KeyDetail {
    /// As in the list.
    pub key: KeyEntry,
    /// Why it is in its state, in a sentence.
    pub because: String,
    /// The last changes of what it earned, oldest first.
    pub history: Vec<TransitionEntry>,
}

/// One change of what a key earned.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TransitionEntry {
    /// When, RFC 3339.
    pub at: String,
    /// From which state.
    pub from: KeyState,
    /// To which.
    pub to: KeyState,
    /// The reputation that led to it; `null` where the operator did.
    pub reputation: Option<Points>,
    /// Why.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_whole_keys() {
        let id = |text: &str| Ok(KeyName::PublicId(text.to_owned()));
        let hash = |text: &str| Ok(KeyName::Hash(text.to_owned()));
        let check = |text: &str, expected: Result<KeyName, KeyNameError>| {
            assert_eq!(text.parse::<KeyName>(), expected, "{text}");
            let named = KeyReference::Named(text.to_owned()).to_string();
            assert_eq!(named.starts_with("key "), expected.is_ok(), "{named}");
        };
        check("xyz123kd92mv", id("xyz123kd92mv"));
        check("x", id("x"));
        check("sk_pub_xyz123kd92mv…", id("xyz123kd92mv"));
        check("xyz1…", id("xyz1"));
        check("#0123abCD", hash("0123abcd"));
        check(&format!("#{}", "a".repeat(32)), hash(&"a".repeat(32)));
        check(
            "sk_pub_xyz123kd92mvbq07trw4ynlcze518jqa3",
            Err(KeyNameError::WholeKey),
        );
        check("sk_x", Err(KeyNameError::WholeKey));
        check("xyz123kd92mvb", Err(KeyNameError::WholeKey));
        check("0123456789012345…", Err(KeyNameError::WholeKey));
        check("#0123abc", Err(KeyNameError::Hash));
        check("#0123abcg", Err(KeyNameError::Hash));
        check(&format!("#{}", "a".repeat(33)), Err(KeyNameError::Hash));
        check("", Err(KeyNameError::Empty));
        check("…", Err(KeyNameError::Empty));
    }
}
