//! Floor 4: the reserved prefix, where a page reports that somebody touches it.
//!
//! A page of the application loads `ui.js`. On the first touch, key or scroll it fetches a token
//! from `GET ui`, then spends one token per event with `POST ui`, and gets the next one back. A
//! spent token becomes [`InteractionFacts`]: evidence that removes suspicion, and never trust, so
//! every doubt here is settled by refusing the token.
//!
//! Knows nothing of connections or scores: control hands requests in and facts on.

use std::fmt;

use aws_lc_rs::rand;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::engine::facts::InteractionFacts;
use crate::words::address::{ClientAddress, neighbourhood};
use crate::words::clock::Monotonic;
use crate::words::identity::{KeyIdentity, SessionIdentity};

mod minting;
mod origin;
mod reply;
mod script;
mod settings;
mod token;

pub use script::KeyHeader;
pub use settings::{Origin, OriginError, Prefix, PrefixError, UiSettings};
pub use token::{Binding, LIFETIME, TokenError, Tokens};

use minting::Minting;
use origin::Asker;

/// Answers under the reserved prefix.
pub struct Interaction {
    settings: UiSettings,
    script: Bytes,
    key_header: Option<KeyHeader>,
    state: Mutex<State>,
}

struct State {
    tokens: Tokens,
    minting: Minting,
}

impl fmt::Debug for Interaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Interaction").field(&self.settings).finish()
    }
}

/// A request under the reserved prefix.
#[derive(Clone, Debug)]
pub struct UiRequest<'a> {
    /// HTTP method.
    pub method: &'a Method,
    /// Decoded, dot-normalised path, prefix included.
    pub path: &'a str,
    /// Canonical authority that was asked for.
    pub authority: &'a str,
    /// All header fields.
    pub headers: &'a HeaderMap,
    /// The whole body.
    pub body: &'a [u8],
    /// Who sends it.
    pub visitor: Visitor,
}

/// Whom a token is for.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The client's address.
    pub client: ClientAddress,
    /// The API key that the request carries.
    pub key: Option<KeyIdentity>,
    /// The session that the request carries.
    pub session: Option<SessionIdentity>,
    /// Keyed hash of what the client looks like.
    pub fingerprint: u64,
}

/// The answer, and what it tells the engine.
#[derive(Debug)]
pub struct UiReply {
    /// For the client.
    pub response: Response<Bytes>,
    /// A token was spent.
    pub interaction: Option<InteractionFacts>,
}

/// What a page sends: a token, and what was touched.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Event<'a> {
    token: &'a str,
    /// Only checked to be one of them: what kind it was is not evidence yet.
    #[serde(rename = "kind")]
    _kind: Kind,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Pointer,
    Key,
    Scroll,
    Touch,
}

#[derive(Serialize)]
struct Minted<'a> {
    token: &'a str,
}

impl Interaction {
    /// Mints under `secret`, which must be new with each process: spent tokens are not remembered
    /// beyond it. `key_header` is where the script sends the application's key.
    #[must_use]
    pub fn new(settings: UiSettings, secret: &[u8; 32], key_header: Option<KeyHeader>) -> Self {
        Self {
            script: script::render(key_header.as_ref()),
            state: Mutex::new(State {
                tokens: Tokens::new(secret),
                minting: Minting::new(settings.mint_rate),
            }),
            settings,
            key_header,
        }
    }

    /// Whether a decoded, dot-normalised path lies under the prefix.
    #[must_use]
    pub fn owns(&self, path: &str) -> bool {
        self.settings.prefix.covers(path)
    }

