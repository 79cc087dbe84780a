//! What an entry of a list may be, and what is said of one that is none.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{MAX_ENDS, MAX_ENTRIES};
use crate::words::address::{canonical_network, host_network};
use crate::words::clock::Wall;

/// What is wrong with an entry. The message says what to write instead.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Problem {
    /// Neither an address nor a network.
    #[error("`{0}` is not an address or network; write 192.0.2.7 or 192.0.2.0/24")]
    NoNetwork(String),
    /// Bits beyond the prefix: which network was meant cannot be told.
    #[error("`{text}` has bits set beyond its prefix; write {network} or {address}")]
    HostBits {
        /// As written.
        text: String,
        /// Without those bits.
        network: IpNet,
        /// Without the prefix.
        address: IpAddr,
    },
    /// Something behind the entry.
    #[error(
        "there is `{0}` behind the entry; write one entry a line, and comments behind `#` or `;`"
    )]
    Behind(String),
    /// Not a time.
    #[error("`{0}` is not a time; write it as in 2026-11-23T12:00:00Z (RFC 3339, in UTC)")]
    NoTime(String),
    /// JSON, but not of a list.
    #[error(
        "{0}; a list is an array of networks as strings, or of objects with a string `network` and, \
         if they end, a time `expires`"
    )]
    Json(String),
    /// Too long a list.
    #[error(
        "there are more than {MAX_ENTRIES} entries; import it in parts, each with an `--origin`"
    )]
    TooMany,
    /// Too many ends.
    #[error(
        "there are more than {MAX_ENDS} different times at which entries end; leave `expires` out \
         and give `--ttl`"
    )]
    TooManyEnds,
}

/// An address or network, canonical.
pub(super) fn network(text: &[u8]) -> Result<IpNet, Problem> {
    let parsed = std::str::from_utf8(text).ok().and_then(parse);
    let (address, len) = parsed.ok_or_else(|| Problem::NoNetwork(excerpt(text)))?;
    let Some(len) = len else {
        return Ok(host_network(address));
    };
    let network = IpNet::new(address, len).map_err(|_long| Problem::NoNetwork(excerpt(text)))?;
    if network.trunc() == network {
        Ok(canonical_network(network))
    } else {
        Err(Problem::HostBits {
            text: excerpt(text),
            network: network.trunc(),
            address,
        })
    }
}

fn parse(text: &str) -> Option<(IpAddr, Option<u8>)> {
    match text.split_once('/') {
        None => Some((text.parse().ok()?, None)),
        Some((address, len)) => {
            // `parse` of a number would take a sign.
            let is_number = len.bytes().all(|byte| byte.is_ascii_digit());
            let len = is_number.then(|| len.parse().ok())??;
            Some((address.parse().ok()?, Some(len)))
        }
    }
}

/// A time of RFC 3339, rounded up to the minute: ends that lie within one are one group of a list,
/// and it is the later end that protects.
pub(super) fn time(text: &str) -> Result<Wall, Problem> {
    let time = humantime::parse_rfc3339(text).ok();
    let since = time.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let since = since.ok_or_else(|| Problem::NoTime(excerpt(text.as_bytes())))?;
    let ms = Wall::default().after(since).as_unix_ms();
    Ok(Wall::from_unix_ms(
        ms.div_ceil(MINUTE_MS).saturating_mul(MINUTE_MS),
    ))
}

const MINUTE_MS: u64 = 60_000;

/// The beginning of what was written, fit to be printed.
pub(super) fn excerpt(text: &[u8]) -> String {
    const MOST_CHARACTERS: usize = 60;
    // A character has four bytes at most.
    let head = text.get(..4 * MOST_CHARACTERS).unwrap_or(text);
    let head = String::from_utf8_lossy(head);
    let mut shown: String = head
        .chars()
        .take(MOST_CHARACTERS)
        .map(|c| if is_command(c) { '\u{fffd}' } else { c })
        .collect();
    if shown.len() < text.len() && head.chars().nth(MOST_CHARACTERS).is_some() {
        shown.push('…');
    }
    shown
}

/// What would move the cursor of a terminal, or turn the direction of writing.
fn is_command(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
