//! An imported list as one row of the store: a readable header, and behind it its networks in as
//! few bytes as they have. One row, so that a list is replaced whole or not at all.
//!
//! ```text
//! length of the header (4 bytes, little-endian) · header (JSON) · group · group …
//! group: its IPv4 networks (4 bytes of address in network order, prefix length), its IPv6
//!        networks (16 bytes, prefix length)
//! ```
//!
//! Pure. Size: a million IPv4 networks are 5 MB.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::words::clock::Wall;
use crate::words::layer::{Group, NamedList, Terms};
use crate::words::network_set::{Address, NetworkSet, Prefix};
use crate::words::rule::{ListName, ListNameError};

/// What a list is, less its networks.
#[derive(Debug, Deserialize, Serialize)]
struct Header<'a> {
    terms: Cow<'a, Terms>,
    groups: Vec<GroupHeader>,
}

#[derive(Debug, Deserialize, Serialize)]
struct GroupHeader {
    expires: Option<Wall>,
    n_v4: usize,
    n_v6: usize,
}

/// A row that this version does not write. Internal: damage, or another version's.
#[derive(Debug, thiserror::Error)]
pub enum ListRowError {
    /// Its key names no list.
    #[error(transparent)]
    Name(#[from] ListNameError),
    /// Its header is none.
    #[error("bad header: {0}")]
    Header(#[from] serde_json::Error),
    /// There is less or more of it than its header says.
    #[error("{0}")]
    Length(&'static str),
    /// A network is none.
    #[error("network {0} of a group has bits beyond its prefix or too long a prefix")]
    Network(usize),
}

/// The row of a list; its key is the name.
///
/// Errors: none that a list can cause.
pub fn encode(list: &NamedList) -> Result<Vec<u8>, ListRowError> {
    let groups = list.groups.iter().map(|group| GroupHeader {
        expires: group.expires,
        n_v4: group.networks.v4().len(),
        n_v6: group.networks.v6().len(),
    });
    let header = serde_json::to_vec(&Header {
        terms: Cow::Borrowed(&list.terms),
        groups: groups.collect(),
    })?;
    let n_header = u32::try_from(header.len()).map_err(|_large| LARGE_HEADER)?;
    let n_bytes = list
        .groups
        .iter()
        .map(|group| group.networks.v4().len() * V4_BYTES + group.networks.v6().len() * V6_BYTES);
    let mut row = Vec::with_capacity(LENGTH_BYTES + header.len() + n_bytes.sum::<usize>());
    row.extend_from_slice(&n_header.to_le_bytes());
    row.extend_from_slice(&header);
    for group in &list.groups {
        for prefix in group.networks.v4() {
            row.extend_from_slice(&prefix.address.to_be_bytes());
            row.push(prefix.len);
        }
        for prefix in group.networks.v6() {
            row.extend_from_slice(&prefix.address.to_be_bytes());
            row.push(prefix.len);
        }
    }
    Ok(row)
}

/// The list of a row.
pub fn decode(name: &str, row: &[u8]) -> Result<NamedList, ListRowError> {
    let name: ListName = name.parse()?;
    let (n_header, rest) = row.split_first_chunk::<LENGTH_BYTES>().ok_or(SHORT)?;
    let n_header = u32::from_le_bytes(*n_header) as usize;
    let (header, mut rest) = rest.split_at_checked(n_header).ok_or(SHORT)?;
    let header: Header<'_> = serde_json::from_slice(header)?;
    let mut groups = Vec::with_capacity(header.groups.len());
    for group in &header.groups {
        let v4 = take(&mut rest, group.n_v4, |bytes: &[u8; V4_BYTES]| {
            let [a, b, c, d, len] = *bytes;
            (u32::from_be_bytes([a, b, c, d]), len)
        })?;
        let v6 = take(&mut rest, group.n_v6, |bytes: &[u8; V6_BYTES]| {
            // All bytes but the last; the shift drops the prefix length's place.
            let (address, len) = bytes.split_at(V6_BYTES - 1);
            let address = address
                .iter()
                .fold(0, |sum, byte| sum << 8 | u128::from(*byte));
            (address, len.first().copied().unwrap_or_default())
        })?;
        groups.push(Group {
            expires: group.expires,
            networks: Arc::new(NetworkSet::new(v4, v6)),
        });
    }
    if !rest.is_empty() {
        return Err(ListRowError::Length(
            "there is more of it than its header says",
        ));
    }
    Ok(NamedList {
        name,
        terms: header.terms.into_owned(),
        groups,
    })
}

const LENGTH_BYTES: usize = 4;
const V4_BYTES: usize = 5;
const V6_BYTES: usize = 17;
const SHORT: ListRowError = ListRowError::Length("there is less of it than its header says");
const LARGE_HEADER: ListRowError = ListRowError::Length("its header is larger than 4 GiB");

fn take<A: Address, const N: usize>(
    rest: &mut &[u8],
    n_networks: usize,
    read: impl Fn(&[u8; N]) -> (A, u8),
) -> Result<Vec<Prefix<A>>, ListRowError> {
    let n_bytes = n_networks.checked_mul(N).ok_or(SHORT)?;
    let (bytes, after) = rest.split_at_checked(n_bytes).ok_or(SHORT)?;
    *rest = after;
    let (chunks, _none) = bytes.as_chunks::<N>();
    let mut prefixes = Vec::with_capacity(n_networks);
    for (index, chunk) in chunks.iter().enumerate() {
        let (address, len) = read(chunk);
        if len > A::BITS || address.truncated(len) != address {
            return Err(ListRowError::Network(index));
        }
        prefixes.push(Prefix { address, len });
    }
    Ok(prefixes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::words::block::{Effect, Scope};

    fn list(groups: Vec<Group>) -> NamedList {
        NamedList {
            name: "drop".parse().unwrap(),
            terms: Terms {
                scope: Scope::Host,
                effect: Effect::Count,
                created: Wall::from_unix_ms(7),
                reason: "a list\nof \"lists\"".to_owned(),
            },
            groups,
        }
    }

    fn group(expires: Option<u64>, v4: Vec<(u32, u8)>, v6: Vec<(u128, u8)>) -> Group {
        fn prefixes<A: Address>(parts: Vec<(A, u8)>) -> Vec<Prefix<A>> {
            let prefix = |(address, len): (A, u8)| Prefix {
                address: address.truncated(len),
                len,
            };
            parts.into_iter().map(prefix).collect()
        }
        Group {
            expires: expires.map(Wall::from_unix_ms),
            networks: Arc::new(NetworkSet::new(prefixes(v4), prefixes(v6))),
        }
    }

    proptest! {
        #[test]
        fn lists_are_read_as_written(groups in prop::collection::vec(
            (
                prop::option::of(any::<u64>()),
                prop::collection::vec((any::<u32>(), 0_u8..=32), 0..8),
                prop::collection::vec((any::<u128>(), 0_u8..=128), 0..8),
            ),
            0..4,
        )) {
            let groups = groups.into_iter().map(|(end, v4, v6)| group(end, v4, v6));
            let list = list(groups.collect());
            let row = encode(&list).unwrap();
            prop_assert_eq!(decode("drop", &row).unwrap(), list);
            for end in 0..row.len() {
                prop_assert!(decode("drop", &row[..end]).is_err());
            }
        }

        #[test]
        fn any_bytes_are_answered(row in prop::collection::vec(any::<u8>(), 0..64)) {
            let _answered: Result<NamedList, ListRowError> = decode("drop", &row);
        }
    }

    #[test]
    fn damage_is_named() {
        let row = encode(&list(vec![group(None, vec![(0x0a00_0000, 8)], vec![])])).unwrap();
        let check = |name: &str, row: &[u8], expected: &str| {
            let error = decode(name, row).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("Drop", &row, "cannot name a list");
        check("drop", &[&row[..], b"x"].concat(), "more of it");
        check("drop", &row[..row.len() - 1], "less of it");
        check("drop", &[4, 0, 0, 0, b'{', b'}', b' ', b' '], "bad header");
        let mut long = row;
        *long.last_mut().unwrap() = 33;
        check("drop", &long, "network 0");
        *long.last_mut().unwrap() = 4;
        check("drop", &long, "network 0");
    }
}
