//! `[[tier]]`, `[default]` and `[[route]]` as the file writes them. Their doc comments are the
//! reference.

use serde::Deserialize;

use super::limit::LimitSubject;
use super::login::LoginField;
use super::reputation::{ReputationSettings, Suspension};
use super::rollout::Rollout;
use super::step_up::StepUpSettings;
use crate::engine::weights;
use crate::words::identity::ClientClass;
use crate::words::mode::Mode;
use crate::words::points::Points;
use crate::words::units::{Rate, Size, Span};

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
    /// `[step_up]`.
    pub step_up: &'a StepUpSettings,
    /// `[reputation]`.
    pub reputation: ReputationSettings,
}

impl PolicySettings<'_> {
    /// One sentence for every key that is read but not acted on by this version.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        for (index, route) in self.routes.iter().enumerate() {
            let table = format!("route[{index}]");
            if route.kind.is_some() {
                keys.push(format!("{table}.kind"));
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
    /// Requests that one key may send from one address: the baseline of its evidence, and its rate
    /// in the throttle band. For `machine` and `any` also a limit, whatever the score; the keys of
    /// browsers and apps are in everybody's hands, and many of these people share an address, so
    /// for them limits are set by `total`, `[default] limits` or the route's. Left out, there is no
    /// limit, and the baseline is 300/min.
    pub rate: Option<Rate>,
    /// Requests at once on top of the rate.
    #[serde(default = "untiered_burst")]
    pub burst: u32,
    /// A limit for each key from all addresses together. Left out, there is none.
    pub total: Option<TotalSettings>,
    /// Upper bound for the mode of requests with these keys: `log` for a tier that is only watched.
    pub mode: Option<Mode>,
    /// In place of the route's.
    pub throttle: Option<Points>,
    /// In place of the route's.
    pub challenge: Option<Points>,
    /// In place of the route's.
    pub step_up: Option<Points>,
    /// In place of the route's.
    pub block: Option<Points>,
    /// Whether reputation alone may suspend these keys: `automatic` or `manual`. Left out, `manual`
    /// for machines, else `automatic`.
    pub suspend: Option<Suspension>,
}

/// A limit for one key from all addresses together.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct TotalSettings {
    /// Requests a unit of time.
    pub rate: Rate,
    /// Requests at once.
    pub burst: u32,
}

/// A limit of a route, or of everything.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct LimitSettings {
    /// Who has a bucket of its own: `key`, `session`, `user`, `address`, or `route` for all
    /// together.
    #[serde(default)]
    pub per: LimitSubject,
    /// Requests a unit of time, or what they cost.
    pub rate: Rate,
    /// The same at once.
    pub burst: u32,
    /// What responses call it; as `per` when left out. Letters, digits, `_` and `-`.
    pub name: Option<String>,
}

/// A quota of response bytes.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct QuotaSettings {
    /// How many in the window; a response that begins within it is sent whole.
    pub bytes: Size,
    /// The window, over which they come back evenly.
    pub window: Span,
    /// As of a limit.
    #[serde(default)]
    pub per: LimitSubject,
}

/// The policy of every request that no `[[route]]` names, and what routes leave out.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct DefaultSettings {
    /// `off`, `log` or `enforce`.
    pub mode: Mode,
    /// Score from which requests are held to the tier's rate; above 0, at most 1.
    pub throttle: Points,
    /// Score from which browsers are challenged; never when left out.
    pub challenge: Option<Points>,
    /// Score from which users must have authenticated lately; never when left out.
    pub step_up: Option<Points>,
    /// Score from which requests are blocked; above 0, at most 1.
    pub block: Points,
    /// On how many principals `enforce` is enforced, as in `"25%"`; the others are watched.
    pub rollout: Option<Rollout>,
    /// Limits of every request, whatever its route.
    pub limits: Vec<LimitSettings>,
}

/// The policy of one path template.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct RouteSettings {
    /// Template of the decoded path: `{id}` is one segment, a last `*` zero or more. Of several
    /// that match, the one that is literal further to the left wins.
    pub path: String,
    /// Host it is for, as in `api.example.com` or `*.example.com`; all when left out. Routes with a
    /// host that matches come before those without one.
    pub host: Option<String>,
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
    /// As in `[default]`.
    pub rollout: Option<Rollout>,
    /// What a request takes from each limit of requests; 1 when left out.
    #[serde(default = "one")]
    pub cost: u32,
    /// Limits of this route, beside those of `[default]`.
    #[serde(default)]
    pub limits: Vec<LimitSettings>,
    /// A quota of response bytes, for exports.
    pub quota: Option<QuotaSettings>,
    /// What the route is for: `login`, `export`, `search`, …. Read, not acted on by this version.
    pub kind: Option<String>,
    /// How to read a login: its user goes into the audit record as a keyed hash, with how it ended.
    pub login: Option<LoginSettings>,
}

/// Where a login request names its user, and which statuses say that it failed.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct LoginSettings {
    /// `json:FIELD`, `json:OUTER.FIELD` or `form:FIELD` of the body, up to the listener's
    /// `inspect_body`.
    pub user: LoginField,
    /// Statuses of a failed login, where the application's `Botguard-Observe` does not say.
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

impl TierSettings {
    pub(super) const fn thresholds(&self) -> ThresholdSettings {
        ThresholdSettings {
            throttle: self.throttle,
            challenge: self.challenge,
            step_up: self.step_up,
            block: self.block,
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
}

impl Default for DefaultSettings {
    fn default() -> Self {
        Self {
            mode: Mode::Log,
            throttle: Points::from_basis(5_000),
            challenge: None,
            step_up: None,
            block: Points::from_basis(9_000),
            rollout: None,
            limits: Vec::new(),
        }
    }
}

const fn one() -> u32 {
    1
}

const fn untiered_burst() -> u32 {
    weights::UNTIERED_BURST
}
