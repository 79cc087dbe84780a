//! What is kept of a request between its head and the end of its response, and the audit record
//! that becomes of it. Secrets are redacted at the head already; none is kept.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Method, Version};

use super::{Settling, View};
use crate::audit::record::{
    ClientRecord, CloseRecord, DecisionRecord, EnforcementRecord, FactsRecord, HttpRecord,
    IdentityRecord, RequestRecord, TimingRecord, Told, UpstreamFailureRecord, groups,
};
use crate::edge::gate::{BrokenBy, RefusedRequest};
use crate::edge::identity::KeyHasher;
use crate::edge::prints::Prints;
use crate::edge::redact::{Redactor, without_user};
use crate::engine::decision::{Action, BanProposal, Decision};
use crate::engine::facts::{AnsweredBy, NetworkFacts, RequestFacts, ResponseFacts};
use crate::engine::{Pending, weights};
use crate::telemetry::request_metrics::RouteMetrics;
use crate::words::clock::Monotonic;
use crate::words::header_lines::HeaderLines;
use crate::words::identity::ClientClass;
use crate::words::points::Points;

/// A request that was decided and has not ended.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    pub(super) facts: RequestFacts,
    pub(super) decision: Decision,
    /// None of a request that is no evidence.
    pub(super) pending: Option<Pending>,
    pub(super) request_id: Arc<str>,
    pub(super) policy_hash: Arc<str>,
    /// When the engine began.
    pub(super) engine: Monotonic,
    /// When it was asked, by its own time.
    pub(super) asked: Monotonic,
    /// When it had decided.
    pub(super) decided: Monotonic,
    pub(super) elapsed: Duration,
    /// Refused since it could not be recorded.
    pub(super) unrecordable: bool,
    pub(super) redacted: Redacted,
    pub(super) prints: Prints,
    /// Of its route.
    pub(super) metrics: Arc<RouteMetrics>,
}

/// How a request ended, and what came of it.
pub(super) struct Ending<'a> {
    pub(super) response: &'a ResponseFacts,
    pub(super) broken_off: Option<BrokenBy>,
    pub(super) upstream_failure: Option<UpstreamFailureRecord>,
    pub(super) ban: Option<&'a BanProposal>,
    /// When the engine was told of it.
    pub(super) observed: Option<Monotonic>,
    /// When the engine was told of a touch of the page by this request.
    pub(super) interaction: Option<Monotonic>,
}

