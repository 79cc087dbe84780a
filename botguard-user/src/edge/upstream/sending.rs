//! One request to one target: a connection, the request on it, and the wait for the head of its
//! response.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri, Version};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::TrySendError;
use tokio::time::timeout;

use super::connect::{Channel, Need};
use super::endpoint::Protocol;
use super::failure::UpstreamFailure;
use super::head;
use super::replay::{self, Fate, Replay};
use super::target::{Age, Occupancy, Place, Target};
use super::transfer::{Flow, RequestBody, ResponseBody};
use crate::words::clock::Monotonic;

/// How a request is sent.
pub(super) struct Sending {
    pub(super) need: Need,
    pub(super) times: Times,
    pub(super) flow: Flow,
    /// When it may be sent a second time; `Never` once it was.
    pub(super) replay: Replay,
}

/// How long is waited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) first_byte: Duration,
    pub(super) idle: Duration,
    pub(super) queue: Duration,
}

pub(super) enum Outcome {
    Answered(Response<ResponseBody>),
    /// Nothing of the request was sent, or it may be sent a second time.
    NotSent(Unsent),
    /// Some of it may have been.
    Failed(UpstreamFailure),
}

/// A request that may be offered to another target.
pub(super) struct Unsent {
    pub(super) request: Request<RequestBody>,
    /// Where it was not sent.
    pub(super) target: Arc<Target>,
    pub(super) why: UpstreamFailure,
}

impl Sending {
    /// Sends `request` to the target that `place` is at.
    pub(super) async fn send(
        &mut self,
        place: Place,
        mut request: Request<RequestBody>,
    ) -> Outcome {
        let target = Arc::clone(place.target());
        let mut oldest = Age::Used;
        let mut n_closed = 0;
        loop {
            let (mut channel, age) = match target.channel(self.need, oldest).await {
                Ok(found) => found,
                Err(error) => {
                    return Outcome::NotSent(Unsent {
                        request,
                        target,
                        why: error.into(),
                    });
                }
            };
            address(&mut request, &channel, &target);
            // hyper keeps nothing of what it has written.
            let copy = self.may_be_wanted_again(&channel, age);
            let copy = copy.then(|| replay::copy(&request));
            let sent = match &mut channel {
                Channel::Http1(sender) => self.head(sender.try_send_request(request)).await,
                Channel::Http2(stream) => self.head(stream.sender.try_send_request(request)).await,
            };
            let mut error = match sent {
                Ok(Ok(mut response)) => {
                    if let Err(malformed) = head::settle(&mut response) {
                        return Outcome::Failed(malformed.into());
                    }
                    let occupancy = Occupancy { place, channel };
                    let flow = self.flow.clone();
                    return Outcome::Answered(
                        response
                            .map(|body| ResponseBody::new(body, occupancy, flow, self.times.idle)),
                    );
                }
                Ok(Err(error)) => error,
                Err(failure) => return Outcome::Failed(failure),
            };
            match (error.take_message(), age) {
                // It was closed while it was kept, and so may be the next; then one is made, which
                // cannot have been. Many who share a connection so find the one that replaces it.
                (Some(unsent), Age::Used) => {
                    n_closed += 1;
                    if n_closed > 1 {
                        oldest = Age::New;
                    }
                    request = unsent;
                }
                (Some(request), Age::New) => {
                    return Outcome::NotSent(Unsent {
                        request,
                        target,
                        why: UpstreamFailure::Broken(error.into_error()),
                    });
                }
                (None, _) if self.flow.is_broken() => {
                    return Outcome::Failed(UpstreamFailure::ClientBroke);
                }
                (None, _) => {
                    let again = copy.filter(|_| {
                        let fate = Fate::of(error.error());
                        self.replay.allows(fate, age)
                    });
                    let Some(again) = again else {
                        return Outcome::Failed(UpstreamFailure::of(error.into_error()));
                    };
                    self.replay = Replay::Never;
                    match &channel {
                        Channel::Http1(_) => oldest = Age::New,
                        // Many share it; they find the one that replaces it.
                        Channel::Http2(stream) => stream.retire(),
                    }
                    metrics::counter!("botguard_upstream_replays_total").increment(1);
                    request = again;
                }
            }
        }
    }

    /// Whether a copy of the request could be sent, should this connection fail it.
    fn may_be_wanted_again(&self, channel: &Channel, age: Age) -> bool {
        match channel {
            Channel::Http1(_) => self.replay.allows(Fate::Closed, age),
            Channel::Http2(_) => self.replay != Replay::Never,
        }
    }

    /// Waits for as long as the request's body moves, and then for the first byte.
    async fn head(
        &self,
        response: impl Future<Output = Answer>,
    ) -> Result<Answer, UpstreamFailure> {
        let mut response = std::pin::pin!(response);
        let began = Monotonic::read();
        let mut wait = self.limit();
        loop {
            if let Ok(answer) = timeout(wait, &mut response).await {
                return Ok(answer);
            }
            // What moved since the wait began has had only a part of its time.
            let since = began.max(self.flow.last_moved());
            wait = self.limit().saturating_sub(Monotonic::read().since(since));
            if wait.is_zero() {
                return Err(if self.flow.has_ended() {
                    UpstreamFailure::FirstByteTimeout
                } else if self.flow.waits_for_client() {
                    UpstreamFailure::ClientStalled
                } else {
                    UpstreamFailure::Stalled
                });
            }
        }
    }

    /// How long nothing may move.
    fn limit(&self) -> Duration {
        let Times {
            first_byte, idle, ..
        } = self.times;
        if self.flow.has_ended() {
            first_byte
        } else {
            first_byte.min(idle)
        }
    }
}

type Answer = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>;

/// Gives a request the form that a connection wants. Its path goes on as it was sent, so that the
/// application sees what a signature covers; its host is in `Host` over HTTP/1.1, and in
/// `:authority` over HTTP/2 (RFC 9113 section 8.3.1).
fn address(request: &mut Request<RequestBody>, channel: &Channel, target: &Target) {
    let mut uri = http::uri::Parts::default();
    uri.path_and_query = Some(
        (request.uri().path_and_query())
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/")),
    );
    match channel {
        Channel::Http1(_) => {
            *request.version_mut() = Version::HTTP_11;
            // Back from HTTP/2, where it was taken away.
            if !request.headers().contains_key(HOST)
                && let Some(authority) = request.uri().authority()
                && let Ok(host) = HeaderValue::from_str(authority.as_str())
            {
                request.headers_mut().insert(HOST, host);
            }
            // hyper takes a GET or HEAD for one without a body, unless a field says otherwise.
            if request.body().size_hint().exact().is_none() {
                let chunked = HeaderValue::from_static("chunked");
                request.headers_mut().insert(TRANSFER_ENCODING, chunked);
            }
        }
        Channel::Http2(_) => {
            *request.version_mut() = Version::HTTP_2;
            // Of an HTTP/1.1 connection that was tried before.
            request.headers_mut().remove(TRANSFER_ENCODING);
            let host = request.headers_mut().remove(HOST);
            let host = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
            uri.authority = host
                .or_else(|| request.uri().authority().cloned())
                .or_else(|| target.endpoint.authority().parse().ok());
            uri.scheme = Some(match target.endpoint.protocol() {
                Protocol::Tls => Scheme::HTTPS,
                Protocol::Http1 | Protocol::H2c => Scheme::HTTP,
            });
        }
    }
    // A path alone, or scheme, authority and path: all that a URI wants.
    *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
}
