//! `[kernel]` and `[enforcement]` of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::words::block::Scope;
use crate::words::units::Span;

/// `[kernel]`: where the filter is attached, and how.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct KernelSettings {
    /// What drops packets: `xdp`, or `none` for nobody.
    pub backend: Backend,
    /// Interfaces that get the filter, by name. Empty: the maps are kept, no packet is filtered.
    pub interfaces: Vec<String>,
    /// `native`, in the driver; or `generic`, slower, for drivers that cannot. Never chosen by
    /// itself.
    pub mode: AttachMode,
    /// Scope of bans, and of operator blocks that name none: `listeners` or `host`.
    pub scope: Scope,
    /// Directory of the pins, on a bpffs.
    pub pin_dir: PathBuf,
    /// Refuse to start where the filter cannot be attached.
    pub required: bool,
}

impl Default for KernelSettings {
    fn default() -> Self {
        Self {
            backend: Backend::Xdp,
            interfaces: vec![],
            mode: AttachMode::Native,
            scope: Scope::Listeners,
            pin_dir: PathBuf::from("/sys/fs/bpf/botguard"),
            required: false,
        }
    }
}

/// What drops packets.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Backend {
    /// The XDP program.
    #[default]
    Xdp,
    /// Nothing: the edge alone enforces.
    None,
}

impl From<Backend> for &'static str {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Xdp => "xdp",
            Backend::None => "none",
        }
    }
}

impl TryFrom<String> for Backend {
    type Error = BackendError;

    fn try_from(name: String) -> Result<Self, BackendError> {
        match name.as_str() {
            "xdp" => Ok(Self::Xdp),
            "none" => Ok(Self::None),
            "tcx" | "nftables" => Err(BackendError::NotYet(name)),
            _ => Err(BackendError::Unknown(name)),
        }
    }
}

/// A backend that cannot be had. The configuration's fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BackendError {
    /// Planned.
    #[error(
        "[kernel] backend \"{0}\" is not yet supported by this version; write \"xdp\" or \"none\""
    )]
    NotYet(String),
    /// Unheard of.
    #[error("[kernel] backend \"{0}\" is unknown; write \"xdp\" or \"none\"")]
    Unknown(String),
}

/// Where on its way a packet meets the filter.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AttachMode {
    /// In the driver, before anything is allocated for the packet.
    #[default]
    Native,
    /// In the network stack: works with every driver, and costs most of the gain.
    Generic,
}

impl std::fmt::Display for AttachMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

/// `[enforcement]`: from a decision to a block.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct EnforcementSettings {
    /// How often a source must be denied before it goes to the kernel.
    pub ban_after: BanAfter,
    /// How long the first ban of a source lasts.
    pub ttl: Span,
    /// How many times longer each further one lasts.
    pub ttl_factor: u32,
    /// No ban lasts longer.
    pub ttl_max: Span,
    /// With more good principals than this behind an address, it is not banned in the kernel.
    pub good_principals: u32,
    /// How long a good principal is remembered.
    pub good_window: Span,
    /// The widest automatic bans, one prefix length a family: IPv4, IPv6. At most `/24` and `/64`.
    pub widest: [PrefixLen; 2],
}

impl Default for EnforcementSettings {
    fn default() -> Self {
        const HOUR: Duration = Duration::from_secs(3_600);
        Self {
            ban_after: BanAfter::default(),
            ttl: Span(HOUR / 6),
            ttl_factor: 4,
            ttl_max: Span(24 * HOUR),
            good_principals: 0,
            good_window: Span(24 * HOUR),
            widest: [PrefixLen(24), PrefixLen(64)],
        }
    }
}

/// So many denials in so long.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct BanAfter {
    /// Denied requests.
    pub denied: u32,
    /// The window they are counted in.
    pub within: Span,
}

impl Default for BanAfter {
    fn default() -> Self {
        Self {
            denied: 20,
            within: Span(Duration::from_secs(10)),
        }
    }
}

/// A prefix length, written `"/24"`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct PrefixLen(pub u8);

