//! An entry of the block or allow list, as the store keeps it and the plan compiles it.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::words::clock::Wall;

/// One block: a network that the kernel drops, for a reason, until a time.
///
/// The network is canonical: truncated to its prefix, IPv4-mapped IPv6 written as IPv4.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Block {
    /// Whose packets.
    pub network: IpNet,
    /// Who put it there. A network has at most one block per origin; a repeated one replaces
    /// reason and scope and never shortens the time left.
    pub origin: Origin,
    /// Which packets.
    pub scope: Scope,
    /// Drop, or only count what would be dropped.
    pub effect: Effect,
    /// When it was made.
    pub created: Wall,
    /// When it ends; `None` is never. Automatic blocks always end.
    pub expires: Option<Wall>,
    /// Why, in a sentence.
    pub reason: String,
}

/// Who made an entry. Crosses into the kernel as its number, which indexes the drop counters.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Origin {
    /// `botguard block add`.
    Operator = 0,
    /// A ban that the engine proposed.
    Automatic = 1,
}

impl Origin {
    /// Stable name, a metric label: as it is serialised.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Automatic => "automatic",
        }
    }
}

/// Which packets of a blocked source are dropped. See ARCHITECTURE.md, "What a hit drops".
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// TCP and UDP to a listener's port and local address, and what hides its ports.
    #[default]
    Listeners,
    /// Everything.
    Host,
}

/// What a hit does.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// The packet is dropped and counted.
    #[default]
    Drop,
    /// The packet passes and is counted as one that would have been dropped.
    Count,
}

/// One entry of the operator's allow list, which beats every block.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Allow {
    /// Whose packets; canonical.
    pub network: IpNet,
    /// When it was made.
    pub created: Wall,
    /// Why, in a sentence.
    pub reason: String,
}
