//! Classes of API keys.

use std::sync::Arc;

use super::error::PolicyError;
use super::limit::{Limit, LimitSubject};
use super::pattern::Pattern;
use super::reputation::Suspension;
use super::rollout::mix_text;
use super::settings::{ThresholdSettings, TierSettings};
use crate::engine::decision::{LimitUnit, RouteThresholds};
use crate::engine::throttle::Allowance;
use crate::engine::weights;
use crate::words::identity::ClientClass;
use crate::words::key::KeyLimit;
use crate::words::mode::Mode;
use crate::words::points::Points;
use crate::words::units::Rate;

/// One tier.
#[derive(Clone, Debug)]
pub(crate) struct Tier {
    pub(crate) name: Arc<str>,
    keys: Vec<Pattern>,
    pub(crate) client: ClientClass,
    pub(crate) weight: Points,
    /// The baseline of its evidence.
    pub(crate) allowance: Allowance,
    /// What one key may send from one address, if that is declared and the key is one client's.
    pub(crate) limit: Option<Limit>,
    /// What one key may send altogether.
    pub(crate) total: Option<Limit>,
    /// Upper bound for the mode.
    pub(crate) mode: Mode,
    /// In place of the route's.
    thresholds: ThresholdSettings,
    pub(crate) suspension: Suspension,
}

/// All tiers, in the order of the settings. They are few, so they are searched in order.
#[derive(Clone, Debug)]
pub(super) struct Tiers(Vec<Tier>);

impl Tiers {
    pub(super) fn compile(settings: &[TierSettings]) -> Result<Self, PolicyError> {
        for (index, tier) in settings.iter().enumerate() {
            let earlier = settings[..index].iter().position(|it| it.name == tier.name);
            if let Some(first) = earlier {
                return Err(PolicyError::DuplicateTier {
                    first: format!("tier[{first}]"),
                    second: format!("tier[{index}].name"),
                    name: tier.name.clone(),
                });
            }
        }
        settings
            .iter()
            .enumerate()
            .map(|(index, tier)| Tier::compile(index, tier))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub(super) fn of_key(&self, key: &str) -> Option<&Tier> {
        self.0
            .iter()
            .find(|tier| tier.keys.iter().any(|pattern| pattern.matches(key)))
    }

    pub(super) fn named(&self, name: &str) -> Option<&Tier> {
        self.0.iter().find(|tier| *tier.name == *name)
    }
}

impl Tier {
    /// The thresholds that apply on a route with these.
    pub(crate) fn thresholds(&self, route: RouteThresholds) -> RouteThresholds {
        route.overridden_by(&self.thresholds)
    }

    fn compile(index: usize, settings: &TierSettings) -> Result<Self, PolicyError> {
        let key = |name| format!("tier[{index}].{name}");
        if settings.name.is_empty() {
            return Err(PolicyError::Empty {
                key: key("name"),
                mend: "write a name as in \"free\"",
            });
        }
        if settings.keys.is_empty() || settings.keys.iter().any(String::is_empty) {
            return Err(PolicyError::Empty {
                key: key("keys"),
                mend: "write patterns as in [\"sk_pub_*\"]",
            });
        }
        if settings.weight > Points::ONE {
            return Err(PolicyError::OutOfRange {
                key: key("weight"),
                value: settings.weight,
            });
        }
        let thresholds = settings.thresholds();
        thresholds.check(&format!("tier[{index}]"))?;
        if settings.burst == 0 {
            return Err(PolicyError::Zero { key: key("burst") });
        }
        if settings.total.is_some_and(|total| total.burst == 0) {
            return Err(PolicyError::Zero {
                key: key("total.burst"),
            });
        }
        let limit = |name: &str, rate: Rate, burst: u32| Limit {
            name: Arc::from(name),
            family: mix_text(&format!("tier {} {name}", settings.name)),
            per: LimitSubject::Key,
            unit: LimitUnit::Requests,
            pace: KeyLimit { rate, burst }.into(),
        };
        Ok(Self {
            name: Arc::from(settings.name.as_str()),
            keys: settings
                .keys
                .iter()
                .map(|text| Pattern::new(text))
                .collect(),
            client: settings.client,
            weight: settings.weight,
            allowance: Allowance {
                rate: settings.rate.unwrap_or(weights::UNTIERED_RATE),
                burst: settings.burst,
            },
            limit: match settings.client {
                ClientClass::Browser | ClientClass::Mobile => None,
                ClientClass::Machine | ClientClass::Any => {
                    (settings.rate).map(|rate| limit("key", rate, settings.burst))
                }
            },
            total: (settings.total).map(|total| limit("key-total", total.rate, total.burst)),
            mode: settings.mode.unwrap_or(Mode::Enforce),
            thresholds,
            suspension: settings.suspend.unwrap_or(match settings.client {
                ClientClass::Machine => Suspension::Manual,
                ClientClass::Browser | ClientClass::Mobile | ClientClass::Any => {
                    Suspension::Automatic
                }
            }),
        })
    }
}
