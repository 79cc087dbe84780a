//! What the engine is told. Built by the inlets; recorded by the audit log so that a decision can
//! be made again from its record.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde::{Deserialize, Serialize};

use super::prints::PrintFacts;
use crate::words::address::ClientAddress;
use crate::words::identity::{
    Authentication, Crawler, KeyIdentity, SessionIdentity, UserHash, UserIdentity,
};
use crate::words::key::KeyRuling;

/// One request, before it is answered.
#[derive(Clone, Debug)]
pub struct RequestFacts {
    /// Who sends it, by address.
    pub client: ClientAddress,
    /// What the address tables say.
    pub network: NetworkFacts,
    /// What the operator's lists and earlier bans say of the address.
    pub standing: Standing,
    /// The API key it carries, verified or not.
    pub key: Option<KeyIdentity>,
    /// What the operator decided about that key.
    pub ruling: KeyRuling,
    /// The session it carries, verified or not.
    pub session: Option<SessionIdentity>,
    /// The user it names.
    pub user: Option<UserIdentity>,
    /// How long ago that user proved who they are, where a verified token says so.
    pub authentication: Option<Authentication>,
    /// Whether it comes from the crawler that it claims to be.
    pub crawler: Crawler,
    /// Whether it brings the clearance of a solved challenge, for its session and fingerprint.
    pub clearance: Clearance,
    /// Who would read an answer.
    pub reader: Reader,
    /// Canonical authority that is asked for, without the port.
    pub host: Arc<str>,
    /// Keyed hash of what the client looks like for as long as it is the same: of its User-Agent, and
    /// of what lasts of its JA4. Tokens and clearances are bound to it.
    pub fingerprint: u64,
    /// What its prints say of it.
    pub prints: PrintFacts,
    /// HTTP method.
    pub method: Method,
    /// Decoded, dot-normalised path: starts with `/`, no empty or dot segments.
    pub path: Arc<str>,
    /// Query string as sent, without the `?`; empty when there is none.
    pub query: Arc<str>,
}

impl RequestFacts {
    /// A request of which nothing more is known: no key, no session, an unlisted address.
    #[must_use]
    pub fn anonymous(client: ClientAddress, method: Method, path: &str, query: &str) -> Self {
        Self {
            client,
            network: NetworkFacts::default(),
            standing: Standing::Unlisted,
            key: None,
            ruling: KeyRuling::default(),
            session: None,
            user: None,
            authentication: None,
            crawler: Crawler::No,
            clearance: Clearance::None,
            reader: Reader::Program,
            host: Arc::from(""),
            fingerprint: 0,
            prints: PrintFacts::default(),
            method,
            path: Arc::from(path),
            query: Arc::from(query),
        }
    }
}

/// Whether a request brings the clearance of a solved challenge.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Clearance {
    /// None, or one that is not good: expired, forged, or another client's.
    #[default]
    None,
    /// Made for this session and fingerprint, and not expired.
    Valid,
}

/// Who would read an answer, by the header fields of the request.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reader {
    /// A person: a browser would show it (GET or HEAD that accepts HTML).
    Page,
    /// A script in a browser's page (Fetch Metadata, W3C, says so).
    Script,
    /// A program, as far as can be seen.
    #[default]
    Program,
}

/// What the ASN table and the hosting lists say of an address.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NetworkFacts {
    /// Country by ISO 3166-1 alpha-2, as the country table has it.
    pub country: Option<Country>,
    /// Autonomous system that announces the address.
    pub asn: Option<Asn>,
    /// Whether that system is one of machines.
    pub hosting: Hosting,
}

/// An autonomous system.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asn {
    /// AS number.
    pub number: u32,
    /// Its name in the table.
    pub name: Arc<str>,
    /// Which table says so: file name and data date, for the evidence.
    pub table: Arc<str>,
}

/// A country code of two upper-case letters.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Country([u8; 2]);

impl Country {
    /// From a code such as `de` or `DE`; `None` where it is not two letters.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        match code.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Some(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => None,
        }
    }
}

