//! The filter's counters, read.

use botguard_common::exit::Exit;
use botguard_common::maps::{EXITS, RULE_COUNTERS, RuleCounters};

use super::lasting::of_map;
use super::{KernelError, KernelFilter};
use crate::words::rule::Rule;

/// What the filter has done since its maps were made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KernelStats {
    /// Packets by their way out, in the order of [`Exit::ALL`].
    pub exits: Vec<(Exit, u64)>,
    /// Packets of blocked sources by rule.
    pub rules: Vec<(Rule, RuleCounters)>,
}

impl KernelStats {
    /// Packets that took this way out.
    #[must_use]
    pub fn exit(&self, exit: Exit) -> u64 {
        let mut exits = self.exits.iter();
        exits.find(|(of, _)| *of == exit).map_or(0, |(_, n)| *n)
    }

    /// Packets dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let drops = self.exits.iter().filter(|(exit, _)| exit.is_drop());
        drops.map(|(_, n)| n).sum()
    }
}

impl KernelFilter {
    /// The counters, summed over the CPUs.
    pub fn stats(&self) -> Result<KernelStats, KernelError> {
        let exits = Exit::ALL.into_iter().map(|exit| {
            let counts = self.lasting.exits.get(&exit.index(), 0);
            Ok((exit, of_map(EXITS, counts)?.iter().sum()))
        });
        let rules = self.rules.iter().map(|(rule, number)| {
            let counts = self.lasting.rule_counters.get(&u32::from(number), 0);
            let counts = of_map(RULE_COUNTERS, counts)?;
            let sum = counts
                .iter()
                .fold(RuleCounters::default(), |sum, cpu| RuleCounters {
                    dropped: sum.dropped + cpu.dropped,
                    would_drop: sum.would_drop + cpu.would_drop,
                });
            Ok((rule.clone(), sum))
        });
        Ok(KernelStats {
            exits: exits.collect::<Result<_, KernelError>>()?,
            rules: rules.collect::<Result<_, KernelError>>()?,
        })
    }
}
