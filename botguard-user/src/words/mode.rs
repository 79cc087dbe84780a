//! How far botguard may go: globally, per route, and in the kernel.

use serde::{Deserialize, Serialize};

/// Off, watch, or act. Ordered by how much it may do; the smaller of two modes is the effective
/// one (`min`).
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Requests are forwarded and recorded; botguard takes no decision of its own.
    Off,
    /// Requests are scored and recorded; botguard's own decisions deny nothing.
    #[default]
    Log,
    /// Decisions are carried out.
    Enforce,
}

impl Mode {
    /// Stable name, a metric label: as it is serialised.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Log => "log",
            Self::Enforce => "enforce",
        }
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
