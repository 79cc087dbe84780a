//! The autonomous systems that a scene blocks: the largest hosting ones of a real table where one
//! is given, else as many made-up ones.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::workload::{NetworkV4, prefixes};

/// The `n` hosting systems of a table that announce most addresses.
///
/// The table is `asn-ipv4.csv` of the npm package `@ip-location-db/asn`: first and last address,
/// number, name.
///
/// Errors: no such file, or no hosting system in it.
pub fn largest_hosting(table: &Path, n: usize) -> Result<Vec<(u32, Vec<NetworkV4>)>> {
    let text = std::fs::read_to_string(table).with_context(|| table.display().to_string())?;
    let mut systems: BTreeMap<u32, (u64, Vec<NetworkV4>)> = BTreeMap::new();
    for line in text.lines() {
        let Some((first, last, number, name)) = parse(line) else {
            continue;
        };
        if is_hosting(name) {
            let system = systems.entry(number).or_default();
            system.0 += u64::from(last.saturating_sub(first)) + 1;
            split(first, last, &mut system.1);
        }
    }
    let path = table.display();
    ensure!(!systems.is_empty(), "{path}: no hosting system of IPv4");
    let mut by_size: Vec<_> = systems.into_iter().collect();
    by_size.sort_by_key(|(_number, (n_addresses, _))| std::cmp::Reverse(*n_addresses));
    by_size.truncate(n);
    Ok(by_size
        .into_iter()
        .map(|(number, (_, networks))| (number, networks))
        .collect())
}

/// `n` made-up systems that announce about as many /24s as 500 hosting ones of the real table do.
#[must_use]
pub fn made_up(n: usize, seed: u64) -> Vec<(u32, Vec<NetworkV4>)> {
    (64_512..)
        .zip(0..n)
        .map(|(number, index)| {
            let seed = seed.wrapping_add(u64::try_from(index).unwrap_or(0));
            (number, prefixes(NETWORKS_EACH, seed))
        })
        .collect()
}

/// 500 systems of 21 networks, of 5 /24s on average, make up the 52,676 /24s that
/// 500 hosting systems were counted to announce in 2026.
const NETWORKS_EACH: usize = 21;

fn parse(line: &str) -> Option<(u32, u32, u32, &str)> {
    let mut fields = line.splitn(4, ',').map(|field| field.trim_matches('"'));
    let first: Ipv4Addr = fields.next()?.parse().ok()?;
    let last: Ipv4Addr = fields.next()?.parse().ok()?;
    let number = fields.next()?.parse().ok()?;
    Some((first.into(), last.into(), number, fields.next()?))
}

fn is_hosting(name: &str) -> bool {
    const WORDS: [&str; 20] = [
        "hosting",
        "host",
        "cloud",
        "server",
        "datacent",
        "data cent",
        "vps",
        "colo",
        "amazon",
        "google",
        "microsoft",
        "ovh",
        "hetzner",
        "digitalocean",
        "linode",
        "akamai",
        "oracle",
        "alibaba",
        "tencent",
        "contabo",
    ];
    let name = name.to_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}

/// A range as the fewest networks.
fn split(first: u32, last: u32, networks: &mut Vec<NetworkV4>) {
    let mut next = u64::from(first);
    let end = u64::from(last) + 1;
    while next < end {
        let aligned = if next == 0 { 32 } else { next.trailing_zeros() };
        let room = (end - next).ilog2();
        let bits = aligned.min(room).min(32);
        let (Ok(address), Ok(len)) = (u32::try_from(next), u8::try_from(32 - bits)) else {
            return;
        };
        networks.push((address, len));
        next += 1 << bits;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_become_networks() {
        let check = |first: &str, last: &str, expected: &[(&str, u8)]| {
            let mut networks = vec![];
            let address = |text: &str| u32::from(text.parse::<Ipv4Addr>().unwrap());
            split(address(first), address(last), &mut networks);
            let expected: Vec<_> = expected.iter().map(|(a, len)| (address(a), *len)).collect();
            assert_eq!(networks, expected);
        };
        check("1.0.0.0", "1.0.0.255", &[("1.0.0.0", 24)]);
        check("1.0.1.0", "1.0.3.255", &[("1.0.1.0", 24), ("1.0.2.0", 23)]);
        check("0.0.0.0", "255.255.255.255", &[("0.0.0.0", 0)]);
        check("1.2.3.4", "1.2.3.4", &[("1.2.3.4", 32)]);
    }

    #[test]
    fn the_largest_hosting_systems_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("asn-ipv4.csv");
        std::fs::write(
            &path,
            "1.0.0.0,1.0.0.255,1,\"Small Hosting, Inc.\"\n\
             2.0.0.0,2.0.255.255,2,Big Cloud\n\
             3.0.0.0,3.255.255.255,3,An ISP\n\
             2001:db8::,2001:db8::ffff,4,Six Cloud\n",
        )
        .unwrap();
        let systems = largest_hosting(&path, 1).unwrap();
        assert_eq!(systems, [(2, vec![(2 << 24, 16)])]);
        assert_eq!(largest_hosting(&path, 9).unwrap().len(), 2);
        assert_eq!(made_up(3, 1).len(), 3);
    }
}
