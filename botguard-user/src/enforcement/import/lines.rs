//! Lists of lines: an entry each, or none.

use super::entry::{Problem, excerpt, network};
use super::{Entry, ImportError};
use crate::words::clock::Wall;

/// Whether an entry's end stands behind it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ends {
    /// Never.
    None,
    /// In Unix milliseconds, if it ends.
    Behind,
}

pub(super) fn scan(
    content: &[u8],
    ends: Ends,
    take: &mut impl FnMut(Entry) -> Result<(), Problem>,
) -> Result<(), ImportError> {
    for (line, text) in (1..).zip(content.split(|byte| *byte == b'\n')) {
        read(text, ends)
            .and_then(|entry| entry.map_or(Ok(()), &mut *take))
            .map_err(|problem| ImportError { line, problem })?;
    }
    Ok(())
}

fn read(line: &[u8], ends: Ends) -> Result<Option<Entry>, Problem> {
    let text = line.trim_ascii();
    let is_end = |byte: &u8| matches!(byte, b'#' | b';') || byte.is_ascii_whitespace();
    let end = text.iter().position(is_end).unwrap_or(text.len());
    let (entry, behind) = text.split_at(end);
    let behind = behind.trim_ascii_start();
    let is_comment = matches!(behind.first(), None | Some(b'#' | b';'));
    if entry.is_empty() && is_comment {
        return Ok(None);
    }
    let network = network(entry)?;
    let expires = match (is_comment, ends) {
        (true, _) => None,
        (false, Ends::Behind) => Some(unix_ms(behind)?),
        (false, Ends::None) => return Err(Problem::Behind(excerpt(behind))),
    };
    Ok(Some(Entry { network, expires }))
}

fn unix_ms(text: &[u8]) -> Result<Wall, Problem> {
    let number = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok());
    let number = number.ok_or_else(|| Problem::NoTime(excerpt(text)))?;
    Ok(Wall::from_unix_ms(number))
}
