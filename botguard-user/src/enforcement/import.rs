//! Lists from files: from bytes to networks by the time they end. Pure, but for [`mod@file`].
//!
//! ```text
//! file ─► scan (lines or JSON) ─► entries, each with its line ─► parse: groups of networks
//!                                             └────────► wire: what the CLI sends the daemon
//! ```
//!
//! A list is read as a whole or not at all: the first bad entry ends it, with its line and the
//! mend. Not here: what it may not hold ([`gates`]), and how it takes effect (`daemon::enforcer`).

mod entry;
mod json;
mod lines;

pub mod file;
pub mod gates;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use ipnet::IpNet;

use crate::words::clock::Wall;
use crate::words::layer::Group;
use crate::words::network_set::{NetworkSet, Prefix};

pub use entry::Problem;

/// How a list is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// An address or network a line; `#` and `;` begin comments.
    Cidr,
    /// An array of strings, or of objects with `network` and, if they end, `expires`.
    Json,
    /// As [`wire`] writes it: [`Self::Cidr`], with the end in Unix milliseconds behind the network.
    Wire,
}

impl Format {
    /// By the first byte that is no space: only JSON begins with a bracket or brace.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        let content = without_mark(content).trim_ascii_start();
        match content.first() {
            Some(b'[' | b'{') => Self::Json,
            _ => Self::Cidr,
        }
    }
}

/// One entry of a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Whom; canonical.
    pub network: IpNet,
    /// Its own end, if it has one.
    pub expires: Option<Wall>,
}

/// A list that was read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Parsed {
    /// Its networks, by when they end; ends are distinct and in order.
    pub groups: Vec<Group>,
    /// Entries as written, repeated ones and those within others included.
    pub n_entries: usize,
}

/// A list that cannot be read. The fault of whoever wrote it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ImportError {
    /// 1-based.
    pub line: usize,
    /// What is wrong there, and the mend.
    pub problem: Problem,
}

/// Most entries of a list: four times the largest that is published, and as wire text below the
/// longest request (a network of IPv6 with its end has 58 bytes at most, and a line feed in JSON
/// two).
pub const MAX_ENTRIES: usize = 1 << 22;

/// Most distinct ends in a list; each is a layer of its own.
pub const MAX_ENDS: usize = 1 << 12;

/// Reads a list.
///
/// Cost: linear, no allocation an entry; sorting where the list is not in order.
/// Errors: the first bad entry, with its line.
pub fn parse(content: &[u8], format: Format) -> Result<Parsed, ImportError> {
    type Networks = (Vec<Prefix<u32>>, Vec<Prefix<u128>>);
    let mut groups: BTreeMap<Option<Wall>, Networks> = BTreeMap::new();
    let mut unending: Networks = (vec![], vec![]);
    let mut n_entries = 0;
    scan_at_most(MAX_ENTRIES, content, format, |entry| {
        n_entries += 1;
        let (v4, v6) = if entry.expires.is_none() {
            &mut unending
        } else if groups.len() < MAX_ENDS || groups.contains_key(&entry.expires) {
            groups.entry(entry.expires).or_default()
        } else {
            return Err(Problem::TooManyEnds);
        };
        match entry.network {
            IpNet::V4(network) => v4.push(network.into()),
            IpNet::V6(network) => v6.push(network.into()),
        }
        Ok(())
    })?;
    if unending != (vec![], vec![]) {
        groups.insert(None, unending);
    }
    let groups = groups.into_iter().map(|(expires, (v4, v6))| Group {
        expires,
        networks: Arc::new(NetworkSet::new(v4, v6)),
    });
    Ok(Parsed {
        groups: groups.collect(),
        n_entries,
    })
}

/// A list in the form that travels to the daemon: entry for entry, so that the daemon can name one
/// by its number, without comments.
///
/// Errors: the first bad entry, with its line.
pub fn wire(content: &[u8], format: Format) -> Result<String, ImportError> {
    let mut text = String::with_capacity(content.len());
    scan_at_most(MAX_ENTRIES, content, format, |entry| {
        // Writing to a string cannot fail.
        let _written = match entry.expires {
            None => writeln!(text, "{}", entry.network),
            Some(end) => writeln!(text, "{} {}", entry.network, end.as_unix_ms()),
        };
        Ok(())
    })?;
    Ok(text)
}

/// The line of the entry with this number, counted from 0.
#[must_use]
pub fn line_of(content: &[u8], format: Format, entry: usize) -> Option<usize> {
    let mut left = entry;
    let found = scan(content, format, |_entry| match left.checked_sub(1) {
        Some(fewer) => {
            left = fewer;
            Ok(())
        }
        None => Err(Problem::TooMany),
    });
    found.err().map(|error| error.line)
}

/// Hands over entry after entry, until one is bad or refused.
///
/// Errors: the bad or refused entry, with its line.
pub fn scan(
    content: &[u8],
    format: Format,
    mut take: impl FnMut(Entry) -> Result<(), Problem>,
) -> Result<(), ImportError> {
    let content = without_mark(content);
    match format {
        Format::Cidr => lines::scan(content, lines::Ends::None, &mut take),
        Format::Wire => lines::scan(content, lines::Ends::Behind, &mut take),
        Format::Json => json::scan(content, &mut take),
    }
}

fn scan_at_most(
    n_entries: usize,
    content: &[u8],
    format: Format,
    mut take: impl FnMut(Entry) -> Result<(), Problem>,
) -> Result<(), ImportError> {
    let mut left = n_entries;
    scan(content, format, |entry| {
        left = left.checked_sub(1).ok_or(Problem::TooMany)?;
        take(entry)
    })
}

/// Without the byte order mark that some editors begin a file with.
fn without_mark(content: &[u8]) -> &[u8] {
    content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content)
}

#[cfg(test)]
mod tests;
