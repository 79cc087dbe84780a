//! The configuration file: read, parsed and checked once, at the edge.

pub mod document;
pub mod suggestion;

use std::path::PathBuf;

/// A mistake in the configuration. Names file, line where it is known, key and mend.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}{}: {message}", path.display(), line.map_or_else(String::new, |line| format!(":{line}")))]
pub struct SettingsError {
    /// The file.
    pub path: PathBuf,
    /// Where in it, from 1.
    pub line: Option<usize>,
    /// What is wrong, and the mend.
    pub message: String,
}
