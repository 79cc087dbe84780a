//! The audit log: one JSON object a line, exactly one per request, and one for every change that
//! an operator or the engine made. Its form is a promise to other programs (`docs/audit.md`).
//!
//! [`record`] is the form, [`writer`] the thread that appends, [`rotation`] when a file is full and
//! what its successors are called, [`search`] finds a record again, [`lines`] reads any of the
//! files. What is written is decided in `daemon`; nothing here knows where records come from. No
//! record holds a secret: whoever builds one redacts.

use std::path::PathBuf;

use serde::Deserialize;

use self::rotation::{Compress, Keep, Rotate, RotationError};

pub mod lines;
pub mod record;
pub mod rotation;
pub mod search;
pub mod writer;

mod appender;
mod archive;
mod health;

/// `[audit]`
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct AuditSettings {
    /// File that records are appended to; made with mode 0640.
    pub path: PathBuf,
    /// Refuse requests that cannot be recorded with 503, in every mode, instead of counting the
    /// loss.
    pub strict: bool,
    /// When a new file is begun: `{ size = "256MiB", age = "24h" }`, whichever comes first, or
    /// `"off"` to leave it to logrotate; then `botguard reload` (or SIGHUP) opens the file anew.
    pub rotate: Rotate,
    /// Which of the rotated files stay.
    pub keep: Keep,
    /// How rotated files are kept: `"gzip"` or `"none"`.
    pub compress: Compress,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self {
            path: PathBuf::from("/var/log/botguard/audit.jsonl"),
            strict: false,
            rotate: Rotate::default(),
            keep: Keep::default(),
            compress: Compress::default(),
        }
    }
}

impl AuditSettings {
    /// Refuses sizes and ages that would rotate or remove at every record.
    pub fn validate(&self) -> Result<(), RotationError> {
        self.rotate.validate()?;
        self.keep.validate()
    }
}
