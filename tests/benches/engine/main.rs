//! `cargo xtask bench engine`: what a decision costs, what a principal weighs, how many audit records
//! are written, how long a reload takes. `docs/benchmarks.md` says how to read the rows.
//!
//! Not a timed test: nothing fails because it is slow, and a row that falls short says so.
#![forbid(unsafe_code)]

mod audit;
mod crowd;
mod decisions;
mod gate;
mod reload;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
pub(crate) use botguard_tests::bench::console::progress;
use botguard_tests::bench::console::{machine, print};
use botguard_tests::bench::report::Report;
use clap::Parser;
use serde_json::Value;

#[derive(Parser)]
#[command(name = "cargo xtask bench engine")]
struct Arguments {
    /// What paths of the other options are relative to
    #[arg(long, value_name = "DIRECTORY", hide = true)]
    directory: Option<PathBuf>,
    /// Write the figures here as JSON as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Few principals and rounds: whether everything works, not what it costs
    #[arg(long)]
    quick: bool,
    /// Only these parts
    #[arg(long, value_delimiter = ',', value_name = "PARTS")]
    only: Vec<Part>,
    /// Rounds of each measurement
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// What cargo adds for harnesses
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Eq, PartialEq, clap::ValueEnum)]
enum Part {
    /// The engine alone
    Decisions,
    /// Admission to record
    Gate,
    /// Audit records a second
    Audit,
    /// A new configuration
    Reload,
}

/// How much work a run is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Rounds, in each of which everything is measured once.
    pub(crate) rounds: usize,
    /// Decisions of a sample.
    pub(crate) decisions: usize,
    /// Records of a sample.
    pub(crate) records: usize,
    /// Routes of the policy.
    pub(crate) routes: usize,
    /// Principals in a small and in a large table.
    pub(crate) principals: [u32; 2],
}

impl Scale {
    const FULL: Self = Self {
        rounds: 15,
        decisions: 100_000,
        records: 100_000,
        routes: 5_000,
        principals: [10_000, 1_000_000],
    };
    const QUICK: Self = Self {
        rounds: 2,
        decisions: 200,
        records: 200,
        routes: 50,
        principals: [100, 1_000],
    };
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress(&format!("failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    if let Some(directory) = &arguments.directory {
        std::env::set_current_dir(directory).with_context(|| directory.display().to_string())?;
    }
    let scale = if arguments.quick {
        Scale::QUICK
    } else {
        Scale::FULL
    };
    let scale = Scale {
        rounds: arguments.rounds.unwrap_or(scale.rounds),
        ..scale
    };
    let mut report = Report::default();
    if arguments.quick {
        report.note("quick: few principals and rounds; the figures mean nothing");
    }
    let runs = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    if runs(Part::Decisions) {
        decisions::measure(scale, &mut report)?;
    }
    if runs(Part::Gate) {
        gate::measure(scale, &mut report)?;
    }
    if runs(Part::Audit) {
        audit::measure(scale, &mut report)?;
    }
    if runs(Part::Reload) {
        reload::measure(scale, &mut report)?;
    }
    print(&report.to_markdown());
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&report.to_json(&about(scale)))?;
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// The machine, and what was asked of it.
fn about(scale: Scale) -> Value {
    let mut about = machine();
    about["rounds"] = scale.rounds.into();
    about
}
