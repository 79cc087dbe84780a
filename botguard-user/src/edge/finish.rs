//! The promise that each admission is finished exactly once: a drop guard that travels with the
//! response's body, and so sees its end, the client's leaving, and a cancelled future alike.

use std::sync::Arc;
use std::time::Duration;

use super::body::RequestBytes;
use super::connections::Live;
use super::gate::{BrokenBy, Closing, FailedUpstream, Ticket};
use super::site::Site;
use super::tee::Tee;
use crate::engine::facts::{AnsweredBy, Observation, ResponseFacts};
use crate::words::clock::Monotonic;

/// Calls [`super::gate::Gate::finish`] when dropped.
pub(super) struct Finisher {
    site: Arc<Site>,
    live: Arc<Live>,
    /// `None` only while it is dropped.
    ticket: Option<Ticket>,
    arrived: Monotonic,
    bytes_in: RequestBytes,
    answered_by: AnsweredBy,
    status: u16,
    bytes_out: u64,
    upstream: Option<Duration>,
    observation: Option<Observation>,
    tee: Option<Tee>,
    ending: Ending,
}

#[derive(Clone, Copy)]
enum Ending {
    Complete,
    Broken(BrokenBy),
}

impl Finisher {
    /// For a request that [`Live::request_begins`] knows of.
    pub(super) fn new(
        site: Arc<Site>,
        live: Arc<Live>,
        ticket: Ticket,
        arrived: Monotonic,
        bytes_in: RequestBytes,
    ) -> Self {
        Self {
            site,
            live,
            ticket: Some(ticket),
            arrived,
            bytes_in,
            answered_by: AnsweredBy::Botguard,
            status: CLIENT_CLOSED_REQUEST,
            bytes_out: 0,
            upstream: None,
            observation: None,
            tee: None,
            // Until the body's end is seen: who drops the guard early is hyper, for the client.
            ending: Ending::Broken(BrokenBy::Client),
        }
    }

    /// The connection of the request.
    pub(super) const fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// The head of the response is known.
    pub(super) const fn answered(&mut self, by: AnsweredBy, status: http::StatusCode) {
        self.answered_by = by;
        self.status = status.as_u16();
    }

    /// The upstream took this long to its head, or to its failure.
    pub(super) const fn upstream_took(&mut self, time: Duration) {
        self.upstream = Some(time);
    }

    /// The upstream gave no response.
    pub(super) fn upstream_failed(&mut self, failed: &FailedUpstream<'_>) {
        if let Some(ticket) = &mut self.ticket {
            self.site.edge.gate.upstream_failed(ticket, failed);
        }
    }

    /// The application said this of the request, and is believed.
    pub(super) const fn observed(&mut self, observation: Observation) {
        self.observation = Some(observation);
    }

    /// The request is a login, and this has its body.
    pub(super) fn reads_login(&mut self, tee: Option<Tee>) {
        self.tee = tee;
    }

    /// So many more bytes of the body went to the client.
    pub(super) const fn sent(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
    }

    /// So many bytes went to the client, of whatever kind.
    pub(super) const fn sent_in_all(&mut self, bytes: u64) {
        self.bytes_out = bytes;
    }

    /// The body has ended.
    pub(super) const fn complete(&mut self) {
        self.ending = Ending::Complete;
    }

    /// The upstream died in the middle of the body.
    pub(super) const fn upstream_broke(&mut self) {
        self.ending = Ending::Broken(BrokenBy::Upstream);
    }
}

impl Drop for Finisher {
    fn drop(&mut self) {
        let Some(mut ticket) = self.ticket.take() else {
            return;
        };
        self.live.request_ends();
        let edge = &self.site.edge;
        if let Ending::Broken(by) = self.ending {
            let label = match by {
                BrokenBy::Client => "client",
                BrokenBy::Upstream => "upstream",
            };
            metrics::counter!("botguard_responses_broken_total", "by" => label).increment(1);
            edge.gate.broken_off(&mut ticket, by);
        }
        let login = self.tee.take().and_then(|tee| {
            let answer = (self.answered_by, self.status);
            let hash = |name: &str| edge.gate.user(name);
            tee.attempt(&self.bytes_in, answer, self.observation.as_ref(), hash)
        });
        let facts = ResponseFacts {
            answered_by: self.answered_by,
            status: self.status,
            bytes_in: self.bytes_in.count(),
            bytes_out: self.bytes_out,
            upstream: self.upstream,
            total: Monotonic::read().since(self.arrived),
            observation: self.observation,
            login,
        };
        match edge.gate.finish(ticket, &facts) {
            Closing::Keep => {}
            Closing::Ban(ban) => {
                // A stream of HTTP/2 may outlive its connection's task; then nothing is left to
                // be flushed, and the others' closing is begun, though not waited for.
                if let Err(ban) = self.live.propose(ban) {
                    let closed = edge.connections.close(&ban.network);
                    tracing::debug!(connections = closed.count(), "closed for a ban");
                    edge.gate.settle(ban);
                }
            }
        }
    }
}

/// nginx's status for a client that left before the head of its response: none was sent.
const CLIENT_CLOSED_REQUEST: u16 = 499;
