//! What `botguard status` shows, on the wire.

use serde::{Deserialize, Serialize};

use super::Kernel;
use crate::words::data_file::DataFile;
use crate::words::mode::Mode;

/// Everything `botguard status` shows.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Status {
    /// The daemon, if one runs.
    pub daemon: Option<DaemonStatus>,
    /// The configuration's global mode.
    pub configured_mode: Mode,
    /// The operator's override, if one is in force.
    pub mode_override: Option<Override>,
    /// The bound that holds.
    pub mode: Mode,
    /// Routes in the order of the configuration, and `default`.
    pub routes: Vec<RouteStatus>,
    /// The kernel filter.
    pub kernel: Kernel,
    /// Single blocks in force.
    pub n_blocks: u64,
    /// Imported lists.
    #[serde(default)]
    pub n_lists: u64,
    /// Networks in them.
    #[serde(default)]
    pub n_list_networks: u64,
    /// Blocked autonomous systems.
    #[serde(default)]
    pub n_asns: u64,
    /// Entries of the allow list.
    pub n_allows: u64,
    /// Overrides of API keys.
    #[serde(default)]
    pub n_key_overrides: u64,
    /// What does not work as configured; empty is well.
    pub degraded: Vec<String>,
    /// What the configuration asks for and this version does not act on.
    pub warnings: Vec<String>,
}

/// The running daemon.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DaemonStatus {
    /// Process id.
    pub pid: u32,
    /// Version.
    pub version: String,
    /// Seconds since its start.
    pub up_s: u64,
    /// Hash of the policy that decides.
    pub policy: String,
    /// Bound listeners.
    pub listeners: Vec<ListenerStatus>,
    /// Address of the admin port.
    pub http: String,
    /// Principals that the engine keeps state of.
    pub n_principals: u64,
    /// Audit records lost since its start.
    pub n_audit_lost: u64,
    /// Data files in force.
    #[serde(default)]
    pub data_files: Vec<DataFileStatus>,
}

/// A data file in force.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DataFileStatus {
    /// What it is for: `asn`, `country`, `hosting`, `jwks`, `crawler googlebot`.
    pub kind: String,
    /// Its name without the directory, or `built-in`.
    pub name: String,
    /// Ranges, systems, networks or keys in it.
    pub n_entries: u64,
    /// How old its data is, RFC 3339: what it says of itself, else when the file was last modified.
    pub date: Option<String>,
}

impl From<DataFile> for DataFileStatus {
    fn from(file: DataFile) -> Self {
        Self {
            kind: file.kind,
            name: file.name,
            n_entries: file.n_entries as u64,
            date: file.date.map(|date| date.to_string()),
        }
    }
}

/// One listener.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ListenerStatus {
    /// Bound address.
    pub bind: String,
    /// Name of its upstream.
    pub upstream: String,
    /// The addresses that the upstream has.
    pub endpoints: Vec<EndpointLine>,
}

/// One address of an upstream.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct EndpointLine {
    /// As configured.
    pub endpoint: String,
    /// What it stands for: an address and port, or a path.
    pub address: String,
    /// `up`; `down`: its checks fail; `ejected`: it could not be connected to, and is left alone for
    /// a while.
    pub state: String,
    /// Requests that it has at the moment.
    pub requests: usize,
}

/// One route.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RouteStatus {
    /// Template, or `default`.
    pub route: String,
    /// Methods; empty is all.
    pub methods: Vec<String>,
    /// What the configuration says.
    pub configured: Mode,
    /// The smaller of that and the global bound.
    pub effective: Mode,
}

/// A mode that the operator set by command.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Override {
    /// The bound.
    pub mode: Mode,
    /// When it ends, RFC 3339; `null` is never.
    pub until: Option<String>,
}
