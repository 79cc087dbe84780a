//! A credential that is refused from an address, as `block list` shows it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::words::clock::Wall;
use crate::words::memo::{Credential, PairMemo};

/// A pair of credential and address that the edge refuses for a time; its packets pass the kernel.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PairEntry {
    /// The address; IPv6 by its /64.
    pub address: IpAddr,
    /// `key`, `session` or `user`.
    pub kind: String,
    /// The credential's keyed hash, hexadecimal, as in `facts` of the audit log.
    pub hash: String,
    /// When it ends, RFC 3339.
    pub expires: String,
    /// Seconds until then.
    pub left_s: u64,
    /// Why.
    pub reason: String,
}

impl PairEntry {
    /// As of `now`.
    #[must_use]
    pub fn of(pair: &PairMemo, now: Wall) -> Self {
        let (kind, hash) = match pair.credential {
            Credential::Key(hash) => ("key", hash.to_string()),
            Credential::Session(hash) => ("session", hash.to_string()),
            Credential::User(hash) => ("user", hash.to_string()),
        };
        Self {
            address: pair.address,
            kind: kind.to_owned(),
            hash,
            expires: pair.ban.ends.to_string(),
            left_s: now.until(pair.ban.ends).as_secs(),
            reason: pair.reason.clone(),
        }
    }
}
