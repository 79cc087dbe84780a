//! `cargo xtask bench kernel`: what a packet costs in the filter and beside it, what a change of
//! the list costs, and what the tables weigh. `docs/benchmarks.md` says how to read the rows.
//!
//! Not a timed test: nothing fails because it is slow, and a row that falls short says so.
#![forbid(unsafe_code)]

mod capacity;
mod engines;
mod latency;
mod layouts;
mod link;
mod memory;
mod object;
mod ours;
mod packets;
mod place;
mod scene;
mod scenes;
mod xdp_filter;

#[path = "../../../botguard-ebpf/src/bench/layout.rs"]
#[expect(dead_code, reason = "shared with the programs, which use the rest")]
mod layout;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
pub(crate) use botguard_tests::bench::console::progress;
use botguard_tests::bench::console::{machine, print};
use botguard_tests::bench::report::Report;
use clap::Parser;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::Value;

#[derive(Parser)]
#[command(name = "cargo xtask bench kernel")]
struct Arguments {
    /// The BPF object with the programs of the bench; xtask builds it
    #[arg(long, value_name = "FILE")]
    object: PathBuf,
    /// What paths of the other options are relative to
    #[arg(long, value_name = "DIRECTORY", hide = true)]
    directory: Option<PathBuf>,
    /// Write the figures here as JSON as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// asn-ipv4.csv of the npm package @ip-location-db/asn; without it, systems are made up
    #[arg(long, value_name = "FILE")]
    asn: Option<PathBuf>,
    /// Small tables and few rounds: whether everything works, not what it costs
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
    /// ns a packet
    Packets,
    /// Layouts that were weighed
    Layouts,
    /// Load, delta, one ban
    Latency,
    /// Kernel memory
    Memory,
    /// Drops a second on a veth
    Capacity,
}

/// How much work a run is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Rounds, in each of which everything is measured once.
    pub(crate) rounds: usize,
    /// Packets of a warm sample.
    pub(crate) warm: u32,
    /// Packets of a cold sample.
    pub(crate) cold: u32,
    /// Sources that they come from, in turn.
    pub(crate) keys: usize,
    /// What the sizes of lists are divided by.
    pub(crate) shrink: usize,
    /// Bans timed one by one.
    pub(crate) bans: usize,
    /// Milliseconds of traffic a sample.
    pub(crate) traffic_ms: u64,
}

impl Scale {
    const FULL: Self = Self {
        rounds: 15,
        warm: 1 << 20,
        cold: 1 << 19,
        keys: layout::KEYS as usize,
        shrink: 1,
        bans: 500,
        traffic_ms: 300,
    };
    const QUICK: Self = Self {
        rounds: 2,
        warm: 1 << 10,
        cold: 1 << 10,
        keys: 1 << 10,
        shrink: 1_000,
        bans: 5,
        traffic_ms: 20,
    };

    /// A size of the full run, in this one.
    pub(crate) const fn size(&self, full: usize) -> usize {
        full.div_ceil(self.shrink)
    }
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
        report.note("quick: small tables and few rounds; the figures mean nothing");
    }
    let runs = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    let place = place::Place::create()?;
    let object =
        std::fs::read(&arguments.object).with_context(|| arguments.object.display().to_string())?;
    pin_to(0, Pid::from_raw(0))?;
    if runs(Part::Packets) {
        scenes::measure(
            &place,
            &object,
            arguments.asn.as_deref(),
            scale,
            &mut report,
        )?;
    }
    if runs(Part::Layouts) {
        layouts::measure(&object, scale, &mut report)?;
    }
    if runs(Part::Latency) {
        latency::measure(&place, scale, &mut report)?;
    }
    if runs(Part::Memory) {
        memory::measure(&place, scale, &mut report)?;
    }
    if runs(Part::Capacity) {
        capacity::measure(&place, &object, scale, &mut report)?;
    }
    print(&report.to_markdown());
    if let Some(path) = &arguments.json {
        let json = report.to_json(&about(arguments, scale));
        let text = serde_json::to_string_pretty(&json)?;
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// The machine, and what was asked of it.
fn about(arguments: &Arguments, scale: Scale) -> Value {
    let mut about = machine();
    about["rounds"] = scale.rounds.into();
    about["quick"] = arguments.quick.into();
    let systems = if arguments.asn.is_some() {
        "of a table"
    } else {
        "made up"
    };
    about["systems"] = systems.into();
    about
}

/// Keeps a process, or with 0 this thread, on one core.
pub(crate) fn pin_to(core: usize, process: Pid) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    sched_setaffinity(process, &cores).with_context(|| format!("pinning {process} to core {core}"))
}
