//! What the engine is told. Built by the inlets; recorded by the audit log so that a decision can
//! be made again from its record.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde::{Deserialize, Serialize};

use crate::words::address::ClientAddress;
use crate::words::identity::KeyIdentity;

/// One request, before it is answered.
#[derive(Clone, Debug)]
pub struct RequestFacts {
    /// Who sends it, by address.
    pub client: ClientAddress,
    /// What the address tables say.
    pub network: NetworkFacts,
    /// What the operator's lists and earlier bans say of the address.
    pub standing: Standing,
    /// The API key it carries, verified or not.
    pub key: Option<KeyIdentity>,
    /// Keyed hash of what the client looks like (for now of its User-Agent), for the binding of
    /// interaction tokens.
    pub fingerprint: u64,
    /// HTTP method.
    pub method: Method,
    /// Decoded, dot-normalised path: starts with `/`, no empty or dot segments.
    pub path: Arc<str>,
    /// Query string as sent, without the `?`; empty when there is none.
    pub query: Arc<str>,
}

/// What the ASN table and the hosting lists say of an address.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NetworkFacts {
    /// Autonomous system that announces the address.
    pub asn: Option<Asn>,
    /// Whether that system is one of machines.
    pub hosting: Hosting,
}

/// An autonomous system.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asn {
    /// AS number.
    pub number: u32,
    /// Its name in the table.
    pub name: Arc<str>,
    /// Which table says so: file name and data date, for the evidence.
    pub table: Arc<str>,
}

/// Whether an autonomous system rents out machines.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Hosting {
    /// No list names it.
    #[default]
    Unlisted,
    /// The ASN table and the named list agree.
    Verified {
        /// Which list: `built-in`, or the operator's file.
        list: Arc<str>,
    },
}

/// What lists and bans say of an address, before any score.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Standing {
    /// Nothing.
    #[default]
    Unlisted,
    /// On the operator's allow list, which beats every block.
    Allowed,
    /// Covered by a live block, which the kernel would have dropped had it been attached in time.
    Blocked {
        /// The most specific live block: its network, origin and reason, for the record.
        rule: Arc<str>,
    },
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ResponseFacts {
    /// Who answered.
    pub answered_by: AnsweredBy,
    /// Status sent to the client.
    pub status: u16,
    /// Bytes of the request body.
    pub bytes_in: u64,
    /// Bytes of the response body.
    pub bytes_out: u64,
    /// Time from the forwarded request to the head of the upstream's response, if forwarded.
    pub upstream: Option<Duration>,
    /// Time from the request's head to the end of the response.
    pub total: Duration,
}

/// Who produced a response. Only the upstream's word makes an identity accepted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AnsweredBy {
    /// The upstream application.
    Upstream,
    /// botguard: a denial, a reserved path, or an error of the upstream's connection.
    Botguard,
}

/// A verified, one-use interaction token was spent: somebody touched the page.
#[derive(Clone, Debug)]
pub struct InteractionFacts {
    /// Who sent it.
    pub client: ClientAddress,
    /// The key whose page it came from.
    pub key: Option<KeyIdentity>,
}