impl From<PrefixLen> for String {
    fn from(len: PrefixLen) -> Self {
        format!("/{}", len.0)
    }
}

impl TryFrom<String> for PrefixLen {
    type Error = PrefixLenError;

    fn try_from(text: String) -> Result<Self, PrefixLenError> {
        let len = text.strip_prefix('/').and_then(|len| len.parse().ok());
        match len {
            Some(len @ 0..=128) => Ok(Self(len)),
            _ => Err(PrefixLenError(text)),
        }
    }
}

/// Text that is not a prefix length. The configuration's fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not a prefix length; write \"/24\" for IPv4, \"/64\" for IPv6")]
pub struct PrefixLenError(String);

impl EnforcementSettings {
    /// Checks what no single value shows.
    ///
    /// Errors: [`EnforcementError`], the configuration's fault.
    pub fn validate(&self) -> Result<(), EnforcementError> {
        let [v4, v6] = self.widest;
        if !(24..=32).contains(&v4.0) || !(64..=128).contains(&v6.0) {
            return Err(EnforcementError::Widest(v4.0, v6.0));
        }
        if self.ttl > self.ttl_max {
            return Err(EnforcementError::Ttl(self.ttl, self.ttl_max));
        }
        let zero = [
            ("ttl", self.ttl.0.is_zero()),
            ("ttl_factor", self.ttl_factor == 0),
            ("ban_after.denied", self.ban_after.denied == 0),
        ];
        match zero.iter().find(|(_, is_zero)| *is_zero) {
            Some((key, _)) => Err(EnforcementError::Zero(key)),
            None => Ok(()),
        }
    }
}

/// `[enforcement]` contradicts itself. The configuration's fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EnforcementError {
    /// An automatic ban must not hit a whole provider.
    #[error(
        "[enforcement] widest is /{0} and /{1}; automatic bans are never wider than /24 and /64, \
         write [\"/24\", \"/64\"] or narrower"
    )]
    Widest(u8, u8),
    /// The first ban would already be too long.
    #[error(
        "[enforcement] ttl = {0} is longer than ttl_max = {1}; shorten the one or raise the other"
    )]
    Ttl(Span, Span),
    /// A zero that would ban nobody, or everybody at once.
    #[error("[enforcement] {0} must be above zero")]
    Zero(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_loads_and_is_the_default() {
        let kernel: KernelSettings = toml::from_str(
            r#"backend = "xdp"
               interfaces = []
               mode = "native"
               scope = "listeners"
               pin_dir = "/sys/fs/bpf/botguard"
               required = false"#,
        )
        .unwrap();
        assert_eq!(kernel, KernelSettings::default());
        let enforcement: EnforcementSettings = toml::from_str(
            r#"ban_after = { denied = 20, within = "10s" }
               ttl = "10m"
               ttl_factor = 4
               ttl_max = "24h"
               good_principals = 0
               good_window = "24h"
               widest = ["/24", "/64"]"#,
        )
        .unwrap();
        assert_eq!(enforcement, EnforcementSettings::default());
        assert_eq!(enforcement.validate(), Ok(()));
    }

    #[test]
    fn what_cannot_be_had_is_refused_with_the_mend() {
        let check = |text: &str, expected: &str| {
            let error = toml::from_str::<KernelSettings>(text)
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("backend = \"tcx\"", "not yet supported by this version");
        check(
            "backend = \"nftables\"",
            "not yet supported by this version",
        );
        check("backend = \"pf\"", "unknown");
        check("colour = \"red\"", "unknown field");
    }

    #[test]
    fn contradictions_are_refused() {
        let check = |text: &str, expected| {
            let settings: EnforcementSettings = toml::from_str(text).unwrap();
            assert_eq!(settings.validate().is_ok(), expected, "{text}");
        };
        check("widest = [\"/32\", \"/128\"]", true);
        check("widest = [\"/16\", \"/64\"]", false);
        check("widest = [\"/24\", \"/48\"]", false);
        check("ttl = \"48h\"", false);
        check("ttl_factor = 0", false);
        check("ban_after = { denied = 0 }", false);
    }
}
