//! What a list may not hold, however well it is written: this host and what it lives on, networks
//! that are nobody's in particular, too much of the address space, and a size that says that
//! something went wrong where the list was made. Pure.
//!
//! What guards this host is never overridden; the rest gives way to [`Force::Yes`].

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

use super::{Entry, Format, Parsed, Problem, scan};
use crate::enforcement::never_block::NeverBlock;
use crate::words::layer::Group;
use crate::words::network_set::NetworkSet;

/// Whether the operator has seen what is unusual about the list and wants it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Force {
    /// No: it is refused.
    No,
    /// `--force`.
    Yes,
}

/// Why a list is refused, and by which entry.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{why}")]
pub struct Refusal {
    /// Number of the first entry that is refused, counted from 0; `None` where it is the list as a
    /// whole.
    pub entry: Option<usize>,
    /// Why.
    pub why: Why,
}

/// What is wrong with a list.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Why {
    /// It would shut out this host, or somebody whom the configuration spares.
    #[error(
        "{network} must not be blocked: {covered}; take it out of the list, `--force` does not help here"
    )]
    Guarded {
        /// The entry.
        network: IpNet,
        /// What it hits.
        covered: String,
    },
    /// It is not of the public internet.
    #[error(
        "{network} is, or holds, {reserved}: {purpose}; take it out of the list, or give `--force`"
    )]
    Reserved {
        /// The entry.
        network: IpNet,
        /// What it hits.
        reserved: IpNet,
        /// What that is for.
        purpose: &'static str,
    },
    /// One entry is very wide.
    #[error(
        "{network} is wider than /{MIN_LEN_V4} (IPv4) or /{MIN_LEN_V6} (IPv6); take it out of the \
         list, or give `--force`"
    )]
    Wide {
        /// The entry.
        network: IpNet,
    },
    /// All of it is very wide.
    #[error(
        "the list covers {percent:.1} % of {space}, more than {MAX_PERCENT} %; look at its widest \
         entries, or give `--force`"
    )]
    Share {
        /// How much.
        percent: f64,
        /// Of what.
        space: &'static str,
    },
    /// It is much longer than what it replaces.
    #[error(
        "the list has {to} networks and the one that it replaces {from}: more than twice as many; \
         look at what it was made from, or give `--force`"
    )]
    Grown {
        /// Networks before.
        from: usize,
        /// Networks now.
        to: usize,
    },
    /// It is much shorter than what it replaces: protection would be lost without a word.
    #[error(
        "the list has {to} networks and the one that it replaces {from}: less than half as many; \
         look at what it was made from, or give `--force`"
    )]
    Shrunk {
        /// Networks before.
        from: usize,
        /// Networks now.
        to: usize,
    },
    /// There is nothing in it.
    #[error(
        "there is no entry in the list; `botguard block del --origin NAME` removes a list, `--force` \
         makes it empty"
    )]
    Empty,
}

impl Eq for Why {}

/// Shortest prefix of an entry of IPv4; none is announced that is wider.
pub const MIN_LEN_V4: u8 = 8;
/// Shortest prefix of an entry of IPv6; the widest allocations are /19s.
pub const MIN_LEN_V6: u8 = 16;
/// Most of a family's space that a list may cover: a sixteenth, in percent.
pub const MAX_PERCENT: f64 = 100.0 / 16.0;
/// Lists with fewer networks than this may grow and shrink as they like.
pub const MIN_LEN_COMPARED: usize = 1_000;

/// Says whether a list may be imported: what was read of `content`, in place of a list of
/// `replaced` networks, if of any.
///
/// Errors: the first entry that is refused, or else the first figure.
pub fn check(
    content: &[u8],
    format: Format,
    parsed: &Parsed,
    replaced: Option<usize>,
    guard: &NeverBlock,
    force: Force,
) -> Result<(), Refusal> {
    let gate = Gate { guard, force };
    let mut groups = parsed.groups.iter();
    if groups.any(|group| gate.may_refuse(&group.networks)) {
        first(content, format, &gate)?;
    }
    if force == Force::Yes {
        return Ok(());
    }
    let whole = |why| Err(Refusal { entry: None, why });
    let (v4, v6) = union(&parsed.groups).share();
    // 2000::/3 is all that is given out of IPv6 (RFC 4291 section 2.4, IANA's registry): an eighth.
    for (share, space) in [
        (v4, "all IPv4 addresses"),
        (v6 * 8.0, "2000::/3, the IPv6 in use"),
    ] {
        let percent = share * 100.0;
        if percent > MAX_PERCENT {
            return whole(Why::Share { percent, space });
        }
    }
    // Counted as the former was, group by group.
    let to = parsed.groups.iter().map(|group| group.networks.len()).sum();
    match replaced {
        Some(from) if from >= MIN_LEN_COMPARED && to > 2 * from => whole(Why::Grown { from, to }),
        Some(from) if from >= MIN_LEN_COMPARED && 2 * to < from => whole(Why::Shrunk { from, to }),
        _ if to == 0 => whole(Why::Empty),
        _ => Ok(()),
    }
}

