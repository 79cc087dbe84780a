//! Reads the audit log of a running daemon, line by line as it grows.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A place in a growing JSON-lines file.
#[derive(Debug)]
pub struct AuditTail {
    path: PathBuf,
    offset: u64,
    partial: Vec<u8>,
}

impl AuditTail {
    /// Starts at the beginning of `path`, which need not exist yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            offset: 0,
            partial: Vec::new(),
        }
    }

    /// Records that have become complete since the last call.
    ///
    /// Errors: the file cannot be read, or a complete line is not JSON.
    pub fn read(&mut self) -> Result<Vec<Value>> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context(self.path.display().to_string()),
        };
        file.seek(SeekFrom::Start(self.offset))?;
        let n_read = file.read_to_end(&mut self.partial)?;
        self.offset += u64::try_from(n_read)?;
        let Some(end) = self.partial.iter().rposition(|&byte| byte == b'\n') else {
            return Ok(Vec::new());
        };
        let rest = self.partial.split_off(end + 1);
        let complete = std::mem::replace(&mut self.partial, rest);
        complete
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| {
                serde_json::from_slice(line)
                    .with_context(|| format!("audit line {}", String::from_utf8_lossy(line)))
            })
            .collect()
    }
}
