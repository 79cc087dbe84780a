//! What is kept of a request between its head and the end of its response, and the audit record
//! that becomes of it. Secrets are redacted at the head already; none is kept.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Method, Version};

use super::{Settling, View};
use crate::audit::record::{
    ClientRecord, CloseRecord, DecisionRecord, EnforcementRecord, FactsRecord, HttpRecord,
    IdentityRecord, RequestRecord, StandingRecord, TimingRecord, groups,
};
use crate::edge::gate::{BrokenBy, RefusedRequest, RequestHead};
use crate::edge::identity::KeyHasher;
use crate::edge::redact::{Redactor, without_user};
use crate::engine::decision::{Action, BanProposal, Decision};
use crate::engine::facts::{AnsweredBy, NetworkFacts, RequestFacts, ResponseFacts};
use crate::engine::{Pending, weights};
use crate::words::block::Origin;
use crate::words::clock::Monotonic;
use crate::words::identity::ClientClass;
use crate::words::points::Points;

/// A request that was decided and has not ended.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    pub(super) facts: RequestFacts,
    pub(super) decision: Decision,
    /// None of a request that is no evidence.
    pub(super) pending: Option<Pending>,
    request_id: Arc<str>,
    policy_hash: Arc<str>,
    decided: Monotonic,
    elapsed: Duration,
    redacted: Redacted,
}

/// What the engine made of a request, and when.
pub(super) struct Decided {
    pub(super) request_id: Arc<str>,
    pub(super) facts: RequestFacts,
    pub(super) decision: Decision,
    pub(super) pending: Option<Pending>,
    pub(super) decided: Monotonic,
    pub(super) elapsed: Duration,
}

impl InFlight {
    pub(super) fn new(
        head: &RequestHead<'_>,
        view: &View,
        hasher: &KeyHasher,
        decided: Decided,
    ) -> Self {
        Self {
            facts: decided.facts,
            decision: decided.decision,
            pending: decided.pending,
            request_id: decided.request_id,
            policy_hash: Arc::clone(&view.policy_hash),
            decided: decided.decided,
            elapsed: decided.elapsed,
            redacted: Redacted::of(head.parts, head.authority, view, hasher),
        }
    }

    pub(super) fn settling(&self) -> Settling {
        Settling {
            request_id: Arc::clone(&self.request_id),
            decided: self.decided,
        }
    }

    /// When it was decided.
    pub(super) const fn decided(&self) -> Monotonic {
        self.decided
    }

    /// The record of a request that goes on: who asked for what, and why it was let through.
    pub(super) fn partial_record(&self, now: Monotonic) -> RequestRecord {
        let so_far = ResponseFacts {
            // A denial is answered at once; what lasts is the application's.
            answered_by: match self.decision.denial {
                Some(_) => AnsweredBy::Botguard,
                None => AnsweredBy::Upstream,
            },
            status: 0,
            bytes_in: 0,
            bytes_out: 0,
            upstream: None,
            total: now.since(self.decided),
            observation: None,
        };
        let mut record = self.clone().into_record(&so_far, None, None);
        record.partial = true;
        record.http.status = None;
        record
    }

    /// What is left to say of a request that has its partial record.
    pub(super) fn close_record(
        &self,
        response: &ResponseFacts,
        broken_off: Option<BrokenBy>,
    ) -> CloseRecord {
        CloseRecord {
            request_id: self.request_id.to_string(),
            status: response.status,
            bytes_in: response.bytes_in,
            bytes_out: response.bytes_out,
            broken_off: broken_off.map(side),
            timing: TimingRecord::of(self.elapsed, response),
        }
    }

