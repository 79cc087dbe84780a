//! From readings to a score: score = min(1, max(0, Σ over groups of min(cap, Σ weight × confidence)
//! − trust)).

use super::decision::{Breakdown, GroupTotal, SignalReading, TrustCredit};
use super::signals::{SIGNALS, View};
use super::weights;
use crate::words::points::Points;

/// Reads every signal and sums them up, less what speaks for the client.
pub(crate) fn breakdown(view: &View<'_>, trust: Vec<TrustCredit>) -> Breakdown {
    total(
        SIGNALS.iter().filter_map(|read| read(view)).collect(),
        trust,
    )
}

/// Sums readings that stand in the order of their groups.
fn total(signals: Vec<SignalReading>, trust: Vec<TrustCredit>) -> Breakdown {
    let groups: Vec<GroupTotal> = signals
        .chunk_by(|a, b| a.group == b.group)
        .filter_map(|readings| {
            let group = readings.first()?.group;
            let sum: Points = readings.iter().map(SignalReading::contribution).sum();
            Some(GroupTotal {
                group,
                sum,
                total: sum.min(weights::cap(group)),
            })
        })
        .collect();
    let raw: Points = groups.iter().map(|group| group.total).sum();
    let credit: Points = trust.iter().map(|credit| credit.credit).sum();
    Breakdown {
        score: raw.less(credit).min(Points::ONE),
        raw,
        trust,
        groups,
        signals,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::decision::Group;

    #[test]
    fn groups_are_capped_and_so_is_the_sum() {
        let check = |readings: &[(Group, u32)], expected_raw, expected_score| {
            let signals = readings
                .iter()
                .map(|(group, basis)| SignalReading {
                    id: "test",
                    group: *group,
                    weight: Points::from_basis(*basis),
                    confidence: Points::ONE,
                    value: 0.0,
                    evidence: String::new(),
                })
                .collect();
            let breakdown = total(signals, Vec::new());
            assert_eq!(breakdown.raw, Points::from_basis(expected_raw));
            assert_eq!(breakdown.score, Points::from_basis(expected_score));
        };
        use Group::{Behaviour, Key, Network, Pattern};
        check(&[], 0, 0);
        check(&[(Key, 1_000)], 1_000, 1_000);
        check(&[(Pattern, 4_000), (Pattern, 2_000)], 4_000, 4_000);
        check(
            &[
                (Key, 9_000),
                (Pattern, 4_000),
                (Behaviour, 2_500),
                (Network, 3_000),
            ],
            13_500,
            10_000,
        );
    }
}
