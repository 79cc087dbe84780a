//! A table as a file: its content, what kind it is by its looks, and how old its data is.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use csv::{ByteRecord, ReaderBuilder};
use maxminddb::Reader;

use super::error::{IntelError, RowProblem, read};
use crate::words::clock::Wall;
use crate::words::data_file::file_name;

/// A file that was read.
#[derive(Debug)]
pub(super) struct TableFile {
    pub(super) path: PathBuf,
    pub(super) content: Vec<u8>,
    /// When the data was made: an MMDB says so, of others the time of modification is known.
    pub(super) date: Wall,
}

/// What a row of a CSV is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowShape<const N: usize> {
    /// An example of it, for errors.
    pub(super) expected: &'static str,
    /// So many of its fields hold digits, but in a header.
    pub(super) n_with_digits: usize,
}

impl TableFile {
    /// Errors: the file cannot be read.
    pub(super) fn read(path: &Path) -> Result<Self, IntelError> {
        Ok(Self {
            path: path.to_owned(),
            content: read(path)?,
            date: modified(path)?,
        })
    }

    /// Whether the content has the marker of an MMDB's metadata, which stands in its last 128 KiB.
    pub(super) fn is_database(&self) -> bool {
        let tail = &self.content[self.content.len().saturating_sub(128 * 1_024)..];
        tail.windows(METADATA_MARKER.len())
            .any(|window| window == METADATA_MARKER)
    }

    /// The file as an MMDB, and the date that it says of itself.
    ///
    /// Errors: it is damaged.
    pub(super) fn database(&self) -> Result<(Reader<&[u8]>, Wall), IntelError> {
        let reader = Reader::from_source(self.content.as_slice());
        let reader = reader.map_err(|source| self.damaged(source))?;
        let date = match reader.metadata().build_epoch {
            0 => self.date,
            seconds => Wall::from_unix_ms(seconds.saturating_mul(1_000)),
        };
        Ok((reader, date))
    }

    pub(super) fn damaged(&self, source: maxminddb::MaxMindDbError) -> IntelError {
        IntelError::Database {
            path: self.path.clone(),
            source,
        }
    }

    /// Hands each row of a CSV to `add`, but a header.
    ///
    /// Errors: what `add` says of a row, with its line.
    pub(super) fn each_row<const N: usize>(
        &self,
        shape: RowShape<N>,
        mut add: impl FnMut([&str; N], u64) -> Result<(), RowProblem>,
    ) -> Result<(), IntelError> {
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(self.content.as_slice());
        let mut record = ByteRecord::new();
        let mut is_first = true;
        while reader
            .read_byte_record(&mut record)
            // Octets in memory, of any number of fields, cannot fail to be read; the reader's type
            // does not know.
            .map_err(|error| IntelError::Read {
                path: self.path.clone(),
                source: error.into(),
            })?
        {
            let line = record.position().map_or(0, csv::Position::line);
            let added = shape.fields(&record).and_then(|fields| add(fields, line));
            match added {
                Err(_header) if is_first && shape.is_header(&record) => {}
                row => row.map_err(|problem| IntelError::Row {
                    path: self.path.clone(),
                    line,
                    problem,
                })?,
            }
            is_first = false;
        }
        Ok(())
    }

    /// File name and day: `asn.csv of 2026-06-17`.
    pub(super) fn label(&self, date: Wall) -> String {
        let timestamp = date.to_string();
        let day = timestamp.split('T').next().unwrap_or_default();
        format!("{} of {day}", file_name(&self.path))
    }
}

impl<const N: usize> RowShape<N> {
    fn fields<'a>(&self, record: &'a ByteRecord) -> Result<[&'a str; N], RowProblem> {
        // Text first: what is binary is not a row with too few fields.
        let fields: Vec<&str> = record
            .iter()
            .map(|octets| {
                std::str::from_utf8(octets).map_err(|_cause| RowProblem::Text(self.expected))
            })
            .collect::<Result<_, _>>()?;
        let n_fields = fields.len();
        fields.try_into().map_err(|_fields| RowProblem::Fields {
            n_fields,
            expected: self.expected,
        })
    }

    /// A row without a digit where addresses and numbers belong.
    fn is_header(&self, record: &ByteRecord) -> bool {
        let is_word = |field: &[u8]| {
            let text = std::str::from_utf8(field).unwrap_or_default();
            !text.is_empty() && !text.contains(|letter: char| letter.is_ascii_digit())
        };
        record.len() == N && record.iter().take(self.n_with_digits).all(is_word)
    }
}

/// When a file was last modified.
///
/// Errors: it is not there.
pub(super) fn modified(path: &Path) -> Result<Wall, IntelError> {
    let modified = std::fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .map_err(|source| IntelError::Read {
            path: path.to_owned(),
            source,
        })?;
    // A file from before 1970 is as old as can be shown.
    let since_epoch = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Wall::from_unix_ms(
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
    ))
}

pub(super) const METADATA_MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

#[cfg(test)]
pub(super) mod example;