impl InFlight {
    pub(super) fn request_id(&self) -> &str {
        &self.request_id
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
            login: None,
        };
        let mut record = self.clone().into_record(&Ending {
            response: &so_far,
            broken_off: None,
            upstream_failure: None,
            ban: None,
            observed: None,
            interaction: None,
        });
        record.partial = true;
        record.http.status = None;
        record
    }

    /// What is left to say of a request that has its partial record.
    pub(super) fn close_record(&self, ending: &Ending<'_>) -> CloseRecord {
        let response = ending.response;
        CloseRecord {
            request_id: self.request_id.to_string(),
            status: response.status,
            bytes_in: response.bytes_in,
            bytes_out: response.bytes_out,
            broken_off: ending.broken_off.map(side),
            timing: TimingRecord::of(self.elapsed, response),
            observed_at_ns: ending.observed.map(Monotonic::as_nanoseconds),
            answered_by: Some(response.answered_by),
            observation: response.observation.as_ref().map(Into::into),
            login: response.login.as_ref().map(Into::into),
            upstream_failure: ending.upstream_failure.clone(),
        }
    }

    /// The request's one record.
    pub(super) fn into_record(self, ending: &Ending<'_>) -> RequestRecord {
        let Ending {
            response,
            broken_off,
            ban,
            ..
        } = *ending;
        let told = Told {
            engine: self.engine,
            decided: Some(self.asked),
            observed: ending.observed,
            interaction: ending.interaction,
        };
        let pair_ban = self.decision.pair_ban.as_ref();
        let decision = &self.decision;
        let score = &decision.score;
        RequestRecord {
            partial: false,
            request_id: self.request_id.to_string(),
            policy: self.policy_hash.to_string(),
            client: with_prints(ClientRecord::of(&self.facts), &self.prints),
            identity: IdentityRecord::of(&self.facts, decision.class),
            facts: FactsRecord {
                own: self.pending.is_none(),
                ..FactsRecord::of(&self.facts, response, &told)
            },
            raw: score.raw,
            score: score.score,
            groups: groups(score),
            caps: (score.groups.iter())
                .map(|group| (group.group, weights::cap(group.group)))
                .collect(),
            signals: score.signals.iter().map(Into::into).collect(),
            trust: score.trust.iter().map(Into::into).collect(),
            decision: DecisionRecord {
                unrecordable: self.unrecordable,
                ..DecisionRecord::of(decision)
            },
            enforcement: (ban.map(EnforcementRecord::of_ban))
                .or_else(|| Some(EnforcementRecord::of_pair(pair_ban?, &self.facts))),
            timing: TimingRecord::of(self.elapsed, response),
            upstream_failure: ending.upstream_failure.clone(),
            http: HttpRecord {
                path: self.facts.path.to_string(),
                query: self.facts.query.to_string(),
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
    request_id: &str,
    network: NetworkFacts,
    head: RefusedHead,
    facts: FactsRecord,
) -> RequestRecord {
    let response = ResponseFacts {
        answered_by: AnsweredBy::Botguard,
        status: request.status,
        bytes_in: 0,
        bytes_out: 0,
        upstream: None,
        total: Duration::ZERO,
        observation: None,
        login: None,
    };
    RequestRecord {
        partial: false,
        request_id: request_id.to_owned(),
        policy: view.policy_hash.to_string(),
        client: with_prints(ClientRecord::at(request.client, &network), request.prints),
        identity: IdentityRecord::unknown(ClientClass::Any),
        facts,
        raw: Points::ZERO,
        score: Points::ZERO,
        groups: [].into(),
        caps: [].into(),
        signals: Vec::new(),
        trust: Vec::new(),
        decision: DecisionRecord {
            action: Action::Block,
            would: Action::Block,
            mode: view.policy.mode(),
            route: "default".to_owned(),
            threshold: None,
            thresholds: view.policy.default_thresholds(),
            reason: format!("refused in every mode: {}", request.reason),
            limit: None,
            key_state: None,
            unrecordable: false,
        },
        enforcement: None,
        timing: TimingRecord::of(Duration::ZERO, &response),
        upstream_failure: None,
        http: HttpRecord {
            path: head.path,
            query: head.query,
            route: "default".to_owned(),
            status: Some(request.status),
            ..head.redacted.into_record()
        },
    }
}

/// The head of such a request, without secrets.
pub(super) struct RefusedHead {
    redacted: Redacted,
    path: String,
    query: String,
}

impl RefusedHead {
    pub(super) fn of(request: &RefusedRequest<'_>, view: &View, hasher: &KeyHasher) -> Self {
        let parts = request.parts;
        let authority = parts.uri.authority().map_or("", |it| it.as_str());
        let query = parts.uri.query().unwrap_or_default();
        let secrets = view.identity.secrets(&parts.headers, query);
        let redactor = Redactor::new((&view.identity, hasher), &secrets, None);
        Self {
            redacted: Redacted::of(parts, authority, &redactor),
            path: redactor.path(parts.uri.path()).into_owned(),
            query: redactor.query(query).into_owned(),
        }
    }
}

/// A head without its secrets, as far as no facts have it.
#[derive(Clone, Debug)]
pub(super) struct Redacted {
    version: Version,
    method: Method,
    host: String,
    headers: HeaderLines,
}

impl Redacted {
    pub(super) fn of(parts: &Parts, authority: &str, redactor: &Redactor<'_>) -> Self {
        Self {
            version: parts.version,
            method: parts.method.clone(),
            host: without_user(authority).to_owned(),
            headers: redactor.headers(&parts.headers),
        }
    }

    /// What is known at the head; the rest is filled in by the caller.
    fn into_record(self) -> HttpRecord {
        HttpRecord {
            version: format!("{:?}", self.version),
            method: self.method.to_string(),
            host: self.host,
            path: String::new(),
            query: String::new(),
            route: String::new(),
            status: None,
            bytes_in: 0,
            bytes_out: 0,
            headers: self.headers,
            broken_off: None,
        }
    }
}

fn with_prints(client: ClientRecord, prints: &Prints) -> ClientRecord {
    ClientRecord {
        ja4: prints.ja4().map(|ja4| ja4.as_str().to_owned()),
        h2: prints.http2().map(ToOwned::to_owned),
        header_shape: prints.header_shape().map(|shape| shape.to_string()),
        ..client
    }
}

fn side(by: BrokenBy) -> String {
    match by {
        BrokenBy::Client => "client",
        BrokenBy::Upstream => "upstream",
    }
    .to_owned()
}
