//! The form of the audit log, version 1: what is written, and what `explain` reads back.
//!
//! Fields may be added; a field that is here keeps its name and meaning. Numbers of the score are
//! decimals that add up to the digit, because
//! [`crate::words::points::Points`] are.

mod decision;
mod facts;
mod request;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::words::block::Origin;
use crate::words::clock::Wall;
use crate::words::key::KeyState;

pub use decision::{BanScope, DecisionRecord, EnforcementRecord, LimitRecord, TrustRecord};
pub use facts::{
    AuthenticationRecord, CrawlerRecord, FactsRecord, LoginRecord, ObservationRecord,
    StandingRecord, Told, Unreplayable,
};
pub use request::{
    ClientRecord, CloseRecord, HttpRecord, IdentityRecord, RequestRecord, SignalRecord,
    TimingRecord, UpstreamFailureRecord, groups, microseconds,
};

/// Version of the form.
pub const VERSION: u8 = 1;

/// One line.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Record {
    /// [`VERSION`].
    pub v: u8,
    /// Number of the record, gapless over all files; what was lost has none.
    pub seq: u64,
    /// When: of a request, when its response ended.
    pub ts: Timestamp,
    /// What happened; its variant is the field `kind`.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Event {
    /// A request ended, or has lasted for 60 s.
    Request(Box<RequestRecord>),
    /// A request ended whose record had been written before.
    Close(Box<CloseRecord>),
    /// Somebody changed something by command.
    Operator(OperatorRecord),
    /// A ban that a request earned took effect.
    Ban(BanRecord),
    /// A key's state changed.
    Key(KeyRecord),
    /// Records were lost.
    Gap(GapRecord),
    /// The kernel dropped packets.
    Drops(DropsRecord),
}

/// A change by command.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct OperatorRecord {
    /// Who, as the kernel says (SO_PEERCRED): `uid 0`.
    pub actor: String,
    /// What: `block add`, `mode`, `reload`, ….
    pub operation: String,
    /// On what, in the words of the command.
    pub target: String,
    /// What came of it.
    pub result: String,
}

/// A ban that took effect.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct BanRecord {
    /// The request that earned it.
    pub request_id: String,
    /// Whom.
    pub target: IpNet,
    /// For how long, in seconds.
    pub ttl_s: u64,
    /// The rule's origin.
    pub rule: Origin,
    /// Why.
    pub reason: String,
    /// Whether the kernel drops the source's packets now.
    pub in_kernel: bool,
    /// From the deciding request's end of head to the return of the map update, in microseconds.
    pub decision_to_kernel_us: f64,
    /// Why it is not in the kernel or not on its way to the store.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refused: Option<String>,
}

/// A change of a key's state.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct KeyRecord {
    /// The key as it is shown.
    pub key: String,
    /// Its public id.
    pub key_id: String,
    /// From which state.
    pub from: KeyState,
    /// To which.
    pub to: KeyState,
    /// Who: `botguard`, an actor as in `uid 0`, or `time` where a suspension by command has ended.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When it ends by itself, RFC 3339; `null` where it does not.
    pub until: Option<String>,
}

/// Records that could not be written.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct GapRecord {
    /// How many.
    pub lost: u64,
}

/// Packets that the kernel dropped for one rule since the last such record.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DropsRecord {
    /// The rule's origin.
    pub rule: String,
    /// Packets dropped.
    pub packets: u64,
    /// Packets that passed because the mode is log or the entry only counts.
    pub would_have_dropped: u64,
}

/// RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timestamp(pub Wall);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = humantime::parse_rfc3339(&text).map_err(serde::de::Error::custom)?;
        let since_epoch = time
            .duration_since(std::time::UNIX_EPOCH)
            .map_err(serde::de::Error::custom)?;
        Ok(Self(Wall::default().after(since_epoch)))
    }
}

impl Record {
    /// Renders the line, with its line feed, behind what is in `text`.
    ///
    /// Errors: none that a record of this module can cause; a number that JSON cannot carry (not
    /// finite) becomes `null`. Nothing is added then.
    pub fn append_line(&self, text: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        let start = text.len();
        let rendered = serde_json::to_writer(&mut *text, self);
        match &rendered {
            Ok(()) => text.push(b'\n'),
            Err(_error) => text.truncate(start),
        }
        rendered
    }

    #[cfg(test)]
    pub(crate) fn to_line(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut line = Vec::new();
        self.append_line(&mut line).map(|()| line)
    }
}

#[cfg(test)]
pub(crate) mod tests;
