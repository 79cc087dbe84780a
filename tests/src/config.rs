//! The configuration that tests and the demo start from: the worked example's, in a lab.

use std::path::Path;

use crate::certificate::Certificate;
use crate::lab::{EDGE_INTERFACE, EDGE_V4, EDGE_V6};

/// What differs between one run and another.
#[derive(Clone, Debug)]
pub struct Config {
    /// Upper bound of all modes.
    pub mode: &'static str,
    /// Mode of `GET /users`: `off`, `log` or `enforce`.
    pub users_mode: &'static str,
    /// Weight of the tier `free`.
    pub tier_weight: f64,
    /// Interface for the filter.
    pub interface: &'static str,
    /// Whether the daemon must refuse to start without the filter.
    pub required: bool,
    /// `[identity]`: more lines of it.
    pub identity: &'static str,
    /// `[trust]`: peers whose `X-Forwarded-For` is believed, as TOML strings.
    pub proxies: &'static str,
    /// `[trust]`: networks never blocked, as TOML strings.
    pub never_block: &'static str,
    /// More TOML, put at the end.
    pub more: &'static str,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: "enforce",
            users_mode: "enforce",
            tier_weight: 0.10,
            interface: EDGE_INTERFACE,
            required: true,
            identity: "",
            proxies: "",
            never_block: "",
            more: "",
        }
    }
}

impl Config {
    /// As TOML, with everything below `directory` and pins in `pin_dir`.
    #[must_use]
    pub fn to_toml(&self, directory: &Path, pin_dir: &Path, certificate: &Certificate) -> String {
        let Self {
            mode,
            users_mode,
            tier_weight,
            interface,
            required,
            identity,
            proxies,
            never_block,
            more,
        } = self;
        let directory = directory.display();
        let (pin_dir, chain, key) = (
            pin_dir.display(),
            certificate.chain.display(),
            certificate.key.display(),
        );
        let certificate = format!(r#"certificate = [{{ cert = "{chain}", key = "{key}" }}]"#);
        format!(
            r#"
state_dir = "{directory}/state"
mode = "{mode}"

[admin]
socket = "{directory}/admin.sock"
http = "127.0.0.1:9480"

[[listener]]
bind = "{EDGE_V4}:{PORT}"
upstream = "app"
{certificate}

[[listener]]
bind = "[{EDGE_V6}]:{PORT}"
upstream = "app"
{certificate}

[upstream.app]
endpoints = ["http://127.0.0.1:3000"]

[trust]
proxies = [{proxies}]
never_block = [{never_block}]

[kernel]
interfaces = ["{interface}"]
pin_dir = "{pin_dir}"
required = {required}

[enforcement]
ban_after = {{ denied = 20, within = "10s" }}
ttl = "10m"

[intel]
asn = "{directory}/asn.csv"

[identity]
api_key = ["header:x-api-key"]
{identity}

[[tier]]
name = "free"
keys = ["sk_pub_*"]
client = "browser"
weight = {tier_weight}
rate = "120/min"
burst = 60

[[tier]]
name = "partner"
keys = ["sk_live_*"]
client = "machine"
weight = 0.0
rate = "600/min"
burst = 100

[default]
mode = "log"

[[route]]
path = "/users"
methods = ["GET"]
mode = "{users_mode}"
throttle = 0.5
block = 0.9

[audit]
path = "{directory}/audit.jsonl"
{more}
"#
        )
    }
}

/// The port that the edge listens on.
pub const PORT: u16 = 8443;
