//! Feeds records to an engine in the order in which the recorded engine was asked and told, and
//! compares what it says.
//!
//! Records are written when requests end, so a step waits until none that was before it can still
//! come: memory is that of [`WINDOW`] of recorded traffic, and of the principals.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::{Flip, Outcome, ReplayReport, SHOWN_IDS};
use crate::audit::record::{Event, Record, RequestRecord, SignalRecord, TrustRecord};
use crate::engine::decision::Decision;
use crate::engine::facts::{InteractionFacts, RequestFacts, ResponseFacts};
use crate::engine::policy::Policy;
use crate::engine::{Engine, Pending, PrincipalCapacity};
use crate::words::clock::Monotonic;
use crate::words::points::Points;

/// A request is recorded within 60 s of its decision, a second later at most; the rest is for a
/// host that is busy.
const WINDOW: Duration = Duration::from_secs(90);

pub(super) struct Replay {
    policy: Arc<Policy>,
    engine: Engine,
    /// `engine_ns` of the recorded engine.
    recorded_engine: Option<u64>,
    /// By their time, and by the order in the file.
    waiting: BTreeMap<(Monotonic, u64), Step>,
    n_steps: u64,
    /// The latest time that was seen, and the latest that was replayed.
    newest: Monotonic,
    replayed: Monotonic,
    /// Decided and not observed, by request id.
    pending: HashMap<String, Pending>,
    flips: BTreeMap<(String, Outcome, Outcome), (u64, Vec<String>)>,
    report: ReplayReport,
}

/// What the engine was asked or told.
enum Step {
    Decide(Box<Asked>),
    Observe(String, ResponseFacts),
    Touch(InteractionFacts),
}

struct Asked {
    facts: RequestFacts,
    /// No evidence.
    own: bool,
    recorded: Recorded,
}

/// What was decided then.
struct Recorded {
    request_id: String,
    outcome: Outcome,
    raw: Points,
    score: Points,
    signals: Vec<SignalRecord>,
    trust: Vec<TrustRecord>,
    reason: String,
}

impl Replay {
    pub(super) fn new(policy: Policy) -> Self {
        let policy = Arc::new(policy);
        Self {
            engine: Engine::new(Arc::clone(&policy), PrincipalCapacity::default()),
            policy,
            recorded_engine: None,
            waiting: BTreeMap::new(),
            n_steps: 0,
            newest: Monotonic::default(),
            replayed: Monotonic::default(),
            pending: HashMap::new(),
            flips: BTreeMap::new(),
            report: ReplayReport::default(),
        }
    }

    /// One line of a log.
    pub(super) fn line(&mut self, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        let Ok(record) = serde_json::from_slice::<Record>(line) else {
            return self.leave_out("not a record that this version can read");
        };
        self.report.n_records += 1;
        match record.event {
            Event::Request(request) => self.request(*request),
            Event::Close(close) => {
                if let Some((at, response)) = close.response_facts() {
                    self.wait(at, Step::Observe(close.request_id, response));
                }
            }
            Event::Gap(gap) => self.report.n_lost += gap.lost,
            Event::Operator(_) | Event::Ban(_) | Event::Key(_) | Event::Drops(_) => {}
        }
        self.run_until(self.newest.before(WINDOW));
    }

    /// What is left, and what came of it all.
    pub(super) fn finish(mut self) -> ReplayReport {
        self.run_all();
        let flips = self.flips.into_iter();
        let mut flips: Vec<_> = flips
            .map(|((route, from, to), (n, request_ids))| Flip {
                route,
                from,
                to,
                n,
                request_ids,
            })
            .collect();
        flips.sort_by_key(|flip| std::cmp::Reverse(flip.n));
        self.report.flips = flips;
        self.report
    }

    fn request(&mut self, request: RequestRecord) {
        let policies = &mut self.report.recorded_policies;
        *policies.entry(request.policy.clone()).or_default() += 1;
        let (at, facts) = match request.request_facts() {
            Ok(facts) => facts,
            Err(error) => return self.leave_out(&error.to_string()),
        };
        let engine = request.facts.engine_ns;
        if self.recorded_engine != engine || self.newest.since(at) > 2 * WINDOW {
            self.begin(engine);
        }
        if let Some((at, touch)) = request.interaction_facts() {
            self.wait(at, Step::Touch(touch));
        }
        if let Some((at, response)) = request.response_facts() {
            self.wait(at, Step::Observe(request.request_id.clone(), response));
        }
        let asked = Asked {
            facts,
            own: request.facts.own,
            recorded: Recorded {
                request_id: request.request_id,
                outcome: Outcome {
                    action: request.decision.action,
                    would: request.decision.would,
                },
                raw: request.raw,
                score: request.score,
                signals: request.signals,
                trust: request.trust,
                reason: request.decision.reason,
            },
        };
        self.wait(at, Step::Decide(Box::new(asked)));
    }

