//! Classes of API keys.

use std::sync::Arc;

use super::error::PolicyError;
use super::pattern::Pattern;
use super::settings::TierSettings;
use crate::engine::throttle::Allowance;
use crate::words::identity::ClientClass;
use crate::words::points::Points;

/// One tier.
#[derive(Clone, Debug)]
pub(crate) struct Tier {
    pub(crate) name: Arc<str>,
    keys: Vec<Pattern>,
    pub(crate) client: ClientClass,
    pub(crate) weight: Points,
    pub(crate) allowance: Allowance,
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
                rate: settings.rate,
                burst: settings.burst,
            },
        })
    }
}
