//! The record of one request: everything its decision was made from, and how it ended.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::decision::{DecisionRecord, EnforcementRecord, TrustRecord};
use super::facts::{FactsRecord, LoginRecord, ObservationRecord};
use crate::engine::decision::{Breakdown, Group, SignalReading};
use crate::engine::facts::{AnsweredBy, Hosting, NetworkFacts, RequestFacts, ResponseFacts};
use crate::words::address::{ClientAddress, Via};
use crate::words::header_lines::HeaderLines;
use crate::words::identity::{ClientClass, UserProof};
use crate::words::points::Points;

/// Field names are those of the contract.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[expect(
    missing_docs,
    reason = "each field is a record type with its own documentation"
)]
pub struct RequestRecord {
    /// The request goes on: this was written after 60 s, and a [`CloseRecord`] will follow.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub partial: bool,
    /// The id that client, upstream and log share.
    pub request_id: String,
    /// Hash of the policy that decided.
    pub policy: String,
    pub client: ClientRecord,
    pub identity: IdentityRecord,
    pub http: HttpRecord,
    pub facts: FactsRecord,
    /// Sum of the capped groups.
    pub raw: Points,
    /// The same, at most 1.
    pub score: Points,
    /// What each group counts for, after its cap.
    pub groups: BTreeMap<Group, Points>,
    /// The most each of them could count for, for `explain`.
    pub caps: BTreeMap<Group, Points>,
    pub signals: Vec<SignalRecord>,
    /// What speaks for the client, taken off the sum.
    #[serde(default)]
    pub trust: Vec<TrustRecord>,
    pub decision: DecisionRecord,
    /// The ban that this request earned its source, if any.
    pub enforcement: Option<EnforcementRecord>,
    pub timing: TimingRecord,
    /// Only of a request that the upstream gave no response to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub upstream_failure: Option<UpstreamFailureRecord>,
}

/// How a request ended that had lasted so long that its record was written before.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CloseRecord {
    /// The request's.
    pub request_id: String,
    /// Status sent.
    pub status: u16,
    /// Bytes of the request body.
    pub bytes_in: u64,
    /// Bytes of the response body.
    pub bytes_out: u64,
    /// Whose side broke the response off before its end: `client` or `upstream`.
    pub broken_off: Option<String>,
    /// As in the request's record, to its end.
    pub timing: TimingRecord,
    /// When the engine was told of it, in nanoseconds since boot.
    #[serde(default)]
    pub observed_at_ns: Option<u64>,
    /// Who produced the response.
    #[serde(default)]
    pub answered_by: Option<AnsweredBy>,
    /// What the application said of it by a signed header.
    #[serde(default)]
    pub observation: Option<ObservationRecord>,
    /// The login that it tried, on a route that reads them.
    #[serde(default)]
    pub login: Option<LoginRecord>,
    /// As in the request's record.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub upstream_failure: Option<UpstreamFailureRecord>,
}

/// An upstream that gave no response.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct UpstreamFailureRecord {
    /// As the configuration names it.
    pub upstream: String,
    /// The endpoint that had the request last; none where it was offered to nobody.
    pub endpoint: Option<String>,
    /// What went wrong, as in `botguard_upstream_failures_total`: `broken`, `unreachable`, ….
    pub kind: String,
}

/// Who sent it, by address.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ClientRecord {
    /// The client's address.
    pub ip: IpAddr,
    /// The TCP peer's.
    pub peer: IpAddr,
    /// How `ip` is known.
    pub via: Via,
    /// AS number, if the table has the address.
    pub asn: Option<u32>,
    /// Its name in the table.
    pub as_name: Option<String>,
    /// Country, ISO 3166-1 alpha-2, if the table has the address.
    pub country: Option<String>,
    /// Whether a list says that the system rents out machines.
    pub hosting: bool,
    /// JA4 fingerprint of the connection's ClientHello.
    pub ja4: Option<String>,
    /// HTTP/2 fingerprint of the connection, in Akamai's form; none over HTTP/1.
    pub h2: Option<String>,
    /// Hash of the names of the request's header fields in order, 16 hexadecimal digits.
    pub header_shape: Option<String>,
}

/// Who it says it is.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct IdentityRecord {
    /// The class of client that tier or route expects.
    pub class: ClientClass,
    /// Its API key, as people are shown it: `sk_pub_xyz123kd92mv…`.
    pub key: Option<String>,
    /// The key's public id, as commands name it.
    pub key_id: Option<String>,
    /// The key's tier.
    pub tier: Option<String>,
    /// Its session: `#` and the start of a keyed hash.
    pub session: Option<String>,
    /// The user it names, likewise.
    pub user: Option<String>,
    /// Who vouches for that user: `verified` (a token's signature) or `claimed` (nobody).
    #[serde(default)]
    pub user_proof: Option<UserProof>,
}

