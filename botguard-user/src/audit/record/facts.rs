//! What the engine was given, so that the same facts make the same decision again, to the bit.
//!
//! What stands elsewhere in a record (addresses, the key's names, method, path, query) is not
//! repeated: [`request_facts`](super::RequestRecord::request_facts) puts it together. Identities are whole keyed hashes
//! here, since the engine tells them apart by these. `read` is the way back.

use serde::{Deserialize, Serialize};

use crate::engine::facts::{
    AnsweredBy, Clearance, Country, Hosting, Login, LoginAttempt, LoginName, Observation, Reader,
    RequestFacts, ResponseFacts, Standing, Unread,
};
use crate::engine::prints::PrintFacts;
use crate::words::clock::Monotonic;
use crate::words::identity::{Authentication, Crawler, UserProof};
use crate::words::key::KeyRuling;

mod read;

pub use read::Unreplayable;

/// What the engine was given beyond the rest of the record.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct FactsRecord {
    /// Keyed hash of what the client looks like, hexadecimal.
    pub fingerprint: String,
    /// Keyed hash of the API key, hexadecimal.
    pub key_hash: Option<String>,
    /// What lists and earlier bans said of the address.
    pub standing: StandingRecord,
    /// Which table named the AS.
    pub asn_table: Option<String>,
    /// Which list says hosting.
    pub hosting_list: Option<String>,
    /// Who produced the response.
    pub answered_by: AnsweredBy,
    /// When the engine began, in nanoseconds since boot: one value for all that it remembered
    /// together. None of records of an earlier version.
    #[serde(default)]
    pub engine_ns: Option<u64>,
    /// When the engine decided, likewise; none of a request that had no single meaning.
    #[serde(default)]
    pub at_ns: Option<u64>,
    /// When it was told how the request ended; none of what botguard answers itself under its
    /// prefix, and of a partial record, whose `close` record has it.
    #[serde(default)]
    pub observed_at_ns: Option<u64>,
    /// When it was told that somebody touched the page, by an interaction token that this request
    /// spent.
    #[serde(default)]
    pub interaction_at_ns: Option<u64>,
    /// The answer was botguard's own, under its prefix: no evidence.
    #[serde(default)]
    pub own: bool,
    /// The host as the engine was told it.
    #[serde(default)]
    pub host: Option<String>,
    /// Country by the table.
    #[serde(default)]
    pub country: Option<Country>,
    /// Keyed hash of the session, hexadecimal.
    #[serde(default)]
    pub session_hash: Option<String>,
    /// Keyed hash of the user, hexadecimal.
    #[serde(default)]
    pub user_hash: Option<String>,
    /// Who vouches for that user.
    #[serde(default)]
    pub user_proof: Option<UserProof>,
    /// How long ago that user proved who they are.
    #[serde(default)]
    pub authentication: Option<AuthenticationRecord>,
    /// What the operator decided about the key; none where that is nothing.
    #[serde(default)]
    pub ruling: Option<KeyRuling>,
    /// What it says of being a crawler; none where that is nothing.
    #[serde(default)]
    pub crawler: Option<CrawlerRecord>,
    /// Whether it brought the clearance of a solved challenge.
    #[serde(default)]
    pub clearance: Clearance,
    /// Who would have read an answer.
    #[serde(default)]
    pub reader: Reader,
    /// What its prints said of it.
    #[serde(default)]
    pub prints: PrintFacts,
    /// What the application said of it by a signed header.
    #[serde(default)]
    pub observation: Option<ObservationRecord>,
    /// The login that it tried, on a route that reads them.
    #[serde(default)]
    pub login: Option<LoginRecord>,
}

/// A login: whose, or why that was not read, and how it ended.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LoginRecord {
    /// Keyed hash of the user's name, hexadecimal.
    pub user: Option<String>,
    /// Why there is none.
    pub unread: Option<Unread>,
    /// How it ended, where somebody said so.
    pub outcome: Option<Login>,
}

impl From<&LoginAttempt> for LoginRecord {
    fn from(attempt: &LoginAttempt) -> Self {
        let (user, unread) = match attempt.name {
            LoginName::Hashed(hash) => (Some(hash.to_string()), None),
            LoginName::Unread(why) => (None, Some(why)),
        };
        Self {
            user,
            unread,
            outcome: attempt.outcome,
        }
    }
}

/// What lists and earlier bans said of an address.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StandingRecord {
    /// Nothing.
    Unlisted,
    /// On the operator's allow list.
    Allowed,
    /// Covered by this live block.
    Blocked(String),
}

/// How long ago a user proved who they are.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct AuthenticationRecord {
    /// Nanoseconds since then.
    pub age_ns: u64,
    /// Authentication context class.
    pub acr: Option<String>,
}

