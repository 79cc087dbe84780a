//! The one question the edge asks: may this request pass? Control answers it (`daemon`), so that
//! the edge knows neither engine state, nor audit, nor enforcement.

use std::net::SocketAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderName, HeaderValue};

use super::observe::Observed;
use super::prints::Prints;
use super::upstream::Endpoint;
use crate::engine::decision::{BanProposal, Denial, LimitState};
use crate::engine::facts::{Observation, ResponseFacts};
use crate::engine::policy::login::LoginRule;
use crate::words::address::ClientAddress;
use crate::words::identity::UserHash;

/// Answers the edge's question. Synchronous: nothing in it may block or wait.
pub trait Gate: Send + Sync + 'static {
    /// Judges one request at the end of its head.
    fn admit(&self, request: &RequestHead<'_>) -> Admission;

    /// Told exactly once for each [`Admission`], when the response has ended or broken off. The
    /// returned closing says what to do to the client's connections.
    fn finish(&self, ticket: Ticket, response: &ResponseFacts) -> Closing;

    /// Told, before [`Gate::finish`], of a response that did not end by itself. Does nothing unless
    /// the implementation wants to record it.
    fn broken_off(&self, _ticket: &mut Ticket, _by: BrokenBy) {}

    /// Told, before [`Gate::finish`], of a request that the upstream gave no response to, which is
    /// answered 502, 503 or 504. Does nothing unless the implementation wants to record it.
    fn upstream_failed(&self, _ticket: &mut Ticket, _failed: &FailedUpstream<'_>) {}

    /// What is kept of an application's signed word on a request, which the response facts then
    /// carry. Names have to become keyed hashes; without an implementation none is kept.
    fn observation(&self, observed: &Observed) -> Observation {
        observed.kept(|_name| None)
    }

    /// What is kept of the name of a login's user: its keyed hash. Without an implementation no
    /// login is kept.
    fn user(&self, _name: &str) -> Option<UserHash> {
        None
    }

    /// Where a request carries a secret more than once that may be there only once, as the
    /// configuration writes such places: it is refused, since the application might go by another
    /// one than botguard does. None without an implementation.
    fn doubled_secret(&self, _parts: &Parts) -> Option<String> {
        None
    }

    /// Told of a request that was refused before it could be judged, since it has no single
    /// meaning. The returned id goes into the problem document; without one it has none.
    fn refused(&self, _request: &RefusedRequest<'_>) -> Option<Arc<str>> {
        None
    }

    /// Told once the connections of `ban.target` are closed: only now may the kernel drop its
    /// packets, since the acknowledgements of the last response would be among them.
    fn settle(&self, ban: BanProposal);
}

/// A request's head as it arrived, and what the connection knows.
#[derive(Debug)]
pub struct RequestHead<'a> {
    /// Method, target, version and headers, before any is added or taken away.
    pub parts: &'a Parts,
    /// Decoded, dot-normalised path.
    pub path: &'a str,
    /// `Host` header or `:authority`.
    pub authority: &'a str,
    /// The client, after trusted proxies.
    pub client: ClientAddress,
    /// The local address of the connection.
    pub local: SocketAddr,
    /// Whose answer it asks for.
    pub asks: Asks,
    /// What it and its connection show of who sent it.
    pub prints: &'a Prints,
}

/// Whose answer a request asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Asks {
    /// The upstream's.
    Application,
    /// botguard's own, under the reserved prefix: no evidence about a client, whose page asks for
    /// it on its own.
    Botguard,
}

/// A request without a path or authority that all who read it would agree on.
#[derive(Debug)]
pub struct RefusedRequest<'a> {
    /// Method, target, version and headers as they arrived.
    pub parts: &'a Parts,
    /// The client, after trusted proxies.
    pub client: ClientAddress,
    /// The local address of the connection.
    pub local: SocketAddr,
    /// Status of our answer: 400, 405, 408, 414, 421 or 431.
    pub status: u16,
    /// What is wrong with it, in a sentence.
    pub reason: &'a str,
    /// What it and its connection show of who sent it.
    pub prints: &'a Prints,
}

/// Whose side of an unfinished response went away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BrokenBy {
    /// The client closed its connection or stream. Without a head sent the status is 499.
    Client,
    /// The upstream died after its head; the client's stream was broken off.
    Upstream,
}

/// An upstream that gave no response.
#[derive(Debug)]
pub struct FailedUpstream<'a> {
    /// As the configuration names it.
    pub upstream: &'a str,
    /// Who had the request last; none where it was offered to nobody.
    pub endpoint: Option<&'a Endpoint>,
    /// As in `botguard_upstream_failures_total`.
    pub kind: &'static str,
}

/// The answer.
#[derive(Debug)]
pub struct Admission {
    /// To be handed back to [`Gate::finish`].
    pub ticket: Ticket,
    /// Forward, or deny how.
    pub denial: Option<Denial>,
    /// How its body is read, where it is a login.
    pub login: Option<Arc<LoginRule>>,
    /// The limit that is closest to being used up, told to the client in any case.
    pub limit: Option<LimitState>,
    /// Headers for the upstream: `Botguard-Request-Id`, `-Score`, `-Action`, `-Signals`. The
    /// request id goes into denials too.
    pub upstream_headers: Vec<(HeaderName, HeaderValue)>,
    /// The id that client, upstream, audit record and problem document share.
    pub request_id: Arc<str>,
}

/// What the gate remembers of a request between its two calls. Opaque to the edge.
pub struct Ticket(pub Box<dyn std::any::Any + Send>);

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ticket")
    }
}

/// What becomes of the client's connections once a response has been written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Closing {
    /// They stay.
    Keep,
    /// The source earned a ban with this response: all its connections are closed abortively
    /// (RST), this one after the response was written, and then [`Gate::settle`] is told.
    Ban(BanProposal),
}
