//! What is said of autonomous systems that are blocked or lifted.

use ipnet::IpNet;

use super::list;
use crate::daemon::enforcer::{BlockedAsn, ListedAsn};
use crate::words::rule::Rule;

/// `AS16509 Amazon.com, Inc.: 5968 IPv4 and 1202 IPv6 networks of asn.csv of 2026-06-17, blocked …`,
/// and what was left out of it.
pub(super) fn lines(asn: &BlockedAsn, terms: &str) -> Vec<String> {
    let BlockedAsn {
        number,
        name,
        table,
        networks,
        left_out,
    } = asn;
    let (n_v4, n_v6) = (networks.v4().len(), networks.v6().len());
    let said =
        format!("AS{number} {name}: {n_v4} IPv4 and {n_v6} IPv6 networks of {table}, {terms}");
    let spared = left_out
        .iter()
        .map(|left| format!("AS{number}: left out, {left}"));
    std::iter::once(said).chain(spared).collect()
}

/// Networks and systems in a line.
pub(super) fn targets(networks: &[IpNet], asns: &[u32]) -> String {
    let asns: Vec<_> = asns
        .iter()
        .map(|number| Rule::Asn(*number).to_string())
        .collect();
    let parts = [list(networks), asns.join(" ")];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(" ")
}

/// Those of the targets that are not listed.
pub(super) fn unknown(networks: Option<String>, asns: &[u32], listed: &[u32]) -> Option<String> {
    let asns = asns
        .iter()
        .copied()
        .filter(|number| !listed.contains(number));
    let asns = targets(&[], &asns.collect::<Vec<_>>());
    let parts = networks
        .into_iter()
        .chain((!asns.is_empty()).then_some(asns));
    let parts: Vec<_> = parts.collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

/// The number of a listed system.
pub(super) const fn number(listed: &ListedAsn) -> u32 {
    listed.block.number
}
