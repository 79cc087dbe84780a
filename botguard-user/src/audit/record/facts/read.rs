//! From records back to what the engine was given.

use std::time::Duration;

use http::Method;

use super::{AuthenticationRecord, CrawlerRecord, LoginRecord, ObservationRecord, StandingRecord};
use crate::audit::record::{CloseRecord, RequestRecord, TimingRecord};
use crate::engine::facts::{
    AnsweredBy, Asn, Hosting, InteractionFacts, LoginAttempt, LoginName, NetworkFacts, Observation,
    RequestFacts, ResponseFacts, Standing,
};
use crate::words::address::ClientAddress;
use crate::words::clock::Monotonic;
use crate::words::identity::{
    Authentication, Crawler, KeyHash, KeyIdentity, SessionHash, SessionIdentity, UserHash,
    UserIdentity,
};

/// A record does not say what the engine was given.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum Unreplayable {
    /// It was written by a version that did not record everything.
    #[error("written by an earlier version")]
    Earlier,
    /// The request had no single meaning, and was refused before it was judged.
    #[error("refused before it was judged")]
    Unjudged,
    /// A field is there and means nothing. Written by a later version, or damaged.
    #[error("a field of it cannot be read")]
    Malformed,
}

impl RequestRecord {
    /// What the engine was given, and when.
    pub fn request_facts(&self) -> Result<(Monotonic, RequestFacts), Unreplayable> {
        let of = &self.facts;
        if of.engine_ns.is_none() {
            return Err(Unreplayable::Earlier);
        }
        let at = instant(of.at_ns).ok_or(Unreplayable::Unjudged)?;
        let facts = self.parsed_facts().ok_or(Unreplayable::Malformed)?;
        Ok((at, facts))
    }

    fn parsed_facts(&self) -> Option<RequestFacts> {
        let of = &self.facts;
        let asn = match (self.client.asn, &self.client.as_name, &of.asn_table) {
            (Some(number), Some(name), Some(table)) => Some(Asn {
                number,
                name: name.as_str().into(),
                table: table.as_str().into(),
            }),
            _ => None,
        };
        let session = hash(&of.session_hash)?.map(|hash| SessionIdentity {
            hash: SessionHash(hash),
        });
        let user = match (hash(&of.user_hash)?, of.user_proof) {
            (Some(hash), Some(proof)) => Some(UserIdentity {
                hash: UserHash(hash),
                proof,
            }),
            _ => None,
        };
        Some(RequestFacts {
            client: ClientAddress::behind(self.client.peer, self.client.ip, self.client.via),
            network: NetworkFacts {
                country: of.country,
                asn,
                hosting: match &of.hosting_list {
                    None => Hosting::Unlisted,
                    Some(list) => Hosting::Verified {
                        list: list.as_str().into(),
                    },
                },
            },
            standing: match &of.standing {
                StandingRecord::Unlisted => Standing::Unlisted,
                StandingRecord::Allowed => Standing::Allowed,
                StandingRecord::Blocked(rule) => Standing::Blocked {
                    rule: rule.as_str().into(),
                },
            },
            key: self.key()?,
            ruling: of.ruling.unwrap_or_default(),
            session,
            user,
            authentication: of.authentication.as_ref().map(Into::into),
            crawler: crawler(of.crawler.as_ref()),
            clearance: of.clearance,
            reader: of.reader,
            host: of.host.as_deref()?.into(),
            fingerprint: u64::from_str_radix(&of.fingerprint, 16).ok()?,
            prints: of.prints,
            method: Method::from_bytes(self.http.method.as_bytes()).ok()?,
            path: self.http.path.as_str().into(),
            query: self.http.query.as_str().into(),
        })
    }

    /// `Some(None)` of a request without one.
    fn key(&self) -> Option<Option<KeyIdentity>> {
        let Some(hash) = hash(&self.facts.key_hash)? else {
            return Some(None);
        };
        Some(Some(KeyIdentity {
            public_id: self.identity.key_id.as_deref()?.into(),
            shown: self.identity.key.as_deref()?.into(),
            hash: KeyHash(hash),
            tier: self.identity.tier.as_deref().map(Into::into),
        }))
    }

