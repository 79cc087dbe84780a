//! Floor 4: listeners, TLS, HTTP/1.1 and HTTP/2 to the client, pooled connections to the upstream.
//! Asks a [`gate::Gate`] about every request and obeys.
//!
//! The way of a request, which is also the reading order of the modules:
//!
//! ```text
//! listener ─► connection (TLS) ─► exchange: target ─► trust ─► gate ─┬► denial
//!                 ▲                                                  ├► reserved
//!                 │ ban: flushed, then closed, then settled          └► headers ─► upstream
//!             connections ◄──── finish ◄──── body ◄──── response ◄──────────────────┘
//! ```
//!
//! **Invariant:** each admission is finished exactly once, on every way out (`finish` is a drop
//! guard). **Invariant:** nothing waits for the end of a body, in either direction, but the small
//! ones of the reserved prefix. **Invariant:** the engine, the audit log and the kernel are known
//! here only through the gate.

use std::sync::Arc;

use arc_swap::ArcSwap;

pub mod gate;
pub mod reserved;

pub mod listener;
pub mod site;
pub mod tls;

mod connection;
pub mod connections;
mod control_frames;
mod farewell;
pub mod framing;
mod handshakes;
mod http_errors;
pub mod proxy_protocol;
mod stream;
mod tap;
mod tunnel;

pub mod client_hello;
pub mod header_shape;
pub mod http2_fingerprint;
pub mod ja4;
pub mod prints;

mod denial;
mod exchange;
mod failing;
pub mod forwarded;
pub mod hosts;
mod problem;
mod rate_limit;
pub mod reader;
pub mod target;
pub mod trust;

mod headers;
pub mod observe;
mod signing_keys;
pub mod upstream;

mod announcements;
mod body;
mod finish;
mod login_name;
mod pace;
mod seldom;
mod tee;
mod unread;
mod unwanted;

pub mod identity;
pub mod redact;

#[cfg(test)]
mod captures;
#[cfg(test)]
mod tests;

/// What every listener of a daemon shares.
#[derive(Clone)]
pub struct Edge {
    /// Judges requests.
    pub gate: Arc<dyn gate::Gate>,
    /// Answers under the reserved prefix.
    pub reserved: Arc<dyn reserved::ReservedRoutes>,
    /// Whose word about client addresses is believed.
    pub trust: Arc<ArcSwap<trust::Trust>>,
    /// Live connections by peer.
    pub connections: Arc<connections::Connections>,
}
