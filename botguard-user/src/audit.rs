//! The audit log: one JSON object a line, exactly one per request, and one for every change that
//! an operator or the engine made. Its form is a promise to other programs (`docs/audit.md`).
//!
//! [`record`] is the form, [`writer`] the thread that appends, [`search`] finds a record again.
//! What is written is decided in `daemon`; nothing here knows where records come from. No record
//! holds a secret: whoever builds one redacts.

use std::path::PathBuf;

use serde::Deserialize;

pub mod record;
pub mod search;
pub mod writer;

/// `[audit]`
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct AuditSettings {
    /// File that records are appended to; made with mode 0640. After a rotation, `botguard
    /// reload` (or SIGHUP) opens it anew.
    pub path: PathBuf,
    /// Refuse requests that cannot be recorded, instead of counting the loss.
    pub strict: bool,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self {
            path: PathBuf::from("/var/log/botguard/audit.jsonl"),
            strict: false,
        }
    }
}

impl AuditSettings {
    /// Names the keys that this version does not act on.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        if self.strict {
            vec!["audit.strict: not acted on by this version; losses are counted and recorded as a gap".to_owned()]
        } else {
            Vec::new()
        }
    }
}
