//! What the engine remembers and a restart must not lose: handed out by the engine, kept by the
//! store, given back at the start. Everything else that the engine knows is a minute old at most.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::words::clock::Wall;
use crate::words::identity::{KeyHash, SessionHash, UserHash};
use crate::words::key::KeyMemo;

/// One thing to remember; replaces an earlier one of the same subject.
#[derive(Clone, Debug, PartialEq)]
pub enum Memo {
    /// A key's reputation.
    Key(Box<KeyMemo>),
    /// The bans of an address, and the good principals behind it.
    Source(SourceMemo),
    /// A pair that is refused for a time.
    Pair(PairMemo),
}

/// What is remembered of one source address.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SourceMemo {
    /// Which; or the network, for bans of a /24 or /64.
    pub network: IpNet,
    /// Its last ban.
    pub ban: Option<BanMemo>,
    /// Good principals behind it: tag, and when each was seen last.
    pub good: Vec<(u64, Wall)>,
}

/// The last ban of a source.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct BanMemo {
    /// When it was proposed.
    pub proposed: Wall,
    /// When it ends.
    pub ends: Wall,
    /// Repetitions before it.
    pub level: u32,
}

/// A pair of credential and address that is refused until a time, though its address is not.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PairMemo {
    /// The address; IPv6 by its /64.
    pub address: IpAddr,
    /// Who, at that address.
    pub credential: Credential,
    /// The ban.
    pub ban: BanMemo,
    /// Why, in a sentence.
    pub reason: String,
}

impl PairMemo {
    /// Whether it is what an operator means by `network`.
    #[must_use]
    pub fn is_at(&self, network: &IpNet) -> bool {
        is_subscriber_at(self.address, network)
    }
}

/// Whether a subscriber, an address or a /64 of IPv6, is within `network`, or `network` within it.
#[must_use]
pub fn is_subscriber_at(address: IpAddr, network: &IpNet) -> bool {
    network.contains(&address)
        || (address.is_ipv6() && IpNet::new(address, 64).is_ok_and(|it| it.contains(network)))
}

/// What a request proves, beside its address, of who sends it: the strongest that the upstream
/// accepted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Credential {
    /// An API key.
    Key(KeyHash),
    /// A session.
    Session(SessionHash),
    /// A user, by a token with a verified signature.
    User(UserHash),
}
