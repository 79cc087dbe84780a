//! How an operator reaches botguard: the admin socket for the CLI, the admin port for Prometheus.
//!
//! [`operations`] carries out what the CLI asks; it is the same code in the daemon, behind the
//! socket, and in a CLI without a daemon, on the store and the pinned maps.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;

pub mod client;
pub mod http;
pub mod operations;
pub mod protocol;
pub mod socket;
pub mod token;

/// `[admin]`
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSettings {
    /// Unix socket of the CLI, mode 0660.
    pub socket: PathBuf,
    /// Address of `/metrics` and `/healthz`; port 0 takes a free one.
    pub http: SocketAddr,
    /// File with a token of 16 characters or more, mode 0600. Whoever has it may do over HTTP what
    /// may be done over the socket (`POST /v1/operate`); without it nobody may.
    pub token_file: Option<PathBuf>,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/run/botguard/admin.sock"),
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 9480)),
            token_file: None,
        }
    }
}