impl std::fmt::Display for Country {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0
            .iter()
            .try_for_each(|octet| write!(f, "{}", char::from(*octet)))
    }
}

/// Text that is not a country code.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not a country code of two letters")]
pub struct CountryError(String);

impl TryFrom<String> for Country {
    type Error = CountryError;

    fn try_from(code: String) -> Result<Self, CountryError> {
        Self::parse(&code).ok_or(CountryError(code))
    }
}

impl From<Country> for String {
    fn from(country: Country) -> Self {
        country.to_string()
    }
}

/// Whether an autonomous system rents out machines.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Hosting {
    /// No list names it.
    #[default]
    Unlisted,
    /// The ASN table and the named list agree.
    Verified {
        /// Which list: `built-in`, or the operator's file.
        list: Arc<str>,
    },
}

/// What lists and bans say of an address, before any score.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Standing {
    /// Nothing.
    #[default]
    Unlisted,
    /// On the operator's allow list, which beats every block.
    Allowed,
    /// Covered by a live block, which the kernel would have dropped had it been attached in time.
    Blocked {
        /// The most specific live block: its network, origin and reason, for the record.
        rule: Arc<str>,
    },
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ResponseFacts {
    /// Who answered.
    pub answered_by: AnsweredBy,
    /// Status sent to the client.
    pub status: u16,
    /// Bytes of the request body.
    pub bytes_in: u64,
    /// Bytes of the response body.
    pub bytes_out: u64,
    /// Time from the forwarded request to the head of the upstream's response, if forwarded.
    pub upstream: Option<Duration>,
    /// Time from the request's head to the end of the response.
    pub total: Duration,
    /// What the application said of it by a signed `Botguard-Observe`.
    pub observation: Option<Observation>,
    /// The login that it tried, on a route that reads them.
    pub login: Option<LoginAttempt>,
}

/// A login, as its request and its answer show it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LoginAttempt {
    /// Whose.
    pub name: LoginName,
    /// How it ended, where somebody says so.
    pub outcome: Option<Login>,
}

/// The user that a login is for, who is not known to be its sender.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LoginName {
    /// By keyed hash of the name, without spaces around it and in lower case.
    Hashed(UserHash),
    /// It was not read.
    Unread(Unread),
}

/// Why a login's user was not read. No error: the request passes all the same.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unread {
    /// The body has no such field, or no text in it.
    Absent,
    /// The field stands there more than once.
    Doubled,
    /// The body or the name is larger than is looked into.
    TooLarge,
    /// The body has a content coding.
    Encoded,
    /// The body is not of the form that was configured.
    Malformed,
    /// The body had not ended when the response did.
    Unfinished,
    /// The listener looks into no bodies.
    Off,
}

/// The application's own word on a request, its signature verified.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Observation {
    /// Keyed hash of the user that it was for.
    pub user: Option<UserHash>,
    /// Keyed hash of the owner of what was asked for.
    pub owner: Option<UserHash>,
    /// Records that were disclosed.
    pub records: Option<u64>,
    /// How a login ended.
    pub login: Option<Login>,
    /// The user has just proved who they are.
    pub fresh_auth: bool,
}

/// How a login ended, in the application's words.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Login {
    /// The user is in.
    Ok,
    /// Wrong password, or another factor.
    Fail,
    /// There is no such user.
    UnknownUser,
}

/// Who produced a response. Only the upstream's word makes an identity accepted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AnsweredBy {
    /// The upstream application.
    Upstream,
    /// botguard: a denial, a reserved path, or an error of the upstream's connection.
    Botguard,
}

/// A verified, one-use interaction token was spent: somebody touched the page.
#[derive(Clone, Debug)]
pub struct InteractionFacts {
    /// Who sent it.
    pub client: ClientAddress,
    /// The key whose page it came from.
    pub key: Option<KeyIdentity>,
    /// The session whose page it came from.
    pub session: Option<SessionIdentity>,
}
