//! One request and its response: read, judged, then denied, answered or forwarded.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::timeout;

use super::body::{ClientBody, RequestBytes, UpstreamBody};
use super::connections::Live;
use super::denial;
use super::failing;
use super::finish::Finisher;
use super::framing::Violation;
use super::framing::stand_in::first_of;
use super::gate::{Asks, RefusedRequest, RequestHead};
use super::headers::{self, PeerTrust, Way};
use super::hosts::UnknownHost;
use super::observe;
use super::prints::ConnectionPrints;
use super::problem::{self, Problem};
use super::proxy_protocol::Source;
use super::rate_limit;
use super::reserved::MAX_BODY_BYTES;
use super::site::Site;
use super::target::{Target, TargetError};
use super::tee::Tee;
use super::tunnel::{self, Tunnel};
use super::unwanted::ArrivingBody;
use super::upstream::{ResponseBody, UpstreamFailure};
use crate::engine::decision::LimitState;
use crate::engine::facts::AnsweredBy;
use crate::words::address::{ClientAddress, canonical};
use crate::words::clock::Monotonic;

/// What the requests of one connection have in common.
pub(super) struct Exchange {
    pub(super) site: Arc<Site>,
    pub(super) live: Arc<Live>,
    pub(super) peer: IpAddr,
    /// Whom the peer's PROXY protocol header named.
    pub(super) told: Source,
    pub(super) local: SocketAddr,
    pub(super) prints: Arc<ConnectionPrints>,
}

impl Exchange {
    /// The response to `request`. Its body finishes the admission when it ends or is dropped.
    pub(super) async fn answer(&self, mut request: Request<Incoming>) -> Response<ClientBody> {
        let arrived = Monotonic::read();
        let edge = &self.site.edge;
        // Ended by `refuse` or the finisher, with nothing to wait for in between.
        let number = self.live.request_begins();
        let upgrade = tunnel::is_asked(&request).then(|| hyper::upgrade::on(&mut request));
        let (mut parts, body) = request.into_parts();
        let body = ArrivingBody::new(body, &parts);
        if parts.version < Version::HTTP_11 {
            self.live.answers_unframed();
        }
        let client = (edge.trust.load()).client(self.peer, self.told, &parts.headers);
        if let Some(violation) = self.live.refusal_of(number) {
            return self.refuse(&parts, client, &violation.into());
        }
        let target = match self.target(&parts) {
            Ok(target) => target,
            Err(error) => {
                if error == TargetError::Framing(Violation::HeadTooLarge) {
                    // As for HTTP/1. Of what HPACK makes large, a record would be large.
                    parts.headers = first_of(&parts.headers);
                }
                return self.refuse(&parts, client, &error);
            }
        };
        let asks = if edge.reserved.owns(&target.path) {
            Asks::Botguard
        } else {
            Asks::Application
        };
        let prints = self.prints.with(&parts.headers);
        let head = RequestHead {
            parts: &parts,
            path: &target.path,
            authority: &target.authority,
            client,
            local: self.local,
            asks,
            prints: &prints,
        };
        let admission = edge.gate.admit(&head);
        let bytes = RequestBytes::default();
        let mut finisher = Finisher::new(
            Arc::clone(&self.site),
            Arc::clone(&self.live),
            admission.ticket,
            arrived,
            bytes.clone(),
        );
        let id = admission.request_id;
        if let Some(denial) = &admission.denial {
            let limit = admission.limit.as_ref();
            let response = denial::answer(denial, limit, &head, &*edge.reserved, &id);
            return own(response, &parts.method, finisher);
        }
        if asks == Asks::Botguard {
            let whole = Limited::new(body, MAX_BODY_BYTES).collect();
            let response = match timeout(self.site.service().limits.header_timeout, whole).await {
                Ok(Ok(body)) => {
                    let body = body.to_bytes();
                    bytes.add(body.len());
                    edge.reserved.answer(&head, &id, body)
                }
                Ok(Err(_too_long_or_broken)) => problem::reserved_body().response(Some(&id)),
                Err(_elapsed) => Problem::from(&UpstreamFailure::ClientStalled).response(Some(&id)),
            };
            return own(response, &parts.method, finisher);
        }
        let passage = Passage {
            request_id: id,
            client: client.ip(),
            added: admission.upstream_headers,
            limit: admission.limit,
            upgrade,
        };
        let limits = &self.site.service().limits;
        let tee = (admission.login).map(|rule| Tee::new(rule, limits.inspect_body, &parts.headers));
        finisher.reads_login(tee.clone());
        let body = UpstreamBody::new(body, bytes, limits.body).teed(tee);
        self.forward(parts, &target, passage, body, finisher).await
    }

    /// What `parts` ask for, if it is one thing and served here.
    fn target(&self, parts: &Parts) -> Result<Target, TargetError> {
        let service = self.site.service();
        let target = Target::of(parts, &service.limits.head, self.local)?;
        if let Some(place) = self.site.edge.gate.doubled_secret(parts) {
            return Err(TargetError::Doubled(place));
        }
        if !service.hosts.know(&target.authority) {
            metrics::counter!("botguard_unknown_host_total").increment(1);
            if service.hosts.unknown() == UnknownHost::Refuse {
                return Err(TargetError::UnknownHost);
            }
        }
        Ok(target)
    }

