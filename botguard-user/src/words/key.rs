//! What is known of an API key over days, and what the operator decided about it: the words that
//! engine, store and commands share. How a state comes about is `engine::reputation`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::words::clock::Wall;
use crate::words::identity::KeyHash;
use crate::words::mode::Mode;
use crate::words::points::Points;
use crate::words::units::Rate;

/// How far a key is trusted. Ordered from well to worst.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// Nothing speaks against it.
    #[default]
    Ok,
    /// It is being looked at; nothing follows from that.
    Watch,
    /// Its clients are held to a part of its rate where decisions are carried out.
    Throttled,
    /// It is refused where decisions are carried out.
    Suspended,
}

impl KeyState {
    /// Stable name, a metric label: as it is serialised.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Watch => "watch",
            Self::Throttled => "throttled",
            Self::Suspended => "suspended",
        }
    }
}

impl std::fmt::Display for KeyState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// What the operator decided about a key by command. Beats what the key earned by itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct KeyOverride {
    /// Which key.
    pub hash: KeyHash,
    /// Its public id, for people.
    pub public_id: String,
    /// What holds.
    pub ruling: KeyRuling,
    /// Why, in a sentence.
    pub reason: String,
    /// Who, as the kernel says (SO_PEERCRED): `uid 0`.
    pub actor: String,
    /// When it was made.
    pub created: Wall,
    /// When it ends; `None` is never.
    pub until: Option<Wall>,
}

impl KeyOverride {
    /// Whether it still holds.
    #[must_use]
    pub fn is_live(&self, now: Wall) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// What an override says. The engine is given it with every request of the key.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyRuling {
    /// Whether the key is refused or kept by the operator's word.
    pub standing: KeyStanding,
    /// Its rate in place of its tier's.
    pub limit: Option<KeyLimit>,
    /// Upper bound for the mode of its requests, as `log` for a partner under observation.
    pub mode: Option<Mode>,
}

/// What the operator's word makes of a key.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyStanding {
    /// Its reputation decides.
    #[default]
    Earned,
    /// Refused, whatever it did.
    Suspended,
    /// A partner's: its score denies nothing and nothing suspends it. Of all limits only
    /// [`KeyRuling::limit`] holds.
    Pinned,
}

/// A rate and how many requests at once.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyLimit {
    /// Requests a unit of time.
    pub rate: Rate,
    /// Requests at once; at least 1.
    pub burst: u32,
}

/// Everything remembered of one key's reputation, as the store keeps it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct KeyMemo {
    /// Which key.
    pub hash: KeyHash,
    /// Its public id: what commands call it.
    pub public_id: String,
    /// As people are shown it.
    pub shown: String,
    /// Its tier.
    pub tier: Option<String>,
    /// Its state.
    pub state: KeyState,
    /// Since when.
    pub since: Wall,
    /// When the numbers below were true.
    pub at: Wall,
    /// Requests and suspicion, decayed by halves in an hour, a day, a week.
    pub spans: [SuspicionMemo; 3],
    /// The last hours, counted from 1970, whose suspicion was high.
    pub bad_hours: Vec<u32>,
    /// Good clients that used it: tag, and when each was seen last.
    #[serde(default)]
    pub good: Vec<(u64, Wall)>,
    /// The last changes of state, oldest first.
    pub history: Vec<KeyTransition>,
}

impl KeyMemo {
    /// Length of [`Self::history`] at most.
    pub const MAX_HISTORY: usize = 16;
}

/// Decayed sums of one span.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SuspicionMemo {
    /// Requests, in 1/10,000.
    pub requests: u64,
    /// Their scores, in 1/10,000.
    pub suspicion: u64,
}

/// One change of a key's state.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct KeyTransition {
    /// When.
    pub at: Wall,
    /// From which state.
    pub from: KeyState,
    /// To which.
    pub to: KeyState,
    /// The reputation that led to it, 0 to 1; `None` where the operator did.
    pub reputation: Option<Points>,
    /// Why, in a sentence.
    pub reason: String,
}

/// The spans of [`KeyMemo::spans`]: the time in which a sum falls by half.
pub const SPANS: [Duration; 3] = [
    Duration::from_secs(3_600),
    Duration::from_secs(86_400),
    Duration::from_secs(7 * 86_400),
];
