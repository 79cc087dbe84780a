//! What was measured of each proxy, round by round, and the rows that are made of it.

use botguard_tests::bench::report::{Goal, Report};
use botguard_tests::bench::statistics::paired;

use crate::proxies::Kind;

/// Samples of one measure by proxy; those at the same place are of the same round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<(Kind, Vec<f64>)>);

impl Samples {
    /// Adds one of this round.
    pub(crate) fn add(&mut self, kind: Kind, sample: f64) {
        match self.0.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, samples)) => samples.push(sample),
            None => self.0.push((kind, vec![sample])),
        }
    }

    /// Those of one proxy; none if it was not measured.
    pub(crate) fn of(&self, kind: Kind) -> &[f64] {
        let found = self.0.iter().find(|(known, _)| *known == kind);
        found.map_or(&[], |(_, samples)| samples)
    }

    /// A row a proxy.
    pub(crate) fn report(
        &self,
        report: &mut Report,
        section: &str,
        what: &str,
        unit: &'static str,
    ) {
        for (kind, samples) in &self.0 {
            report.figure(section, format!("{what}: {}", kind.name()), unit, samples);
        }
    }

    /// A row a proxy, of something made of each sample.
    pub(crate) fn report_as(
        &self,
        report: &mut Report,
        section: &str,
        what: &str,
        unit: &'static str,
        made: impl Fn(f64) -> f64,
    ) {
        for (kind, samples) in &self.0 {
            let samples: Vec<_> = samples.iter().map(|&sample| made(sample)).collect();
            report.figure(section, format!("{what}: {}", kind.name()), unit, &samples);
        }
    }

    /// How many times as much a peer takes as botguard: above 1, botguard is the faster.
    pub(crate) fn report_ratio(
        &self,
        report: &mut Report,
        section: &str,
        what: &str,
        peer: Kind,
        goal: Option<Goal>,
    ) {
        let ratios = paired(self.of(peer), self.of(Kind::Botguard), |a, b| a / b);
        let name = format!("{what}: {} to botguard", peer.name());
        match goal {
            None => report.figure(section, name, "×", &ratios),
            Some(goal) => report.judged(section, name, "×", &ratios, goal),
        }
    }
}

/// What one core would do, of what costs so many µs each.
pub(crate) fn a_second(us: f64) -> f64 {
    1e6 / us
}
