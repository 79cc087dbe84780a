//! Numbers for rules: what policies name them by, and what their counters stand under. Pure.
//!
//! A rule keeps its number for as long as it has blocks, across restarts too, since the names lie
//! in the kernel beside the counters. A number that is free again is given to another rule only
//! after its counters are zero, and not in the change that frees it: the tables in force count to
//! it until that change is made.

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
    /// Numbers that nobody has any more; none of [`Self::given`].
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
        let taken: std::collections::BTreeSet<u16> = self.numbers.values().copied().collect();
        let mut given = vec![];
        let mut freed = std::collections::VecDeque::new();
        self.numbers.retain(|rule, number| {
            let stays = wanted.contains(rule);
            if !stays {
                freed.push_back(*number);
            }
            stays
        });
        let all = (0..=u16::MAX).zip(0..RULES).map(|(number, _)| number);
        let mut free = all.filter(|number| !taken.contains(number));
        for rule in wanted {
            if self.numbers.contains_key(&rule) {
                continue;
            }
            // No more than RULES are wanted, so one of them is left.
            let number = free.next().or_else(|| freed.pop_front());
            let number = number.ok_or(TooManyRules)?;
            given.push((number, rule.clone()));
            self.numbers.insert(rule, number);
        }
        Ok(RuleChanges {
            given,
            freed: freed.into(),
        })
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
        // The tables in force count to the number of AS5 until this change is made.
        assert_ne!(changes.given[0].0, changes.freed[0]);
        assert_eq!(numbers.rule(seven), Some(&asn(7)));
        let freed = changes.freed[0];
        let changes = numbers.follow([asn(7), asn(9), asn(11)]).unwrap();
        assert_eq!(changes.given, [(freed, asn(11))]);
    }

    #[test]
    fn a_number_is_freed_or_given_and_never_both() {
        let mut numbers = RuleNumbers::default();
        numbers.follow((0..RULES - 2).map(Rule::Asn)).unwrap();
        let changes = numbers.follow((1..RULES - 1).map(Rule::Asn)).unwrap();
        assert_eq!((changes.given.len(), changes.freed.len()), (1, 0));
        let number = changes.given[0].0;
        assert_eq!(numbers.rule(number), Some(&Rule::Asn(RULES - 2)));
        let changes = numbers.follow((2..RULES - 1).map(Rule::Asn)).unwrap();
        assert_eq!((changes.given.len(), changes.freed.len()), (0, 1));
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