/// The first entry that is refused. Cost: a walk over the whole list, so only where there is one.
fn first(content: &[u8], format: Format, gate: &Gate<'_>) -> Result<(), Refusal> {
    let mut number = 0;
    let mut refusal = None;
    // It was read before, so the only problem is the one that ends the walk.
    let _ended = scan(content, format, |Entry { network, .. }| {
        match gate.refuses(&network) {
            None => {
                number += 1;
                Ok(())
            }
            Some(why) => {
                refusal = Some(Refusal {
                    entry: Some(number),
                    why,
                });
                Err(Problem::TooMany)
            }
        }
    });
    refusal.map_or(Ok(()), Err)
}

fn union(groups: &[Group]) -> Arc<NetworkSet> {
    if let [only] = groups {
        return Arc::clone(&only.networks);
    }
    let sets = || groups.iter().map(|group| &*group.networks);
    let v4 = sets().flat_map(|set| set.v4().iter().copied());
    let v6 = sets().flat_map(|set| set.v6().iter().copied());
    Arc::new(NetworkSet::new(v4.collect(), v6.collect()))
}

struct Gate<'a> {
    guard: &'a NeverBlock,
    force: Force,
}

impl Gate<'_> {
    /// Whether an entry of the set is refused. Cost: a walk over the lengths, and a binary search
    /// for each network that is guarded or reserved.
    fn may_refuse(&self, set: &NetworkSet) -> bool {
        if self.guard.networks().any(|network| set.touches(&network)) {
            return true;
        }
        self.force == Force::No
            && (reserved().any(|(network, _purpose)| set.touches(&network))
                || set.v4().iter().any(|prefix| prefix.len < MIN_LEN_V4)
                || set.v6().iter().any(|prefix| prefix.len < MIN_LEN_V6))
    }

    fn refuses(&self, network: &IpNet) -> Option<Why> {
        let network = *network;
        if let Some(covered) = self.guard.covers(&network) {
            let covered = covered.to_string();
            return Some(Why::Guarded { network, covered });
        }
        if self.force == Force::Yes {
            return None;
        }
        let is_hit = |reserved: &IpNet| reserved.contains(&network) || network.contains(reserved);
        if let Some((reserved, purpose)) = reserved().find(|(reserved, _)| is_hit(reserved)) {
            return Some(Why::Reserved {
                network,
                reserved,
                purpose,
            });
        }
        let min_len = match network {
            IpNet::V4(_) => MIN_LEN_V4,
            IpNet::V6(_) => MIN_LEN_V6,
        };
        (network.prefix_len() < min_len).then_some(Why::Wide { network })
    }
}

/// Networks of RFC 6890 and its registries that no packet of a client comes from, or every client's
/// does. Those for documentation and benchmarks are left out: trials use them.
fn reserved() -> impl Iterator<Item = (IpNet, &'static str)> {
    let v4 = RESERVED_V4.into_iter().map(|(address, len, purpose)| {
        let network = ipnet::Ipv4Net::new_assert(Ipv4Addr::from(address), len);
        (IpNet::V4(network), purpose)
    });
    let v6 = RESERVED_V6.into_iter().map(|(address, len, purpose)| {
        let network = ipnet::Ipv6Net::new_assert(Ipv6Addr::from(address), len);
        (IpNet::V6(network), purpose)
    });
    v4.chain(v6)
}

const RESERVED_V4: [([u8; 4], u8, &str); 11] = [
    ([0, 0, 0, 0], 8, "this network"),
    ([10, 0, 0, 0], 8, "private use"),
    ([100, 64, 0, 0], 10, "carriers' shared addresses"),
    ([127, 0, 0, 0], 8, "loopback"),
    ([169, 254, 0, 0], 16, "link-local"),
    ([172, 16, 0, 0], 12, "private use"),
    ([192, 0, 0, 0], 24, "IETF protocols"),
    ([192, 88, 99, 0], 24, "6to4 relays"),
    ([192, 168, 0, 0], 16, "private use"),
    ([224, 0, 0, 0], 4, "multicast"),
    ([240, 0, 0, 0], 4, "reserved, and broadcast"),
];

