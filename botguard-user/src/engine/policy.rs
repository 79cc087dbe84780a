//! What the operator asks for, compiled: tiers, routes, thresholds, modes, and when a source is
//! banned. Built by control from the settings; read by the engine on every request.

pub mod ban;
pub mod reputation;
pub mod settings;
pub mod step_up;

mod error;
pub mod limit;
pub mod login;
mod pattern;
pub mod rollout;
mod routes;
mod template;
mod thresholds;
pub(crate) mod tier;

use std::sync::Arc;

use http::Method;

pub use self::error::PolicyError;

use self::ban::BanPolicy;
use self::limit::Limit;
use self::login::LoginRule;
use self::reputation::ReputationSettings;
use self::rollout::{Rollout, mix_text};
use self::routes::{Route, Routes, compile_limits};
use self::settings::PolicySettings;
use self::tier::{Tier, Tiers};
use crate::engine::decision::{RouteThresholds, StepUpDemand};
use crate::words::identity::ClientClass;
use crate::words::mode::Mode;

/// A compiled policy. Never changes; a reload makes a new one.
#[derive(Clone, Debug)]
pub struct Policy {
    mode: Mode,
    // Shared, since the kill switch makes a policy of another mode while requests wait.
    tiers: Arc<Tiers>,
    default: RoutePolicy,
    routes: Arc<Routes>,
    /// Of every request, whatever its route.
    limits: Vec<Limit>,
    /// Of keys whose tier declares none, where an override or their reputation does.
    key_limit: Limit,
    ban: BanPolicy,
    step_up: StepUpDemand,
    reputation: ReputationSettings,
}

/// What applies on one route.
#[derive(Clone, Debug)]
pub struct RoutePolicy {
    /// The template, after its host if it has one; or `default`.
    pub(crate) name: Arc<str>,
    /// Of the name, for the roll-out.
    pub(crate) hash: u64,
    /// Whether evidence names the template instead of the path, which varies.
    pub(crate) has_parameters: bool,
    pub(crate) mode: Mode,
    pub(crate) thresholds: RouteThresholds,
    pub(crate) expects: ClientClass,
    /// On whom `enforce` is enforced.
    pub(crate) rollout: Rollout,
    /// What a request takes from limits of requests; at least 1.
    pub(crate) cost: u64,
    /// Its own, beside those of every request.
    pub(crate) limits: Vec<Limit>,
    /// How its logins are read, if they are.
    pub(crate) login: Option<Arc<LoginRule>>,
}

/// One row of what is in force, for `botguard status`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RouteSummary {
    /// The template, or `default`.
    pub route: Arc<str>,
    /// The methods; empty means all.
    pub methods: Vec<Method>,
    /// What the settings say of the route, before the global mode bounds it.
    pub configured: Mode,
    /// The effective mode: the smaller of the route's and the global one.
    pub mode: Mode,
    /// On how many principals `enforce` is enforced.
    pub rollout: Rollout,
}

impl Policy {
    /// Compiles settings.
    ///
    /// Errors: [`PolicyError`], the configuration's fault; the message names the key.
    pub fn compile(settings: &PolicySettings<'_>, ban: BanPolicy) -> Result<Self, PolicyError> {
        ban.check()?;
        settings.reputation.check()?;
        let default = RoutePolicy {
            name: Arc::from("default"),
            hash: mix_text("default"),
            has_parameters: false,
            mode: settings.default.mode,
            thresholds: RouteThresholds::compile("default", &settings.default.thresholds())?,
            expects: ClientClass::Any,
            rollout: settings.default.rollout.unwrap_or(Rollout::ALL),
            cost: 1,
            limits: Vec::new(),
            login: None,
        };
        let routes = settings
            .routes
            .iter()
            .enumerate()
            .map(|(index, route)| Route::compile(index, route, settings.default))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            mode: settings.mode,
            tiers: Arc::new(Tiers::compile(settings.tiers)?),
            default,
            routes: Arc::new(Routes::new(routes)?),
            limits: compile_limits("default", "*", &settings.default.limits)?,
            key_limit: Limit::of_keys(),
            ban,
            step_up: StepUpDemand::compile(settings.step_up)?,
            reputation: settings.reputation,
        })
    }

    /// The thresholds of `[default]`.
    #[must_use]
    pub const fn default_thresholds(&self) -> RouteThresholds {
        self.default.thresholds
    }

    /// The same policy under another global mode, as the kill switch needs.
    #[must_use]
    pub fn with_mode(&self, mode: Mode) -> Self {
        Self {
            mode,
            ..self.clone()
        }
    }

    /// The global mode: the upper bound of every route's.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Name of the first tier with a pattern that matches the whole of `key`.
    #[must_use]
    pub fn tier_of(&self, key: &str) -> Option<Arc<str>> {
        self.tiers.of_key(key).map(|tier| Arc::clone(&tier.name))
    }

    /// Every route with its effective mode, in the order of the settings, `default` last.
    #[must_use]
    pub fn summary(&self) -> Vec<RouteSummary> {
        let default = RouteSummary {
            route: Arc::clone(&self.default.name),
            methods: Vec::new(),
            configured: self.default.mode,
            mode: self.default.mode.min(self.mode),
            rollout: self.default.rollout,
        };
        self.routes
            .iter()
            .map(|route| RouteSummary {
                route: Arc::clone(&route.policy.name),
                methods: route.methods.clone(),
                configured: route.policy.mode,
                mode: route.policy.mode.min(self.mode),
                rollout: route.policy.rollout,
            })
            .chain([default])
            .collect()
    }

    /// What applies to a request for `path`, which is normalised, on `host`, in lower case.
    pub(crate) fn route(&self, host: &str, method: &Method, path: &str) -> &RoutePolicy {
        self.routes
            .find(host, method, path)
            .map_or(&self.default, |route| &route.policy)
    }

    /// How a login is read, where the request is one.
    #[must_use]
    pub fn login(&self, host: &str, method: &Method, path: &str) -> Option<&Arc<LoginRule>> {
        // Most files have none, and a second search would be for nothing.
        if !self.routes.have_logins() {
            return None;
        }
        self.route(host, method, path).login.as_ref()
    }

    /// The tier called `name`; none if a reload took it away.
    pub(crate) fn tier(&self, name: &str) -> Option<&Tier> {
        self.tiers.named(name)
    }

    /// The limits of every request.
    pub(crate) fn limits(&self) -> &[Limit] {
        &self.limits
    }

    pub(crate) const fn key_limit(&self) -> &Limit {
        &self.key_limit
    }

    pub(crate) const fn step_up(&self) -> &StepUpDemand {
        &self.step_up
    }

    pub(crate) const fn reputation(&self) -> &ReputationSettings {
        &self.reputation
    }

    pub(crate) const fn ban(&self) -> &BanPolicy {
        &self.ban
    }
}

#[cfg(test)]
mod tests;
