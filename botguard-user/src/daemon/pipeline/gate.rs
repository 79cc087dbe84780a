//! What the edge asks of a request: at its head, and when its response has ended.

use std::sync::Arc;
use std::time::Duration;

use super::in_flight::Recorded;
use super::ticket::{self, Ending, InFlight};
use super::{Held, Pipeline, headers, waiting};
use crate::audit::record::{Event, FactsRecord, UpstreamFailureRecord};
use crate::edge::gate::{
    Admission, Asks, BrokenBy, Closing, FailedUpstream, Gate, RefusedRequest, RequestHead, Ticket,
};
use crate::edge::observe::Observed;
use crate::engine::decision::{BanProposal, Decision, Denial, Reason};
use crate::engine::facts::{Observation, ResponseFacts};
use crate::telemetry::metrics;
use crate::telemetry::request_metrics::RouteMetrics;
use crate::words::clock::{Monotonic, Now, Wall};
use crate::words::identity::UserHash;

impl Gate for Pipeline {
    fn admit(&self, head: &RequestHead<'_>) -> Admission {
        let view = self.view.load();
        let (facts, redacted) = self.facts(head, &view);
        let (asked, decided, elapsed, (decision, pending)) = {
            let mut engine = self.engine.lock();
            // Read under the lock, so that the engine's time never runs backwards.
            let start = Monotonic::read();
            let decided = match head.asks {
                Asks::Application => {
                    let (decision, pending) = engine.decide(start, &facts);
                    (decision, Some(pending))
                }
                Asks::Botguard => (engine.decide_own(&facts), None),
            };
            let end = Monotonic::read();
            (start, end, end.since(start), decided)
        };
        let request_id = self.ids.next();
        let metrics = self.count(&decision, elapsed);
        // Whoever would be let through must leave a record; a denial keeps its own answer.
        let unrecordable = decision.denial.is_none() && !self.audit.admits();
        let denial = match unrecordable {
            true => Some(Denial::Unrecordable),
            false => decision.denial.clone(),
        };
        let limit = decision.limit.clone();
        let upstream_headers = headers::to_upstream(&request_id, &decision);
        let login = (view.policy)
            .login(&facts.host, &facts.method, &facts.path)
            .map(Arc::clone);
        let in_flight = Arc::new(InFlight {
            request_id: Arc::clone(&request_id),
            policy_hash: Arc::clone(&view.policy_hash),
            facts,
            decision,
            pending,
            engine: self.began,
            asked,
            decided,
            elapsed,
            unrecordable,
            redacted,
            prints: head.prints.clone(),
            metrics,
        });
        Admission {
            denial,
            login,
            limit,
            upstream_headers,
            request_id,
            ticket: Ticket(Box::new(Held {
                number: self.requests.begin(Arc::clone(&in_flight)),
                in_flight,
                broken_off: None,
                upstream_failure: None,
            })),
        }
    }

    fn broken_off(&self, ticket: &mut Ticket, by: BrokenBy) {
        if let Some(held) = ticket.0.downcast_mut::<Held>() {
            held.broken_off = Some(by);
        }
    }

    fn upstream_failed(&self, ticket: &mut Ticket, failed: &FailedUpstream<'_>) {
        if let Some(held) = ticket.0.downcast_mut::<Held>() {
            held.upstream_failure = Some(UpstreamFailureRecord {
                upstream: failed.upstream.to_owned(),
                endpoint: failed.endpoint.map(ToString::to_string),
                kind: failed.kind.to_owned(),
            });
        }
    }

    fn observation(&self, observed: &Observed) -> Observation {
        observed.kept(|name| Some(self.hasher.user(name)))
    }

    fn user(&self, name: &str) -> Option<UserHash> {
        Some(self.hasher.user(name))
    }

    fn finish(&self, ticket: Ticket, response: &ResponseFacts) -> Closing {
        let Ok(held) = ticket.0.downcast::<Held>() else {
            // Every ticket is made by `admit`, above.
            return Closing::Keep;
        };
        let Held {
            number,
            in_flight,
            broken_off,
            upstream_failure,
        } = *held;
        let recorded = self.requests.end(number);
        let (observed, n_principals) = {
            let mut engine = self.engine.lock();
            let observed = in_flight.pending.as_ref().map(|pending| {
                let now = Monotonic::read();
                engine.observe(now, pending, response);
                now
            });
            (observed, engine.principals())
        };
        let interaction = match observed {
            Some(_) => None,
            None => self.interactions.lock().remove(in_flight.request_id()),
        };
        self.metrics.principals(n_principals);
        if let Some(upstream) = response.upstream {
            self.metrics.upstream(upstream);
        }
        (in_flight.metrics).ended(&in_flight.facts.method, response.status);
        let ban = self.earned(&in_flight);
        if let Some(ban) = &ban {
            let mut settling = self.settling.lock();
            settling.insert(ban.target, in_flight.settling());
        }
        let ending = Ending {
            response,
            broken_off,
            upstream_failure,
            ban: ban.as_ref(),
            observed,
            interaction,
        };
        let event = match recorded {
            Recorded::No => {
                let in_flight = Arc::unwrap_or_clone(in_flight);
                Event::Request(Box::new(in_flight.into_record(&ending)))
            }
            Recorded::Partially => Event::Close(Box::new(in_flight.close_record(&ending))),
        };
        self.audit.record(Wall::read(), event);
        ban.map_or(Closing::Keep, Closing::Ban)
    }

    fn doubled_secret(&self, parts: &http::request::Parts) -> Option<String> {
        let view = self.view.load();
        let query = parts.uri.query().unwrap_or_default();
        let source = view.identity.doubled(&parts.headers, query)?;
        Some(source.clone().into())
    }

    fn refused(&self, request: &RefusedRequest<'_>) -> Option<Arc<str>> {
        let view = self.view.load();
        let request_id = self.ids.next();
        let network = view.intel.network(request.client.ip());
        let head = ticket::RefusedHead::of(request, &view, &self.hasher);
        let ja4 = request.prints.ja4_of(&request.client);
        let fingerprint = self.hasher.fingerprint(&request.parts.headers, ja4);
        let facts = FactsRecord::unjudged(fingerprint, self.began);
        let record = ticket::refused_record(request, &view, &request_id, network, head, facts);
        let route = self.metrics.route(&"default".into());
        route.ended(&request.parts.method, request.status);
        self.audit
            .record(Wall::read(), Event::Request(Box::new(record)));
        Some(request_id)
    }

    fn settle(&self, ban: BanProposal) {
        let settling = self.settling.lock().remove(&ban.target);
        let outcome = waiting::ban(&self.enforcer, &ban);
        if let Some(settling) = settling {
            self.record_ban(&settling, &ban, &outcome, Now::read());
        }
    }
}

impl Pipeline {
    /// Counts a decision; the metrics of its route, for its end.
    pub(super) fn count(&self, decision: &Decision, elapsed: Duration) -> Arc<RouteMetrics> {
        let score = &decision.score;
        self.metrics.score(score.score.as_decimal(), elapsed);
        for signal in &score.signals {
            self.metrics.signal(signal.id);
        }
        if let Reason::LimitReached { limit } = &decision.reason {
            metrics::limit_exceeded(limit);
        }
        if decision.pair_ban.is_some() {
            metrics::pair_ban();
        }
        let route = self.metrics.route(&decision.route);
        route.decided(decision.action, decision.mode);
        route
    }
}
