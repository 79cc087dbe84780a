//! `botguard replay`: recorded requests through a fresh engine under the policy of a configuration.
//! The same policy makes the same decisions, to the bit; another one shows what it would change.
//!
//! `run` feeds the engine, this is what came of it. What is recorded stays as it was: the lists, bans
//! and answers of the recorded run, whatever the other policy would have made of them.

mod run;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use serde::Serialize;

use self::run::Replay;
use crate::audit::lines::Lines;
use crate::engine::decision::Action;
use crate::settings::{Loaded, SettingsError, policy_hash};
use crate::words::points::Points;

/// What came of a replay.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ReplayReport {
    /// Hash of the configuration that was replayed under.
    pub policy: String,
    /// Requests by the hash of the configuration that decided them.
    pub recorded_policies: BTreeMap<String, u64>,
    /// Records read, of every kind.
    pub n_records: u64,
    /// Requests decided again.
    pub n_replayed: u64,
    /// Requests and lines that could not be, by the reason.
    pub not_replayable: BTreeMap<String, u64>,
    /// Engines begun anew: one for each start of a daemon, and one where time runs backwards.
    pub n_engines: u64,
    /// Records that gaps say are missing.
    pub n_lost: u64,
    /// Decisions that came out differently, most frequent first.
    pub flips: Vec<Flip>,
    /// Scores that came out differently.
    pub scores: Scores,
    /// Requests of the same decision and score, but with other signals, credits or reasons.
    pub n_details: u64,
}

/// Decisions of one route that came out differently in the same way.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Flip {
    /// Template of the route that decides now.
    pub route: String,
    /// What was decided.
    pub from: Outcome,
    /// What is decided now.
    pub to: Outcome,
    /// How many.
    pub n: u64,
    /// The first of them.
    pub request_ids: Vec<String>,
}

/// What happens to a request, and what would in mode enforce.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Outcome {
    /// What happens.
    pub action: Action,
    /// What would happen in mode enforce.
    pub would: Action,
}

/// Scores that came out differently.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Scores {
    /// How many.
    pub n: u64,
    /// The largest difference of the sums before the last cap.
    pub largest: Points,
    /// The first of them.
    pub request_ids: Vec<String>,
}

/// So many ids are shown of each kind.
const SHOWN_IDS: usize = 20;

/// A file could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read. The caller's fault.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file, `-` for standard input.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There was nothing to compare, so that no flips would say nothing.
    #[error(
        "none of {n_records} records can be replayed{}",
        reasons(not_replayable)
    )]
    Nothing {
        /// Records that were read.
        n_records: u64,
        /// Why not, and how many.
        not_replayable: BTreeMap<String, u64>,
    },
    /// The configuration is at fault.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// Replays files, in their order, under the policy of a configuration.
pub fn replay(loaded: &Loaded, files: &[PathBuf]) -> Result<ReplayReport, ReplayError> {
    let mut replay = Replay::new(loaded.policy()?);
    for file in files {
        let unreadable = |source| ReplayError::Io {
            path: file.clone(),
            source,
        };
        for line in open(file).map_err(unreadable)? {
            replay.line(&line.map_err(unreadable)?);
        }
    }
    let mut report = replay.finish();
    report.policy = policy_hash(&loaded.document).to_string();
    if report.n_replayed == 0 {
        return Err(ReplayError::Nothing {
            n_records: report.n_records,
            not_replayable: report.not_replayable,
        });
    }
    Ok(report)
}

fn open(file: &Path) -> io::Result<Lines> {
    if file == Path::new("-") {
        Lines::of(BufReader::new(io::stdin()))
    } else {
        Lines::open(file)
    }
}

fn reasons(not_replayable: &BTreeMap<String, u64>) -> String {
    let reasons: Vec<_> = (not_replayable.iter())
        .map(|(why, n)| format!("{n} {why}"))
        .collect();
    if reasons.is_empty() {
        String::new()
    } else {
        format!(": {}", reasons.join(", "))
    }
}

impl ReplayReport {
    /// Whether a decision came out differently.
    #[must_use]
    pub const fn has_flips(&self) -> bool {
        !self.flips.is_empty()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.action.name())?;
        if self.would != self.action {
            write!(f, " (enforced {})", self.would.name())?;
        }
        Ok(())
    }
}

impl fmt::Display for ReplayReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "policy      {}", self.policy)?;
        for (policy, n) in &self.recorded_policies {
            writeln!(f, "recorded    {n} requests under {policy}")?;
        }
        writeln!(f, "records     {}", self.n_records)?;
        let engines = self.n_engines;
        write!(f, "replayed    {} requests", self.n_replayed)?;
        if engines > 1 {
            write!(f, ", by {engines} engines: one for each start of a daemon")?;
        }
        writeln!(f)?;
        for (why, n) in &self.not_replayable {
            writeln!(f, "left out    {n}: {why}")?;
        }
        if self.n_lost > 0 {
            let lost = self.n_lost;
            writeln!(
                f,
                "missing     {lost} records were lost; what follows may differ by that"
            )?;
        }
        if self.scores.n > 0 {
            let Scores {
                n,
                largest,
                request_ids,
            } = &self.scores;
            writeln!(f, "scores      {n} changed, by {largest:.4} at most")?;
            writeln!(f, "            {}", request_ids.join(" "))?;
        }
        if self.n_details > 0 {
            writeln!(
                f,
                "details     {} of the same score have other signals or reasons",
                self.n_details
            )?;
        }
        let n_flips: u64 = self.flips.iter().map(|flip| flip.n).sum();
        writeln!(f, "flips       {n_flips}")?;
        for flip in &self.flips {
            writeln!(
                f,
                "  {} on {}: {} → {}",
                flip.n, flip.route, flip.from, flip.to
            )?;
            writeln!(f, "            {}", flip.request_ids.join(" "))?;
        }
        Ok(())
    }
}