    /// What the engine was told of the request's end, and when; none where it was not, or not yet.
    #[must_use]
    pub fn response_facts(&self) -> Option<(Monotonic, ResponseFacts)> {
        let at = instant(self.facts.observed_at_ns)?;
        let observation = observation(self.facts.observation.as_ref())?;
        let response = ResponseFacts {
            answered_by: self.facts.answered_by,
            status: self.http.status?,
            bytes_in: self.http.bytes_in,
            bytes_out: self.http.bytes_out,
            observation,
            login: login(self.facts.login.as_ref())?,
            ..self.timing.response()
        };
        Some((at, response))
    }

    /// What the engine was told of a touch of the page, and when.
    #[must_use]
    pub fn interaction_facts(&self) -> Option<(Monotonic, InteractionFacts)> {
        let at = instant(self.facts.interaction_at_ns)?;
        let client = ClientAddress::behind(self.client.peer, self.client.ip, self.client.via);
        let facts = InteractionFacts {
            client,
            key: self.key()?,
            session: hash(&self.facts.session_hash)?.map(|hash| SessionIdentity {
                hash: SessionHash(hash),
            }),
        };
        Some((at, facts))
    }
}

impl CloseRecord {
    /// What the engine was told of the request's end, and when.
    #[must_use]
    pub fn response_facts(&self) -> Option<(Monotonic, ResponseFacts)> {
        let at = instant(self.observed_at_ns)?;
        let response = ResponseFacts {
            answered_by: self.answered_by?,
            status: self.status,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            observation: observation(self.observation.as_ref())?,
            login: login(self.login.as_ref())?,
            ..self.timing.response()
        };
        Some((at, response))
    }
}

impl TimingRecord {
    pub(super) fn response(&self) -> ResponseFacts {
        ResponseFacts {
            answered_by: AnsweredBy::Botguard,
            status: 0,
            bytes_in: 0,
            bytes_out: 0,
            upstream: self.upstream_us.map(duration),
            total: duration(self.total_us),
            observation: None,
            login: None,
        }
    }
}

/// The whole nanoseconds that `microseconds` was given; exact up to 26 days.
fn duration(us: f64) -> Duration {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates; a negative number was written by nobody"
    )]
    Duration::from_nanos((us * 1_000.0).round() as u64)
}

fn instant(ns: Option<u64>) -> Option<Monotonic> {
    ns.map(|ns| Monotonic::from_boot(Duration::from_nanos(ns)))
}

/// `Some(None)` where there is none, `None` where it is no hash.
fn hash(text: &Option<String>) -> Option<Option<u128>> {
    match text {
        None => Some(None),
        Some(text) => u128::from_str_radix(text, 16).ok().map(Some),
    }
}

impl From<&AuthenticationRecord> for Authentication {
    fn from(record: &AuthenticationRecord) -> Self {
        Self {
            age: Duration::from_nanos(record.age_ns),
            acr: record.acr.as_deref().map(Into::into),
        }
    }
}

fn crawler(record: Option<&CrawlerRecord>) -> Crawler {
    match record {
        None => Crawler::No,
        Some(CrawlerRecord::Unknown(name)) => Crawler::Unknown {
            name: name.as_str().into(),
        },
        Some(CrawlerRecord::Verified(name)) => Crawler::Verified {
            name: name.as_str().into(),
        },
        Some(CrawlerRecord::False(name)) => Crawler::False {
            name: name.as_str().into(),
        },
    }
}

/// `Some(None)` where there is none, `None` where it cannot be read.
fn observation(record: Option<&ObservationRecord>) -> Option<Option<Observation>> {
    let Some(record) = record else {
        return Some(None);
    };
    Some(Some(Observation {
        user: hash(&record.user)?.map(UserHash),
        owner: hash(&record.owner)?.map(UserHash),
        records: record.records,
        login: record.login,
        fresh_auth: record.fresh_auth,
    }))
}

/// `Some(None)` where there is none, `None` where it cannot be read.
fn login(record: Option<&LoginRecord>) -> Option<Option<LoginAttempt>> {
    let Some(record) = record else {
        return Some(None);
    };
    let name = match (hash(&record.user)?, record.unread) {
        (Some(hash), None) => LoginName::Hashed(UserHash(hash)),
        (None, Some(why)) => LoginName::Unread(why),
        _ => return None,
    };
    Some(Some(LoginAttempt {
        name,
        outcome: record.outcome,
    }))
}