    /// The request's one record.
    pub(super) fn into_record(
        self,
        response: &ResponseFacts,
        broken_off: Option<BrokenBy>,
        ban: Option<&BanProposal>,
    ) -> RequestRecord {
        let decision = &self.decision;
        let score = &decision.score;
        RequestRecord {
            partial: false,
            request_id: self.request_id.to_string(),
            policy: self.policy_hash.to_string(),
            client: ClientRecord::of(&self.facts),
            identity: IdentityRecord::of(&self.facts, decision.class),
            facts: FactsRecord::of(&self.facts, response),
            raw: score.raw,
            score: score.score,
            groups: groups(score),
            caps: (score.groups.iter())
                .map(|group| (group.group, weights::cap(group.group)))
                .collect(),
            signals: score.signals.iter().map(Into::into).collect(),
            decision: DecisionRecord::of(decision),
            enforcement: ban.map(|ban| EnforcementRecord {
                target: ban.network.to_string(),
                ttl_s: ban.ttl.as_secs(),
                rule: Origin::Automatic.name().to_owned(),
                durable: false,
            }),
            timing: TimingRecord::of(self.elapsed, response),
            http: HttpRecord {
                path: self.facts.path.to_string(),
                route: decision.route.to_string(),
                status: Some(response.status),
                bytes_in: response.bytes_in,
                bytes_out: response.bytes_out,
                broken_off: broken_off.map(side),
                ..self.redacted.into_record()
            },
        }
    }
}

/// The record of a request that has no single meaning: answered 400 without being judged.
pub(super) fn refused_record(
    request: &RefusedRequest<'_>,
    view: &View,
    hasher: &KeyHasher,
    request_id: &str,
    network: NetworkFacts,
) -> RequestRecord {
    let response = ResponseFacts {
        answered_by: AnsweredBy::Botguard,
        status: request.status,
        bytes_in: 0,
        bytes_out: 0,
        upstream: None,
        total: Duration::ZERO,
        observation: None,
    };
    let authority = request.parts.uri.authority().map_or("", |it| it.as_str());
    let query = request.parts.uri.query().unwrap_or_default();
    let path = Redactor::new(&view.identity, hasher).path(
        &request.parts.headers,
        query,
        request.parts.uri.path(),
    );
    RequestRecord {
        partial: false,
        request_id: request_id.to_owned(),
        policy: view.policy_hash.to_string(),
        client: ClientRecord::at(request.client, &network),
        identity: IdentityRecord::unknown(ClientClass::Any),
        facts: FactsRecord {
            fingerprint: format!("{:016x}", hasher.fingerprint(&request.parts.headers)),
            key_hash: None,
            standing: StandingRecord::Unlisted,
            asn_table: None,
            hosting_list: None,
            answered_by: AnsweredBy::Botguard,
        },
        raw: Points::ZERO,
        score: Points::ZERO,
        groups: [].into(),
        caps: [].into(),
        signals: Vec::new(),
        decision: DecisionRecord {
            action: Action::Block,
            would: Action::Block,
            mode: view.policy.mode(),
            route: "default".to_owned(),
            threshold: None,
            thresholds: view.policy.default_thresholds(),
            reason: format!("refused in every mode: {}", request.reason),
        },
        enforcement: None,
        timing: TimingRecord::of(Duration::ZERO, &response),
        http: HttpRecord {
            path,
            route: "default".to_owned(),
            status: Some(request.status),
            ..Redacted::of(request.parts, authority, view, hasher).into_record()
        },
    }
}

/// Methods as metric labels: a client may make up any number of others.
pub(super) fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// A head without its secrets.
#[derive(Clone, Debug)]
struct Redacted {
    version: Version,
    method: Method,
    host: String,
    query: String,
    headers: Vec<[String; 2]>,
}

impl Redacted {
    fn of(parts: &Parts, authority: &str, view: &View, hasher: &KeyHasher) -> Self {
        let redactor = Redactor::new(&view.identity, hasher);
        let query = parts.uri.query().unwrap_or_default();
        Self {
            version: parts.version,
            method: parts.method.clone(),
            host: without_user(authority).to_owned(),
            query: redactor.query(&parts.headers, query),
            headers: redactor.headers(&parts.headers, query),
        }
    }

    /// What is known at the head; the rest is filled in by the caller.
    fn into_record(self) -> HttpRecord {
        HttpRecord {
            version: format!("{:?}", self.version),
            method: self.method.to_string(),
            host: self.host,
            path: String::new(),
            query: self.query,
            route: String::new(),
            status: None,
            bytes_in: 0,
            bytes_out: 0,
            headers: self.headers,
            broken_off: None,
        }
    }
}

fn side(by: BrokenBy) -> String {
    match by {
        BrokenBy::Client => "client",
        BrokenBy::Upstream => "upstream",
    }
    .to_owned()
}
