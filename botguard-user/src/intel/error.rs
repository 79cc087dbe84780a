//! What can be wrong with a table or list.

use std::path::{Path, PathBuf};

/// A file that cannot be used. The configuration's fault, or the file's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntelError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line that is not what the file's kind asks for.
    #[error("{}:{line}: {problem}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What is wrong with it.
        problem: RowProblem,
    },
    /// There is nothing in it.
    #[error("{}: is empty; expected {expected}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What belongs there.
        expected: &'static str,
    },
    /// An MMDB that cannot be decoded.
    #[error("{}: is a damaged MMDB: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: maxminddb::MaxMindDbError,
    },
    /// An MMDB of something else.
    #[error(
        "{}: is a database of type `{kind}` without `autonomous_system_number`; expected one of autonomous systems",
        path.display()
    )]
    NotOfSystems {
        /// The file.
        path: PathBuf,
        /// What it says it is.
        kind: String,
    },
}

/// What is wrong with a line.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RowProblem {
    /// Not four fields.
    #[error(
        "has {n_fields} fields; expected `start,end,asn,name` as in `192.0.2.0,192.0.2.255,64496,\"Example, Inc.\"`"
    )]
    Fields {
        /// How many it has.
        n_fields: usize,
    },
    /// Not text.
    #[error("is not UTF-8 text; expected CSV with `start,end,asn,name`, or an MMDB")]
    Text,
    /// Not an address.
    #[error("`{0}` is not an IP address; expected `start,end,asn,name` with addresses as text")]
    Address(String),
    /// Not an AS number.
    #[error("`{0}` is not an AS number; write it as in `16509` or `AS16509`")]
    Number(String),
    /// A range from one family to the other.
    #[error("the range starts and ends in different address families")]
    Families,
    /// A range that ends before it starts.
    #[error("the range ends before it starts; swap its addresses")]
    Reversed,
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, IntelError> {
    std::fs::read(path).map_err(|source| IntelError::Read {
        path: path.to_owned(),
        source,
    })
}