    /// Answers a request under the prefix; a path outside of it is answered 404 as well.
    #[must_use]
    pub fn answer(&self, now: Monotonic, request: &UiRequest<'_>) -> UiReply {
        let asker = origin::asker(request.headers, request.authority, &self.settings.origins);
        let name = request.path.strip_prefix(self.settings.prefix.as_str());
        let mut reply = match (name, request.method) {
            (Some("ui.js"), &Method::GET | &Method::HEAD) => self.script().into(),
            (Some("ui.js"), _) => reply::wrong_method("GET, HEAD").into(),
            (Some("status"), &Method::GET | &Method::HEAD) => status().into(),
            (Some("status"), _) => reply::wrong_method("GET, HEAD").into(),
            (Some("ui"), _) if asker == Asker::Foreign => reply::foreign_origin().into(),
            (Some("ui"), &Method::OPTIONS) => self.preflight().into(),
            (Some("ui"), &Method::GET) => self.mint(now, &request.visitor).into(),
            (Some("ui"), &Method::POST) => self.spend(now, request),
            (Some("ui"), _) => reply::wrong_method("GET, POST, OPTIONS").into(),
            _ => reply::unknown_path().into(),
        };
        origin::mark(reply.response.headers_mut(), &asker);
        reply
    }

    fn script(&self) -> Response<Bytes> {
        let mut response = Response::new(self.script.clone());
        let headers = response.headers_mut();
        let fields = [
            (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
            (header::CACHE_CONTROL, "public, max-age=3600"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        for (name, value) in fields {
            headers.insert(name, HeaderValue::from_static(value));
        }
        // Pages of other origins load it by a script tag; it holds nothing of anybody's.
        headers.insert(
            "cross-origin-resource-policy",
            HeaderValue::from_static("cross-origin"),
        );
        response
    }

    fn preflight(&self) -> Response<Bytes> {
        let allowed = match &self.key_header {
            Some(key_header) => format!("content-type, {}", key_header.name),
            None => "content-type".to_owned(),
        };
        reply::preflight(&allowed)
    }

    fn mint(&self, now: Monotonic, visitor: &Visitor) -> Response<Bytes> {
        let binding = visitor.binding();
        let mut nonce = [0; 16];
        if rand::fill(&mut nonce).is_err() {
            return reply::unavailable("no randomness to mint a token from");
        }
        let mut state = self.state.lock();
        if let Err(wait) = state.minting.admit(now, &binding) {
            return reply::too_many(wait);
        }
        let token = state.tokens.mint(now, &binding, nonce);
        drop(state);
        reply::json(StatusCode::OK, &Minted { token: &token })
    }

    fn spend(&self, now: Monotonic, request: &UiRequest<'_>) -> UiReply {
        let Ok(event) = serde_json::from_slice::<Event<'_>>(request.body) else {
            return reply::malformed("the body is not {\"token\": …, \"kind\": …}").into();
        };
        let visitor = &request.visitor;
        let spent = self
            .state
            .lock()
            .tokens
            .spend(now, event.token, &visitor.binding());
        let label = spent.as_ref().map_or_else(TokenError::label, |()| "spent");
        metrics::counter!("botguard_ui_events_total", "outcome" => label).increment(1);
        match spent {
            Ok(()) => UiReply {
                response: self.mint(now, visitor),
                interaction: Some(InteractionFacts {
                    client: visitor.client,
                    key: visitor.key.clone(),
                    session: visitor.session,
                }),
            },
            Err(error) => reply::refused_token(&error).into(),
        }
    }
}

/// That somebody answers, for monitors on the way; nothing of how it is.
fn status() -> Response<Bytes> {
    #[derive(Serialize)]
    struct Status {
        status: &'static str,
    }
    reply::json(StatusCode::OK, &Status { status: "ok" })
}

impl Visitor {
    fn binding(&self) -> Binding {
        Binding {
            key: self.key.as_ref().map(|key| key.hash),
            fingerprint: self.fingerprint,
            network: neighbourhood(self.client.ip()),
        }
    }
}

impl From<Response<Bytes>> for UiReply {
    fn from(response: Response<Bytes>) -> Self {
        Self {
            response,
            interaction: None,
        }
    }
}

#[cfg(test)]
mod tests;