    async fn forward(
        &self,
        mut parts: Parts,
        target: &Target,
        passage: Passage,
        body: UpstreamBody,
        mut finisher: Finisher,
    ) -> Response<ClientBody> {
        let request_id = &*passage.request_id;
        let upstream = Arc::clone(&self.site.service().upstream);
        let nearest = match self.told {
            Source::Address(ip) => ip,
            Source::Peer | Source::Unnamed => self.peer,
        };
        let edge = &self.site.edge;
        let own_cookie = edge.reserved.own_cookie();
        let way = Way {
            peer: canonical(nearest),
            peer_trust: match (edge.trust.load()).nearest_proxy(self.peer, self.told) {
                Some(_) => PeerTrust::Trusted,
                None => PeerTrust::Untrusted,
            },
            authority: &target.authority,
            version: parts.version,
            forwarding: upstream.forwarding(),
            own_cookie: own_cookie.as_deref(),
        };
        headers::to_upstream(&mut parts.headers, &way, passage.added);
        if passage.upgrade.is_some() {
            tunnel::ask(&mut parts.headers);
        }
        upstream.sign(&mut parts, passage.client);
        let method = parts.method.clone();
        let bytes = body.bytes().clone();
        let sent = Monotonic::read();
        let mut asked = None;
        let outcome = upstream.send(parts, body, &mut asked).await;
        bytes.answered();
        finisher.upstream_took(Monotonic::read().since(sent));
        let failed = |failure: &UpstreamFailure, mut finisher: Finisher| {
            let endpoint = asked.as_deref();
            failing::tell(failure, &upstream, endpoint, request_id, &mut finisher);
            let problem = Problem::from(failure).response(Some(request_id));
            own(problem, &method, finisher)
        };
        match outcome {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                let Some(client) = passage.upgrade.filter(|_| tunnel::is_granted(&response)) else {
                    return failed(&UpstreamFailure::UnaskedUpgrade, finisher);
                };
                self.switch(client, response, bytes, finisher)
            }
            Ok(response) => {
                let (mut head, body) = response.into_parts();
                let observers = upstream.observers();
                if let Some(observed) = observe::read(&head.headers, observers, request_id) {
                    finisher.observed(self.site.edge.gate.observation(&observed));
                }
                headers::to_client(&mut head.headers);
                if let Some(limit) = &passage.limit {
                    rate_limit::set_where_absent(&mut head.headers, limit);
                }
                // The version is that of the upstream's connection; hyper sets the client's.
                head.version = Version::HTTP_11;
                finisher.answered(AnsweredBy::Upstream, head.status);
                Response::from_parts(head, ClientBody::from_upstream(body, finisher))
            }
            Err(failure) => {
                let failure = if bytes.is_too_slow() {
                    UpstreamFailure::ClientStalled
                } else {
                    failure
                };
                failed(&failure, finisher)
            }
        }
    }

    /// Both sides leave HTTP behind. The request ends with the tunnel.
    fn switch(
        &self,
        client: OnUpgrade,
        mut response: Response<ResponseBody>,
        bytes_in: RequestBytes,
        mut finisher: Finisher,
    ) -> Response<ClientBody> {
        let upstream = hyper::upgrade::on(&mut response);
        let (mut head, place) = response.into_parts();
        headers::to_client(&mut head.headers);
        tunnel::ask(&mut head.headers);
        head.version = Version::HTTP_11;
        finisher.answered(AnsweredBy::Upstream, head.status);
        self.live
            .becomes(Tunnel::new(client, (upstream, place), bytes_in, finisher));
        Response::from_parts(head, ClientBody::own(Bytes::new(), None))
    }

    /// Answers what has no single meaning, without asking anyone.
    fn refuse(
        &self,
        parts: &Parts,
        client: ClientAddress,
        error: &TargetError,
    ) -> Response<ClientBody> {
        self.live.request_ends();
        let reason = error.to_string();
        metrics::counter!(
            "botguard_requests_refused_total",
            "status" => error.status().as_str().to_owned(),
            "reason" => error.label()
        )
        .increment(1);
        let id = self.site.edge.gate.refused(&RefusedRequest {
            parts,
            client,
            local: self.local,
            status: error.status().as_u16(),
            reason: &reason,
            prints: &self.prints.with(&parts.headers),
        });
        let response = Problem::from(error).response(id.as_deref());
        suited(response, &parts.method).map(|body| ClientBody::own(body, None))
    }
}

/// What the gate said of a request that is forwarded.
struct Passage {
    request_id: Arc<str>,
    client: IpAddr,
    /// For the upstream.
    added: Vec<(HeaderName, HeaderValue)>,
    /// For the client.
    limit: Option<LimitState>,
    /// Where the client asks for a WebSocket: its side of it.
    upgrade: Option<OnUpgrade>,
}

/// A response of botguard's own.
fn own(response: Response<Bytes>, method: &Method, mut finisher: Finisher) -> Response<ClientBody> {
    finisher.answered(AnsweredBy::Botguard, response.status());
    suited(response, method).map(|body| ClientBody::own(body, Some(finisher)))
}

/// HEAD is answered as GET would be, without the content (RFC 9110 section 9.3.2): hyper leaves it
/// out over HTTP/1, but not over HTTP/2.
fn suited(mut response: Response<Bytes>, method: &Method) -> Response<Bytes> {
    if method == Method::HEAD {
        let length = std::mem::take(response.body_mut()).len();
        (response.headers_mut()).insert(header::CONTENT_LENGTH, length.into());
    }
    response
}
