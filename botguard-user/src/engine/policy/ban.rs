//! When a source is banned, and for how long.

use std::time::Duration;

use super::error::PolicyError;

/// The numbers of `[enforcement]` that the engine acts on; control converts them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BanPolicy {
    /// Requests blocked for their score within [`Self::within`] that earn an address a ban; at
    /// least 1.
    pub denied: u32,
    /// From 1 s to a day.
    pub within: Duration,
    /// Length of the first ban; above 0.
    pub ttl: Duration,
    /// How much longer each repeated ban is; at least 1. One repetition is forgotten for every
    /// [`Self::ttl_max`] since the last ban.
    pub ttl_factor: u32,
    /// The longest ban; at least [`Self::ttl`].
    pub ttl_max: Duration,
    /// More good principals than this behind an address, and it is not banned; at most
    /// [`BanPolicy::MOST_GOOD_PRINCIPALS`].
    pub good_principals: u32,
    /// How long a good principal protects its address.
    pub good_window: Duration,
    /// Prefix lengths of the widest bans, IPv4 and IPv6: from 24 to 32 and from 64 to 128. The
    /// longest ban only addresses.
    pub widest: [u8; 2],
}

impl BanPolicy {
    /// The engine remembers one good principal more than this per address.
    pub const MOST_GOOD_PRINCIPALS: u32 = 7;

    /// Errors: [`PolicyError::Ban`], naming the key in `[enforcement]`.
    pub(super) fn check(&self) -> Result<(), PolicyError> {
        let day = Duration::from_secs(86_400);
        let refuse = |key, problem| Err(PolicyError::Ban { key, problem });
        if self.denied == 0 {
            return refuse(
                "enforcement.ban_after.denied",
                "0 would ban everybody; write at least 1",
            );
        }
        if !(Duration::from_secs(1)..=day).contains(&self.within) {
            return refuse(
                "enforcement.ban_after.within",
                "out of range; write from \"1s\" to \"24h\"",
            );
        }
        if self.ttl.is_zero() {
            return refuse("enforcement.ttl", "a ban of no length; write as in \"10m\"");
        }
        if self.ttl_factor == 0 {
            return refuse(
                "enforcement.ttl_factor",
                "0 would end repeated bans at once; write at least 1",
            );
        }
        if self.ttl_max < self.ttl {
            return refuse(
                "enforcement.ttl_max",
                "shorter than enforcement.ttl; raise it or shorten the other",
            );
        }
        if self.good_principals > Self::MOST_GOOD_PRINCIPALS {
            return refuse(
                "enforcement.good_principals",
                "no more than 8 good principals are remembered per address; write from 0 to 7",
            );
        }
        Ok(())
    }
}

/// 20 blocked requests in 10 s; 10 minutes, four times as long when repeated, a day at most; one
/// good principal within a day keeps an address free.
impl Default for BanPolicy {
    fn default() -> Self {
        Self {
            denied: 20,
            within: Duration::from_secs(10),
            ttl: Duration::from_secs(600),
            ttl_factor: 4,
            ttl_max: Duration::from_secs(86_400),
            good_principals: 0,
            good_window: Duration::from_secs(86_400),
            widest: [24, 64],
        }
    }
}
