//! The one table of what evidence weighs. Everything that turns a measurement into points has its
//! number here, with the reason; a change to a decision is a change to this file.
//!
//! Weights are in the units of the worked example (DESIGN §1): 1.00 is certainty. No single group
//! reaches the default block threshold of 0.90, so no single kind of evidence blocks anybody.

use std::time::Duration;

use super::decision::Group;
use crate::words::points::Points;
use crate::words::units::Rate;

/// The most that a group adds to a score, however many of its signals agree.
///
/// | group | cap | reason |
/// |---|---|---|
/// | key | 0.40 | what a key is entitled to says little about what it is used for |
/// | pattern | 0.40 | the strongest of the four, yet an honest bulk client has one too |
/// | behaviour | 0.25 | absence of events is also a blocked script |
/// | network | 0.30 | people use VPNs that end in hosting networks |
/// | client | 0.30 | what a client says of itself is easily wrong, and easily right |
#[must_use]
pub const fn cap(group: Group) -> Points {
    Points::from_basis(match group {
        Group::Key | Group::Pattern => 4_000,
        Group::Behaviour => 2_500,
        Group::Network | Group::Client => 3_000,
    })
}

/// `paging`: the whole of its group at full confidence (worked example: +0.40).
pub const PAGING: Points = Points::from_basis(4_000);

/// `burst`: half its group, since a fast client may also be a badly written one.
pub const BURST: Points = Points::from_basis(2_000);

/// `no_interaction`: the whole of its group (worked example: +0.25).
pub const NO_INTERACTION: Points = Points::from_basis(2_500);

/// `hosting_asn`: the whole of its group (worked example: +0.30).
pub const HOSTING_ASN: Points = Points::from_basis(3_000);

/// How far `hosting_asn` counts where nothing is expected of the client (`any`): half. The network
/// is then a prior, never sufficient by itself: API keys legitimately live in clouds.
pub const HOSTING_WHERE_ANYTHING_GOES: Points = Points::from_basis(5_000);

/// `credential_churn`: with a tier's weight the whole of its group.
pub const CREDENTIAL_CHURN: Points = Points::from_basis(3_000);

/// New credentials from one address in a minute from which `credential_churn` begins, and where it
/// is certain; only where fewer than half of them come back and all look much alike. A large office
/// comes to work in minutes, everybody in it asks for more than one thing, and not all of them have
/// the same browser.
pub const NEWCOMERS: Ramp = Ramp { from: 200, to: 400 };

/// `false_crawler`: the whole of its group.
pub const FALSE_CRAWLER: Points = Points::from_basis(3_000);

/// `client_mismatch`: the whole of its group, where connection and header fields both contradict the
/// User-Agent; the signal grades what is less.
pub const CLIENT_MISMATCH: Points = Points::from_basis(3_000);

/// `fingerprint_churn`: as much as a burst. A session that wanders between clients is stolen or
/// shared, which does not say that it is used by a machine.
pub const FINGERPRINT_CHURN: Points = Points::from_basis(2_000);

/// Kinds of clients with one credential within an hour from which `fingerprint_churn` begins, and
/// where it is certain. An application, its web view and its downloader are three.
pub const KINDS: Ramp = Ramp { from: 3, to: 6 };

/// How far it counts for what is used on several devices or by several programs.
pub const KINDS_OF_SEVERAL: Points = Points::from_basis(5_000);

/// Taken off for a user who has just authenticated: as much as a burst adds.
pub const FRESH_AUTHENTICATION: Points = Points::from_basis(2_000);

/// How far back rates, paging and interaction are measured. Long enough that a page load is
/// diluted, short enough that a principal is judged anew a minute after it stops.
pub const WINDOW: Duration = Duration::from_secs(60);

/// Confidence of the pattern signals over [`WINDOW`] is 0 up to what the tier allows in the window
/// (rate × window + burst: nobody who keeps to its declared rate produces this evidence, a
/// partner's nightly sync on its machine tier included) and 1 at this multiple of it: twice the
/// allowance for a whole minute is neither clock skew nor a retry.
pub const FULL_AT_ALLOWANCES: u64 = 2;

/// How far back haste is measured, beside [`WINDOW`]: a client at many times its rate need not be
/// served for twice a minute's allowance before it is certain. No shorter, since a mobile link that
/// stalls for some seconds delivers at once what was sent meanwhile, and that is no haste.
pub const HASTE_WINDOW: Duration = Duration::from_secs(10);

/// Confidence over [`HASTE_WINDOW`] is 0 up to what the tier allows in it (rate × window + burst,
/// which again nobody who keeps to both can pass) and 1 at this multiple. Three where the minute
/// has two: the burst is most of the allowance here, and a page that is reloaded at once is a
/// second burst.
pub const HASTE_FULL_AT_ALLOWANCES: u64 = 3;

/// Calls that the page of a busy application makes when it loads. Up to here nothing is haste,
/// however small a burst the tier declares: they come from one click.
pub const PAGE_LOAD: u64 = 60;

/// Paging up to one page a second is a person with a hand on the button, whatever the tier allows;
/// so are as many pages at a stretch, which is also a page load of tables.
pub const PAGES_BY_HAND: u64 = 60;

/// Requests that one interaction event excuses: a page load of a dozen calls, with room. A forged
/// event costs an edge-minted one-use token and buys no more than this.
pub const REQUESTS_PER_INTERACTION: u64 = 20;

/// Requests without excuse from which `no_interaction` begins, and where it is certain: two loads
/// of a busy page say nothing; 120 in a minute with nobody at the controls do. It counts requests,
/// not a rate, so it is as quick as the client is and needs no second window.
pub const UNEXCUSED: Ramp = Ramp { from: 30, to: 120 };

/// Rate that a principal without a tier may keep in the throttle band, and the baseline of its
/// pattern signals: five a second. It may be an address that an office shares.
pub const UNTIERED_RATE: Rate = Rate::per_minute(300);

/// Burst of a principal without a tier: several page loads at once.
pub const UNTIERED_BURST: u32 = 100;

/// Requests that the upstream accepted before a principal counts as a good one, whose presence
/// keeps its address from being banned: one lucky answer does not.
pub const ACCEPTED_UNTIL_GOOD: u16 = 3;

/// A confidence that rises linearly: 0 up to `from`, 1 from `to` on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ramp {
    /// The last value that is no evidence.
    pub from: u64,
    /// The first value that is full evidence; above `from`.
    pub to: u64,
}

impl Ramp {
    /// Confidence at `value`, from 0 to 1; never falls as `value` rises.
    #[must_use]
    pub fn confidence(self, value: u64) -> Points {
        let scale = u64::from(Points::ONE.as_basis());
        let above = value.saturating_sub(self.from).saturating_mul(scale);
        let length = self.to.saturating_sub(self.from).max(1);
        // At most `scale`, which fits.
        Points::from_basis(u32::try_from((above / length).min(scale)).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_is_linear_between_its_ends() {
        let check = |value, expected| {
            let confidence = Ramp { from: 180, to: 360 }.confidence(value);
            assert_eq!(confidence, Points::from_basis(expected), "{value}");
        };
        check(0, 0);
        check(180, 0);
        check(181, 55);
        check(270, 5_000);
        check(360, 10_000);
        check(u64::MAX, 10_000);
    }

    #[test]
    fn no_group_blocks_alone() {
        use Group::{Behaviour, Client, Key, Network, Pattern};
        for group in [Key, Pattern, Behaviour, Network, Client] {
            assert!(cap(group) < Points::from_basis(5_000), "{group:?}");
        }
    }
}
