//! Numbers for rules: what policies name them by, and what their counters stand under. Pure.
//!
//! A rule keeps its number for as long as it has blocks, across restarts too, since the names lie
//! in the kernel beside the counters. A number that is free again is given to another rule only
//! after its counters are zero.

use std::collections::BTreeMap;

use botguard_common::maps::RULES;

use crate::words::block::Origin;
use crate::words::rule::Rule;

/// Rules and their numbers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RuleNumbers {
    numbers: BTreeMap<Rule, u16>,
}

/// More lists and systems than there are counters. The operator's fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("more than {RULES} rules; join some of the lists, or block fewer systems")]
pub struct TooManyRules;

/// What [`RuleNumbers::follow`] changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RuleChanges {
    /// Rules that have a number now, and had none.
    pub given: Vec<(u16, Rule)>,
    /// Numbers that nobody has any more.
    pub freed: Vec<u16>,
}

impl RuleNumbers {
    /// From the kernel's names; those that cannot be read are free.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = (u16, Rule)>) -> Self {
        Self {
            numbers: names
                .into_iter()
                .map(|(number, rule)| (rule, number))
                .collect(),
        }
    }

    /// Gives a number to each rule of `wanted` that has none, and frees those of rules that are
    /// not wanted. Single blocks always have theirs.
    ///
    /// Errors: no number is left; nothing was changed.
    pub fn follow(
        &mut self,
        wanted: impl IntoIterator<Item = Rule>,
    ) -> Result<RuleChanges, TooManyRules> {
        let always = [Origin::Operator, Origin::Automatic].map(Rule::Single);
        let wanted: std::collections::BTreeSet<_> = always.into_iter().chain(wanted).collect();
        if wanted.len() > RULES as usize {
            return Err(TooManyRules);
        }
        let mut changes = RuleChanges::default();
        self.numbers.retain(|rule, number| {
            let stays = wanted.contains(rule);
            if !stays {
                changes.freed.push(*number);
            }
            stays
        });
        let taken: std::collections::BTreeSet<u16> = self.numbers.values().copied().collect();
        let mut free = (0..=u16::MAX).filter(|number| !taken.contains(number));
        for rule in wanted {
            if self.numbers.contains_key(&rule) {
                continue;
            }
            // No more than RULES are wanted, so one below it is free.
            let number = free.next().ok_or(TooManyRules)?;
            changes.given.push((number, rule.clone()));
            self.numbers.insert(rule, number);
        }
        Ok(changes)
    }

    /// The number of a rule; that of the operator for one that has none, which no caller asks.
    #[must_use]
    pub fn number(&self, rule: &Rule) -> u16 {
        self.numbers.get(rule).copied().unwrap_or_default()
    }

    /// The rule of a number.
    #[must_use]
    pub fn rule(&self, number: u16) -> Option<&Rule> {
        let mut numbers = self.numbers.iter();
        numbers.find(|(_, of)| **of == number).map(|(rule, _)| rule)
    }

    /// Every rule with its number.
    pub fn iter(&self) -> impl Iterator<Item = (&Rule, u16)> {
        self.numbers.iter().map(|(rule, number)| (rule, *number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_and_are_given_again() {
        let asn = Rule::Asn;
        let mut numbers = RuleNumbers::default();
        let changes = numbers.follow([asn(5), asn(7)]).unwrap();
        assert_eq!(changes.given.len(), 4);
        assert_eq!(numbers.follow([asn(5), asn(7)]), Ok(RuleChanges::default()));
        let seven = numbers.number(&asn(7));
        let changes = numbers.follow([asn(7), asn(9)]).unwrap();
        assert_eq!((changes.given.len(), changes.freed.len()), (1, 1));
        assert_eq!(numbers.number(&asn(7)), seven);
        assert_eq!(changes.given[0].0, changes.freed[0]);
        assert_eq!(numbers.rule(seven), Some(&asn(7)));
    }

    #[test]
    fn too_many_are_refused_whole() {
        let mut numbers = RuleNumbers::default();
        assert!(numbers.follow((0..RULES - 2).map(Rule::Asn)).is_ok());
        let before = numbers.clone();
        assert_eq!(
            numbers.follow((0..RULES - 1).map(Rule::Asn)),
            Err(TooManyRules)
        );
        assert_eq!(numbers, before);
    }
}