/// A request that says it is a crawler's, and whether it is.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CrawlerRecord {
    /// Nobody had looked it up.
    Unknown(String),
    /// It is this one.
    Verified(String),
    /// It is not this one.
    False(String),
}

/// The application's own word on a request.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ObservationRecord {
    /// Keyed hash of the user that it was for, hexadecimal.
    pub user: Option<String>,
    /// Keyed hash of the owner of what was asked for.
    pub owner: Option<String>,
    /// Records that were disclosed.
    pub records: Option<u64>,
    /// How a login ended.
    pub login: Option<Login>,
    /// The user has just proved who they are.
    pub fresh_auth: bool,
}

/// When the engine was told what of one request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// When the engine began.
    pub engine: Monotonic,
    /// When it decided.
    pub decided: Option<Monotonic>,
    /// When it was told how the request ended.
    pub observed: Option<Monotonic>,
    /// When it was told that somebody touched the page.
    pub interaction: Option<Monotonic>,
}

impl FactsRecord {
    /// Of a request that the engine was asked about.
    #[must_use]
    pub fn of(facts: &RequestFacts, response: &ResponseFacts, told: &Told) -> Self {
        let nanoseconds = |at: Option<Monotonic>| at.map(Monotonic::as_nanoseconds);
        Self {
            key_hash: facts.key.as_ref().map(|key| key.hash.to_string()),
            standing: match &facts.standing {
                Standing::Unlisted => StandingRecord::Unlisted,
                Standing::Allowed => StandingRecord::Allowed,
                Standing::Blocked { rule } => StandingRecord::Blocked(rule.to_string()),
            },
            asn_table: (facts.network.asn.as_ref()).map(|asn| asn.table.to_string()),
            hosting_list: match &facts.network.hosting {
                Hosting::Unlisted => None,
                Hosting::Verified { list } => Some(list.to_string()),
            },
            answered_by: response.answered_by,
            at_ns: nanoseconds(told.decided),
            observed_at_ns: nanoseconds(told.observed),
            interaction_at_ns: nanoseconds(told.interaction),
            host: Some(facts.host.to_string()),
            country: facts.network.country,
            session_hash: facts.session.map(|session| session.hash.to_string()),
            user_hash: facts.user.map(|user| user.hash.to_string()),
            user_proof: facts.user.map(|user| user.proof),
            authentication: facts.authentication.as_ref().map(Into::into),
            ruling: (facts.ruling != KeyRuling::default()).then_some(facts.ruling),
            crawler: crawler_record(&facts.crawler),
            clearance: facts.clearance,
            reader: facts.reader,
            prints: facts.prints,
            observation: response.observation.as_ref().map(Into::into),
            login: response.login.as_ref().map(Into::into),
            ..Self::unjudged(facts.fingerprint, told.engine)
        }
    }

    /// Of a request that nobody was asked about.
    #[must_use]
    pub fn unjudged(fingerprint: u64, engine: Monotonic) -> Self {
        Self {
            fingerprint: format!("{fingerprint:016x}"),
            key_hash: None,
            standing: StandingRecord::Unlisted,
            asn_table: None,
            hosting_list: None,
            answered_by: AnsweredBy::Botguard,
            engine_ns: Some(engine.as_nanoseconds()),
            at_ns: None,
            observed_at_ns: None,
            interaction_at_ns: None,
            own: false,
            host: None,
            country: None,
            session_hash: None,
            user_hash: None,
            user_proof: None,
            authentication: None,
            ruling: None,
            crawler: None,
            clearance: Clearance::None,
            reader: Reader::Program,
            prints: PrintFacts::default(),
            observation: None,
            login: None,
        }
    }
}

impl From<&Authentication> for AuthenticationRecord {
    fn from(authentication: &Authentication) -> Self {
        Self {
            age_ns: u64::try_from(authentication.age.as_nanos()).unwrap_or(u64::MAX),
            acr: authentication.acr.as_ref().map(ToString::to_string),
        }
    }
}

fn crawler_record(crawler: &Crawler) -> Option<CrawlerRecord> {
    Some(match crawler {
        Crawler::No => return None,
        Crawler::Unknown { name } => CrawlerRecord::Unknown(name.to_string()),
        Crawler::Verified { name } => CrawlerRecord::Verified(name.to_string()),
        Crawler::False { name } => CrawlerRecord::False(name.to_string()),
    })
}

impl From<&Observation> for ObservationRecord {
    fn from(observation: &Observation) -> Self {
        Self {
            user: observation.user.map(|hash| hash.to_string()),
            owner: observation.owner.map(|hash| hash.to_string()),
            records: observation.records,
            login: observation.login,
            fresh_auth: observation.fresh_auth,
        }
    }
}

#[cfg(test)]
mod tests;