    /// Another daemon, or another boot: an engine that remembers nobody.
    fn begin(&mut self, recorded_engine: Option<u64>) {
        self.run_all();
        self.engine = Engine::new(Arc::clone(&self.policy), PrincipalCapacity::default());
        self.recorded_engine = recorded_engine;
        self.pending.clear();
        self.newest = Monotonic::default();
        self.replayed = Monotonic::default();
        self.report.n_engines += 1;
    }

    fn wait(&mut self, at: Monotonic, step: Step) {
        if at < self.replayed {
            if matches!(step, Step::Decide(_)) {
                self.leave_out("out of order by more than 90 s");
            }
            return;
        }
        self.newest = self.newest.max(at);
        self.n_steps += 1;
        self.waiting.insert((at, self.n_steps), step);
    }

    fn run_all(&mut self) {
        while let Some((place, step)) = self.waiting.pop_first() {
            self.step(place.0, step);
        }
    }

    fn run_until(&mut self, end: Monotonic) {
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 >= end {
                break;
            }
            let ((at, _order), step) = entry.remove_entry();
            self.step(at, step);
        }
    }

    fn step(&mut self, at: Monotonic, step: Step) {
        self.replayed = at;
        match step {
            Step::Touch(facts) => self.engine.interaction(at, &facts),
            Step::Observe(request_id, response) => {
                if let Some(pending) = self.pending.remove(&request_id) {
                    self.engine.observe(at, &pending, &response);
                }
            }
            Step::Decide(asked) => {
                let Asked {
                    facts,
                    own,
                    recorded,
                } = *asked;
                let decision = if own {
                    self.engine.decide_own(&facts)
                } else {
                    let (decision, pending) = self.engine.decide(at, &facts);
                    self.pending.insert(recorded.request_id.clone(), pending);
                    decision
                };
                self.compare(recorded, &decision);
            }
        }
    }

    fn compare(&mut self, recorded: Recorded, decision: &Decision) {
        self.report.n_replayed += 1;
        let to = Outcome {
            action: decision.action,
            would: decision.would,
        };
        let is_same_score =
            (recorded.raw, recorded.score) == (decision.score.raw, decision.score.score);
        if !is_same_score {
            let scores = &mut self.report.scores;
            let (one, other) = (recorded.raw.as_basis(), decision.score.raw.as_basis());
            let difference = Points::from_basis(one.abs_diff(other));
            scores.n += 1;
            scores.largest = scores.largest.max(difference);
            if scores.request_ids.len() < SHOWN_IDS {
                scores.request_ids.push(recorded.request_id.clone());
            }
        }
        if recorded.outcome != to {
            let route = decision.route.to_string();
            let flip = self.flips.entry((route, recorded.outcome, to)).or_default();
            flip.0 += 1;
            if flip.1.len() < SHOWN_IDS {
                flip.1.push(recorded.request_id);
            }
        } else if is_same_score && !has_same_details(&recorded, decision) {
            self.report.n_details += 1;
        }
    }

    fn leave_out(&mut self, why: &str) {
        let counts = &mut self.report.not_replayable;
        *counts.entry(why.to_owned()).or_default() += 1;
    }
}

fn has_same_details(recorded: &Recorded, decision: &Decision) -> bool {
    let signals = decision.score.signals.iter().map(SignalRecord::from);
    let trust = decision.score.trust.iter().map(TrustRecord::from);
    (recorded.signals.iter().map(as_written)).eq(signals.map(|signal| as_written(&signal)))
        && recorded.trust.iter().cloned().eq(trust)
        && recorded.reason == decision.reason.to_string()
}

/// Numbers as a log has them: the last bit of a measurement may be lost by reading, so both sides
/// are read.
fn as_written(signal: &SignalRecord) -> SignalRecord {
    let value = serde_json::to_string(&signal.value)
        .and_then(|text| serde_json::from_str(&text))
        .unwrap_or(signal.value);
    SignalRecord {
        value,
        ..signal.clone()
    }
}

#[cfg(test)]
mod tests;
