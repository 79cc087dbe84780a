//! Typed handles on the maps that last as long as the pins: listeners, mode, counters, events.

use std::sync::atomic::AtomicU64;

use aya::maps::{Array, Map, MapData, MapError, PerCpuArray};
use botguard_common::lookup::WORDS_V6;
use botguard_common::mapping::Mapping;
use botguard_common::maps::{
    CLOCK, CONFIG, ClockReading, Config, EXITS, LISTENER_BUCKETS, LISTENERS, RULE_COUNTERS,
    RULE_NAMES, RULES, RuleCounters, RuleName,
};

use super::error::KernelError;
use super::pins::Pins;
use crate::enforcement::rules::RuleNumbers;
use crate::words::rule::Rule;

/// The maps.
pub(super) struct Lasting {
    pub(super) listeners: Mapping<AtomicU64>,
    pub(super) config: Array<MapData, Config>,
    pub(super) exits: PerCpuArray<MapData, u64>,
    pub(super) rule_names: Array<MapData, RuleName>,
    pub(super) rule_counters: PerCpuArray<MapData, RuleCounters>,
    pub(super) clock: Array<MapData, ClockReading>,
}

/// The value of keys that only need to be there.
pub(super) const PRESENT: u32 = 1;

impl Lasting {
    pub(super) fn open(pins: &Pins) -> Result<Self, KernelError> {
        Ok(Self {
            listeners: listeners(pins)?,
            config: open(pins, CONFIG)?,
            exits: open(pins, EXITS)?,
            rule_names: open(pins, RULE_NAMES)?,
            rule_counters: open(pins, RULE_COUNTERS)?,
            clock: open(pins, CLOCK)?,
        })
    }

    /// The rules that have names; what cannot be read as one is nobody's.
    pub(super) fn rules(&self) -> Result<RuleNumbers, KernelError> {
        let mut names = vec![];
        for (number, index) in (0..=u16::MAX).zip(0..RULES) {
            let RuleName(bytes) = of_map(RULE_NAMES, self.rule_names.get(&index, 0))?;
            if let Some(rule) = parse_name(&bytes) {
                names.push((number, rule));
            }
        }
        Ok(RuleNumbers::new(names))
    }

    /// Names a rule, with counters at zero.
    pub(super) fn name_rule(&mut self, number: u16, rule: &Rule) -> Result<(), KernelError> {
        let index = u32::from(number);
        let counters = of_map(RULE_COUNTERS, self.rule_counters.get(&index, 0))?;
        let zero: Vec<_> = counters.iter().map(|_| RuleCounters::default()).collect();
        let zero = aya::maps::PerCpuValues::try_from(zero)
            .map_err(|source| KernelError::pin(RULE_COUNTERS, source))?;
        of_map(RULE_COUNTERS, self.rule_counters.set(index, zero, 0))?;
        let mut bytes = [0; 64];
        for (place, byte) in bytes.iter_mut().zip(rule.to_string().bytes()) {
            *place = byte;
        }
        of_map(RULE_NAMES, self.rule_names.set(index, RuleName(bytes), 0))
    }

    /// Takes a rule's name away.
    pub(super) fn unname_rule(&mut self, number: u16) -> Result<(), KernelError> {
        let nobody = RuleName([0; 64]);
        of_map(
            RULE_NAMES,
            self.rule_names.set(u32::from(number), nobody, 0),
        )
    }
}

fn parse_name(bytes: &[u8; 64]) -> Option<Rule> {
    let len = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    std::str::from_utf8(&bytes[..len]).ok()?.parse().ok()
}

/// Names the map in an error.
pub(super) fn of_map<T>(map: &'static str, result: Result<T, MapError>) -> Result<T, KernelError> {
    result.map_err(|source| KernelError::Map { map, source })
}

/// Taking out what is not there is in order.
pub(super) fn gone(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error))
            if error.io_error.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(())
        }
        result => result,
    }
}

fn listeners(pins: &Pins) -> Result<Mapping<AtomicU64>, KernelError> {
    let path = pins.map(LISTENERS);
    let map = of_map(LISTENERS, MapData::from_pin(&path))?;
    let n_words = LISTENER_BUCKETS as usize * WORDS_V6;
    Mapping::of(map.fd(), n_words).map_err(|source| KernelError::pin(&path, source))
}

/// A pinned map.
pub(super) fn open<T: TryFrom<Map, Error = MapError>>(
    pins: &Pins,
    name: &'static str,
) -> Result<T, KernelError> {
    let map = MapData::from_pin(pins.map(name)).and_then(Map::from_map_data);
    of_map(name, map.and_then(T::try_from))
}
