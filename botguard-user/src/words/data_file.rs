//! A file of data that the operator keeps up to date, as `botguard status` shows it.

use std::path::Path;

use crate::words::clock::Wall;

/// One file in force.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DataFile {
    /// What it is for: `asn`, `country`, `hosting`, `jwks`, `crawler googlebot`.
    pub kind: String,
    /// Its name, without the directory; or `built-in`.
    pub name: String,
    /// Entries in it, of its own kind: ranges, systems, networks, keys.
    pub n_entries: usize,
    /// When its data was made, as far as it says so; else when the file was last modified. What is
    /// built in has no date of its own.
    pub date: Option<Wall>,
}

/// A path's last part.
#[must_use]
pub fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}