const RESERVED_V6: [([u16; 8], u8, &str); 8] = [
    ([0; 8], 128, "unspecified"),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback"),
    ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, "IPv4 behind NAT64"),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "IPv4 behind NAT64"),
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discard only"),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "private use"),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local"),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast"),
];

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;
    use crate::enforcement::never_block::Guard;

    fn guard() -> NeverBlock {
        let mut guard = NeverBlock::default();
        guard.guard(Guard::Own, ["203.0.113.7/32".parse().unwrap()]);
        guard.guard(Guard::Operator, ["2001:db8:7::/48".parse().unwrap()]);
        guard
    }

    fn answer(content: &str, replaced: Option<usize>, force: Force) -> Result<(), Refusal> {
        let parsed = parse(content.as_bytes(), Format::Cidr).unwrap();
        let content = content.as_bytes();
        check(content, Format::Cidr, &parsed, replaced, &guard(), force)
    }

    /// Refused without force, by this entry and with this text; with force not, if so.
    fn check_gate(content: &str, expected: Option<(Option<usize>, &str)>, gives_way: bool) {
        let refusal = answer(content, None, Force::No).err();
        match (&refusal, expected) {
            (None, None) => {}
            (Some(refusal), Some((entry, text))) => {
                assert_eq!(refusal.entry, entry, "{refusal}");
                assert!(refusal.to_string().contains(text), "{refusal}");
                assert!(refusal.to_string().contains("--force"), "{refusal}");
            }
            _ => panic!("{content}: {refusal:?}"),
        }
        assert_eq!(
            answer(content, None, Force::Yes).is_ok(),
            gives_way,
            "{content}"
        );
    }

    #[test]
    fn this_host_is_never_blocked_whatever_the_operator_says() {
        let own = "203.0.113.7/32 is an address of this host";
        check_gate("192.0.2.1\n203.0.113.7", Some((Some(1), own)), false);
        check_gate("192.0.2.1\n203.0.113.0/24", Some((Some(1), own)), false);
        check_gate("203.0.113.8\n203.0.113.6", None, true);
        check_gate("2001:db8:7::1", Some((Some(0), "never_block")), false);
        check_gate("2001:db8::/32", Some((Some(0), "never_block")), false);
        check_gate("2001:db8:8::/48", None, true);
    }

    #[test]
    fn reserved_networks_need_force() {
        for (network, purpose) in reserved() {
            let text = network.to_string();
            check_gate(&text, Some((Some(0), purpose)), true);
            let inside = network.addr().to_string();
            check_gate(
                &format!("192.0.2.1\n{inside}"),
                Some((Some(1), purpose)),
                true,
            );
        }
        check_gate("192.168.0.0/15", Some((Some(0), "private use")), true);
        for trial in [
            "192.0.2.0/24",
            "198.51.100.0/24",
            "198.18.0.0/15",
            "2001:db9::/32",
        ] {
            check_gate(trial, None, true);
        }
    }

    #[test]
    fn a_wide_entry_or_list_needs_force() {
        check_gate("192.0.2.1\n64.0.0.0/7", Some((Some(1), "64.0.0.0/7")), true);
        check_gate("64.0.0.0/8", None, true);
        check_gate("2400::/12", Some((Some(0), "2400::/12")), true);
        check_gate("2400::/16", None, true);
        let wide = |from: u32, n: u32| -> String {
            (from..from + n)
                .map(|byte| format!("{byte}.0.0.0/8\n"))
                .collect()
        };
        check_gate(&wide(20, 16), None, true);
        check_gate(&wide(20, 17), Some((None, "6.6 % of all IPv4")), true);
        check_gate(&wide(20, 64), Some((None, "25.0 % of all IPv4")), true);
        let wide: String = (0..0x201)
            .map(|n| format!("{:x}::/16\n", 0x2400 + n))
            .collect();
        check_gate(&wide, Some((None, "6.3 % of 2000::/3")), true);
    }

    #[test]
    fn nested_networks_are_counted_once() {
        let text = "64.0.0.0/8\n".repeat(100) + "64.1.0.0/16\n";
        check_gate(&text, None, true);
        // The same network with several ends is one as well.
        let text: String = (0..40).map(|end| format!("64.0.0.0/8 {end}\n")).collect();
        let parsed = parse(text.as_bytes(), Format::Wire).unwrap();
        assert_eq!(parsed.groups.len(), 40);
        let answer = check(
            text.as_bytes(),
            Format::Wire,
            &parsed,
            None,
            &guard(),
            Force::No,
        );
        assert_eq!(answer, Ok(()));
    }

    #[test]
    fn sudden_growth_and_loss_need_force() {
        let list = |n: u32| -> String {
            (0..n)
                .map(|n| format!("{}\n", Ipv4Addr::from(0x4000_0000 + n)))
                .collect()
        };
        let check = |from: Option<usize>, to: u32, expected: Option<&str>| {
            let refusal = answer(&list(to), from, Force::No).err();
            let text = refusal.map(|refusal| refusal.to_string());
            match (&text, expected) {
                (None, None) => {}
                (Some(text), Some(expected)) => assert!(text.contains(expected), "{text}"),
                _ => panic!("{from:?} → {to}: {text:?}"),
            }
            assert_eq!(answer(&list(to), from, Force::Yes), Ok(()));
        };
        check(None, 5_000, None);
        check(Some(999), 5_000, None);
        check(Some(999), 1, None);
        check(Some(1_000), 2_000, None);
        check(Some(1_000), 2_001, Some("more than twice"));
        check(Some(1_000), 500, None);
        check(Some(1_000), 499, Some("less than half"));
        check(Some(1_000), 0, Some("less than half"));
        check(None, 0, Some("no entry"));
    }
}
