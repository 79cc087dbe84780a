//! What the operator asks for, compiled: tiers, routes, thresholds, modes, and when a source is
//! banned. Built by control from the settings; read by the engine on every request.

pub mod ban;
pub mod settings;

mod error;
mod pattern;
mod routes;
mod template;
pub(crate) mod thresholds;
pub(crate) mod tier;

use std::sync::Arc;

use http::Method;

pub use self::error::PolicyError;

use self::ban::BanPolicy;
use self::routes::{Route, Routes};
use self::settings::PolicySettings;
use self::thresholds::Thresholds;
use self::tier::{Tier, Tiers};
use crate::engine::decision::RouteThresholds;
use crate::words::identity::ClientClass;
use crate::words::mode::Mode;

/// A compiled policy. Never changes; a reload makes a new one.
#[derive(Clone, Debug)]
pub struct Policy {
    mode: Mode,
    tiers: Tiers,
    default: RoutePolicy,
    routes: Routes,
    ban: BanPolicy,
}

/// What applies on one route.
#[derive(Clone, Debug)]
pub struct RoutePolicy {
    /// The template, or `default`.
    pub(crate) name: Arc<str>,
    /// Whether evidence names the template instead of the path, which varies.
    pub(crate) has_parameters: bool,
    pub(crate) mode: Mode,
    pub(crate) thresholds: Thresholds,
    pub(crate) expects: ClientClass,
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
}

impl Policy {
    /// Compiles settings.
    ///
    /// Errors: [`PolicyError`], the configuration's fault; the message names the key.
    pub fn compile(settings: &PolicySettings<'_>, ban: BanPolicy) -> Result<Self, PolicyError> {
        ban.check()?;
        let default = RoutePolicy {
            name: Arc::from("default"),
            has_parameters: false,
            mode: settings.default.mode,
            thresholds: Thresholds::compile("default", &settings.default.thresholds())?,
            expects: ClientClass::Any,
        };
        let routes = settings
            .routes
            .iter()
            .enumerate()
            .map(|(index, route)| Route::compile(index, route, settings.default))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            mode: settings.mode,
            tiers: Tiers::compile(settings.tiers)?,
            default,
            routes: Routes::new(routes)?,
            ban,
        })
    }

    /// The thresholds of `[default]`.
    #[must_use]
    pub const fn default_thresholds(&self) -> RouteThresholds {
        self.default.thresholds.both()
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
        };
        self.routes
            .iter()
            .map(|route| RouteSummary {
                route: Arc::clone(&route.policy.name),
                methods: route.methods.clone(),
                configured: route.policy.mode,
                mode: route.policy.mode.min(self.mode),
            })
            .chain([default])
            .collect()
    }

    /// What applies to a request for `path`, which is normalised.
    pub(crate) fn route(&self, method: &Method, path: &str) -> &RoutePolicy {
        self.routes
            .find(method, path)
            .map_or(&self.default, |route| &route.policy)
    }

    /// The tier called `name`; none if a reload took it away.
    pub(crate) fn tier(&self, name: &str) -> Option<&Tier> {
        self.tiers.named(name)
    }

    pub(crate) const fn ban(&self) -> &BanPolicy {
        &self.ban
    }
}

#[cfg(test)]
mod tests;
