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
        "{}: is a database of type `{kind}` without `{field}`; expected one of {expected}",
        path.display()
    )]
    AnotherDatabase {
        /// The file.
        path: PathBuf,
        /// What it says it is.
        kind: String,
        /// What its records lack.
        field: &'static str,
        /// Of what it should be.
        expected: &'static str,
    },
    /// A prefix of a published list.
    #[error("{}: prefix {nth}: {problem}", path.display())]
    Prefix {
        /// The file.
        path: PathBuf,
        /// Which, from 1.
        nth: u64,
        /// What is wrong with it.
        problem: RowProblem,
    },
    /// Two crawlers of one name.
    #[error("crawler {name} stands twice; give each its own name")]
    SameCrawler {
        /// Their name.
        name: String,
    },
}

/// What is wrong with a line.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RowProblem {
    /// Another number of fields than a row has.
    #[error("has {n_fields} fields; expected {expected}")]
    Fields {
        /// How many it has.
        n_fields: usize,
        /// What a row is like.
        expected: &'static str,
    },
    /// Not text.
    #[error("is not UTF-8 text; expected {0}")]
    Text(&'static str),
    /// Not an address.
    #[error("`{0}` is not an IP address; expected addresses as text, as in `192.0.2.0`")]
    Address(String),
    /// Not a country.
    #[error("`{0}` is not a country; write it by its code of two letters, as in `DE`")]
    Country(String),
    /// Not an AS number.
    #[error("`{0}` is not an AS number; write it as in `16509` or `AS16509`")]
    Number(String),
    /// Not a list of prefixes.
    #[error("is not a list of prefixes: {0}; get the file anew")]
    Prefixes(String),
    /// A network that cannot be a crawler's.
    #[error("{0} is wider than any crawler's; IPv4 networks are /8 at most, IPv6 ones /16")]
    Wide(ipnet::IpNet),
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
