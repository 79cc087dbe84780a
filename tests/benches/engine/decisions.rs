//! The engine alone: route match, limits, signals, score, policy; and what it learns from a response.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use botguard::engine::facts::{AnsweredBy, RequestFacts, ResponseFacts};
use botguard::engine::policy::Policy;
use botguard::engine::{Engine, PrincipalCapacity};
use botguard::words::clock::Monotonic;
use botguard_tests::bench::random::Random;
use botguard_tests::bench::report::{Goal, Report};
use botguard_tests::bench::statistics::quantile;

use crate::crowd::{Crowd, policy};
use crate::{Scale, progress};

/// A crowd that an engine knows.
struct Scene {
    engine: Engine,
    crowd: Crowd,
    /// Of a table with as many entries as the engine has principals: a floor.
    floor: HashMap<u128, [u64; 8]>,
    random: Random,
    now: Monotonic,
}

/// What was sampled of one scene.
#[derive(Default)]
struct Samples {
    median: Vec<f64>,
    p99: Vec<f64>,
    mean: Vec<f64>,
    observe: Vec<f64>,
    floor: Vec<f64>,
}

pub(crate) fn measure(scale: Scale, report: &mut Report) -> Result<()> {
    let policy = policy(scale.routes)?;
    let mut scenes = Vec::new();
    for n_principals in scale.principals {
        progress(&format!("an engine that knows {n_principals} principals"));
        let before = resident_bytes();
        let scene = Scene::new(n_principals, scale.routes, &policy);
        let grown = resident_bytes().saturating_sub(before);
        let remembered = scene.engine.principals().max(1);
        let per_principal = grown as f64 / remembered as f64;
        scenes.push((
            n_principals,
            scene.with_floor(n_principals),
            Samples::default(),
            per_principal,
        ));
    }
    progress("decisions");
    for _ in 0..scale.rounds {
        for (_, scene, samples, _) in &mut scenes {
            scene.sample(scale.decisions, samples);
        }
    }
    let [(_, _, small, _), (_, _, large, _)] = &scenes[..] else {
        return Ok(());
    };
    let growth = ratio(&large.median, &small.median);
    for (n_principals, scene, samples, per_principal) in &scenes {
        let section = format!("engine, {n_principals} principals, {} routes", scale.routes);
        report.judged(
            &section,
            "decide, median",
            "ns",
            &samples.median,
            Goal::AtMost(2_000.0),
        );
        report.judged(
            &section,
            "decide, p99",
            "ns",
            &samples.p99,
            Goal::AtMost(10_000.0),
        );
        report.figure(&section, "decide, mean", "ns", &samples.mean);
        report.figure(&section, "observe, mean", "ns", &samples.observe);
        report.figure(
            &section,
            "floor: one read of a table as large",
            "ns",
            &samples.floor,
        );
        report.figure(
            &section,
            "decide, mean, to the floor",
            "×",
            &ratio(&samples.mean, &samples.floor),
        );
        // Of a small table nothing can be told from what else the process has in memory.
        if *n_principals != scale.principals[1] {
            continue;
        }
        report.judged(
            &section,
            format!(
                "resident bytes for each of {} principals remembered",
                scene.engine.principals()
            ),
            "B",
            &[*per_principal],
            Goal::AtMost(1_024.0),
        );
    }
    report.judged(
        "engine",
        "decide, median, large table to small",
        "×",
        &growth,
        Goal::AtMost(2.0),
    );
    Ok(())
}

impl Scene {
    /// Each client is a pair and an address, so half as many clients fill the table.
    fn new(n_principals: u32, n_routes: usize, policy: &Arc<Policy>) -> Self {
        let mut scene = Self {
            engine: Engine::new(Arc::clone(policy), PrincipalCapacity(n_principals)),
            crowd: Crowd::new(n_principals / 2, n_routes),
            floor: HashMap::new(),
            random: Random::seeded(1),
            now: Monotonic::from_boot(Duration::from_secs(1_000_000)),
        };
        for _ in 0..2 {
            for client in scene.crowd.everybody() {
                let facts = scene.crowd.request(client, &mut scene.random);
                scene.play(&facts);
            }
        }
        scene
    }

    fn with_floor(mut self, n_principals: u32) -> Self {
        self.floor = (0..u128::from(n_principals))
            .map(|key| (key, [0; 8]))
            .collect();
        self
    }

    fn play(&mut self, facts: &RequestFacts) {
        // Ten thousand requests a second.
        self.now = self.now.after(Duration::from_micros(100));
        let (_, pending) = self.engine.decide(self.now, facts);
        self.engine.observe(self.now, &pending, &RESPONSE);
    }

    fn sample(&mut self, n_decisions: usize, samples: &mut Samples) {
        let mut times = Vec::with_capacity(n_decisions);
        let (mut observing, mut reading) = (0.0, 0.0);
        for _ in 0..n_decisions {
            let client = self.crowd.anybody(&mut self.random);
            let facts = self.crowd.request(client, &mut self.random);
            self.now = self.now.after(Duration::from_micros(100));
            let start = Monotonic::read();
            let (decision, pending) = self.engine.decide(self.now, &facts);
            let decided = Monotonic::read();
            self.engine.observe(self.now, &pending, &RESPONSE);
            let observed = Monotonic::read();
            std::hint::black_box(decision);
            times.push(nanoseconds(decided.since(start)));
            observing += nanoseconds(observed.since(decided));

            let key = u128::from(
                self.random
                    .below(u32::try_from(self.floor.len()).unwrap_or(1)),
            );
            let start = Monotonic::read();
            std::hint::black_box(self.floor.get(&key));
            reading += nanoseconds(Monotonic::read().since(start));
        }
        let n = n_decisions as f64;
        samples.mean.push(times.iter().sum::<f64>() / n);
        times.sort_by(f64::total_cmp);
        samples.median.extend(quantile(&times, 50));
        samples.p99.extend(quantile(&times, 99));
        samples.observe.push(observing / n);
        samples.floor.push(reading / n);
    }
}

const RESPONSE: ResponseFacts = ResponseFacts {
    answered_by: AnsweredBy::Upstream,
    status: 200,
    bytes_in: 0,
    bytes_out: 2_048,
    upstream: None,
    total: Duration::ZERO,
    observation: None,
    login: None,
};

/// Round by round.
pub(crate) fn ratio(one: &[f64], other: &[f64]) -> Vec<f64> {
    one.iter()
        .zip(other)
        .map(|(one, other)| one / other)
        .collect()
}

pub(crate) fn nanoseconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64
}

/// What the process has in memory.
pub(crate) fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4_096
}