/// What it asked and what it got.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct HttpRecord {
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub version: String,
    /// Method.
    pub method: String,
    /// Canonical authority.
    pub host: String,
    /// Decoded, dot-normalised path.
    pub path: String,
    /// Query as sent, secrets redacted.
    pub query: String,
    /// Template of the route that decided.
    pub route: String,
    /// Status sent; not known while the request goes on.
    pub status: Option<u16>,
    /// Bytes of the request body.
    pub bytes_in: u64,
    /// Bytes of the response body.
    pub bytes_out: u64,
    /// Headers in wire order, secrets redacted.
    pub headers: HeaderLines,
    /// Whose side broke the response off before its end: `client` or `upstream`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub broken_off: Option<String>,
}

/// One contribution to the score.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SignalRecord {
    /// Stable name.
    pub id: String,
    /// The group it counts in.
    pub group: Group,
    /// Weight at full confidence.
    pub weight: Points,
    /// From 0 to 1.
    pub confidence: Points,
    /// The measured value, in the signal's own unit.
    pub value: f64,
    /// What was seen.
    pub evidence: String,
}

/// How long it took, in microseconds.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct TimingRecord {
    /// The engine.
    pub score_us: f64,
    /// To the head of the upstream's response, if it was asked.
    pub upstream_us: Option<f64>,
    /// From the request's head to the end of the response.
    pub total_us: f64,
}

impl ClientRecord {
    /// Of these facts.
    #[must_use]
    pub fn of(facts: &RequestFacts) -> Self {
        Self::at(facts.client, &facts.network)
    }

    /// Of this address, of which the tables say this.
    #[must_use]
    pub fn at(client: ClientAddress, network: &NetworkFacts) -> Self {
        let asn = network.asn.as_ref();
        Self {
            ip: client.ip(),
            peer: client.peer(),
            via: client.via(),
            asn: asn.map(|asn| asn.number),
            as_name: asn.map(|asn| asn.name.to_string()),
            country: network.country.map(|country| country.to_string()),
            hosting: matches!(network.hosting, Hosting::Verified { .. }),
            ja4: None,
            h2: None,
            header_shape: None,
        }
    }
}

impl IdentityRecord {
    /// Of these facts.
    #[must_use]
    pub fn of(facts: &RequestFacts, class: ClientClass) -> Self {
        let key = facts.key.as_ref();
        Self {
            key: key.map(|key| key.shown.to_string()),
            key_id: key.map(|key| key.public_id.to_string()),
            tier: key.and_then(|key| key.tier.as_ref().map(ToString::to_string)),
            session: facts.session.map(|session| short(session.hash.0)),
            user: facts.user.map(|user| short(user.hash.0)),
            user_proof: facts.user.map(|user| user.proof),
            ..Self::unknown(class)
        }
    }

    /// Of a request that was not looked into.
    #[must_use]
    pub const fn unknown(class: ClientClass) -> Self {
        Self {
            class,
            key: None,
            key_id: None,
            tier: None,
            session: None,
            user: None,
            user_proof: None,
        }
    }
}

/// Enough of a hash to tell one from another.
fn short(hash: u128) -> String {
    format!("#{:016x}", hash >> 64)
}

impl TimingRecord {
    /// Of these durations.
    #[must_use]
    pub fn of(score: Duration, response: &ResponseFacts) -> Self {
        Self {
            score_us: microseconds(score),
            upstream_us: response.upstream.map(microseconds),
            total_us: microseconds(response.total),
        }
    }
}

impl From<&SignalReading> for SignalRecord {
    fn from(reading: &SignalReading) -> Self {
        Self {
            id: reading.id.to_owned(),
            group: reading.group,
            weight: reading.weight,
            confidence: reading.confidence,
            value: reading.value,
            evidence: reading.evidence.clone(),
        }
    }
}

/// The capped groups of a score.
#[must_use]
pub fn groups(score: &Breakdown) -> BTreeMap<Group, Points> {
    (score.groups.iter())
        .map(|group| (group.group, group.total))
        .collect()
}

/// Whole nanoseconds in microseconds: `1.734`.
#[must_use]
pub fn microseconds(duration: Duration) -> f64 {
    // A double holds 104 days of nanoseconds exactly.
    duration.as_nanos() as f64 / 1_000.0
}
