//! `[[tier]]`, `[default]` and `[[route]]` as the file writes them. Their doc comments are the
//! reference.

use serde::Deserialize;

use crate::engine::weights;
use crate::words::identity::ClientClass;
use crate::words::mode::Mode;
use crate::words::points::Points;
use crate::words::units::Rate;

/// Everything a policy is compiled from, borrowed from the root settings.
#[derive(Clone, Copy, Debug)]
pub struct PolicySettings<'a> {
    /// The global mode, upper bound of all others.
    pub mode: Mode,
    /// `[[tier]]`.
    pub tiers: &'a [TierSettings],
    /// `[default]`.
    pub default: &'a DefaultSettings,
    /// `[[route]]`.
    pub routes: &'a [RouteSettings],
}

impl PolicySettings<'_> {
    /// One sentence for every key that is read but not acted on by this version.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let default = self.default.thresholds();
        let mut keys: Vec<String> = default.unused("default");
        for (index, route) in self.routes.iter().enumerate() {
            let table = format!("route[{index}]");
            keys.extend(route.thresholds().unused(&table));
            if route.kind.is_some() {
                keys.push(format!("{table}.kind"));
            }
            if route.login.is_some() {
                keys.push(format!("{table}.login"));
            }
        }
        keys.into_iter()
            .map(|key| format!("{key}: not acted on by this version"))
            .collect()
    }
}

/// A class of API keys and what is expected of its clients. The first tier that matches wins.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct TierSettings {
    /// What records call it; one of a kind.
    pub name: String,
    /// Patterns for whole keys; `*` stands for any number of characters.
    pub keys: Vec<String>,
    /// The client that uses these keys: `browser`, `machine`, `mobile`, or `any` (leave it to the
    /// route's `expects`). An excuse that the class brings holds once the upstream accepted the
    /// key.
    #[serde(default)]
    pub client: ClientClass,
    /// What a key of this tier adds to every score; from 0 to 1, capped at 0.40.
    #[serde(default)]
    pub weight: Points,
    /// Requests that one key may send from one address: the baseline of its evidence, and its
    /// rate in the throttle band.
    #[serde(default = "untiered_rate")]
    pub rate: Rate,
    /// Requests at once on top of the rate.
    #[serde(default = "untiered_burst")]
    pub burst: u32,
}

/// The policy of every request that no `[[route]]` names, and what routes leave out.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct DefaultSettings {
    /// `off`, `log` or `enforce`.
    pub mode: Mode,
    /// Score from which requests are held to the tier's rate; above 0, at most 1.
    pub throttle: Points,
    /// Score from which browsers are challenged. Read, not acted on by this version.
    pub challenge: Option<Points>,
    /// Score from which fresh authentication is asked for. Read, not acted on by this version.
    pub step_up: Option<Points>,
    /// Score from which requests are blocked; above 0, at most 1.
    pub block: Points,
}

/// The policy of one path template.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct RouteSettings {
    /// Template of the decoded path: `{id}` is one segment, a last `*` zero or more. Of several
    /// that match, the one that is literal further to the left wins.
    pub path: String,
    /// Methods it is for; all when left out.
    #[serde(default)]
    pub methods: Vec<String>,
    /// `off`, `log` or `enforce`; as in `[default]` when left out.
    pub mode: Option<Mode>,
    /// As in `[default]`.
    pub throttle: Option<Points>,
    /// As in `[default]`.
    pub challenge: Option<Points>,
    /// As in `[default]`.
    pub step_up: Option<Points>,
    /// As in `[default]`.
    pub block: Option<Points>,
    /// The client that is expected here where the key's tier does not say: `browser`, `machine`,
    /// `mobile` or `any`.
    #[serde(default)]
    pub expects: ClientClass,
    /// What the route is for: `login`, `export`, `search`, …. Read, not acted on by this version.
    pub kind: Option<String>,
    /// How to read a login. Read, not acted on by this version.
    pub login: Option<LoginSettings>,
}

/// Where a login request names its user, and which statuses say that it failed.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct LoginSettings {
    /// `json:FIELD` or `form:FIELD`.
    pub user: String,
    /// Statuses of a failed login.
    #[serde(default)]
    pub failure: Vec<u16>,
}

/// The four thresholds as one table writes them.
#[derive(Clone, Copy, Debug)]
pub(super) struct ThresholdSettings {
    pub(super) throttle: Option<Points>,
    pub(super) challenge: Option<Points>,
    pub(super) step_up: Option<Points>,
    pub(super) block: Option<Points>,
}

impl DefaultSettings {
    pub(super) const fn thresholds(&self) -> ThresholdSettings {
        ThresholdSettings {
            throttle: Some(self.throttle),
            challenge: self.challenge,
            step_up: self.step_up,
            block: Some(self.block),
        }
    }
}

impl RouteSettings {
    pub(super) const fn thresholds(&self) -> ThresholdSettings {
        ThresholdSettings {
            throttle: self.throttle,
            challenge: self.challenge,
            step_up: self.step_up,
            block: self.block,
        }
    }
}

impl ThresholdSettings {
    /// These where they are written, else those of `default`.
    pub(super) fn or(self, default: Self) -> Self {
        Self {
            throttle: self.throttle.or(default.throttle),
            challenge: self.challenge.or(default.challenge),
            step_up: self.step_up.or(default.step_up),
            block: self.block.or(default.block),
        }
    }

    fn unused(self, table: &str) -> Vec<String> {
        [("challenge", self.challenge), ("step_up", self.step_up)]
            .into_iter()
            .filter(|(_name, value)| value.is_some())
            .map(|(name, _value)| format!("{table}.{name}"))
            .collect()
    }
}

impl Default for DefaultSettings {
    fn default() -> Self {
        Self {
            mode: Mode::Log,
            throttle: Points::from_basis(5_000),
            challenge: None,
            step_up: None,
            block: Points::from_basis(9_000),
        }
    }
}

const fn untiered_rate() -> Rate {
    weights::UNTIERED_RATE
}

const fn untiered_burst() -> u32 {
    weights::UNTIERED_BURST
}
