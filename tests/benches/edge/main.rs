//! `cargo xtask bench edge`: what a request, a handshake and a connection cost in botguard, with
//! scoring and audit on, beside nginx and HAProxy with neither, and beside nginx with ModSecurity
//! and the Core Rule Set. `docs/benchmarks.md` says how to read the rows.
//!
//! All load comes from loopback, so from one address, which the engine would throttle: routes are in
//! `log` mode, where everything is scored and recorded and nothing is denied.
//!
//! Not a timed test: nothing fails because it is slow, and a row that falls short says so.
#![forbid(unsafe_code)]

mod bulk;
mod client;
mod connections;
mod load;
mod process;
mod proxies;
mod requests;
mod samples;
mod stage;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
pub(crate) use botguard_tests::bench::console::progress;
use botguard_tests::bench::console::{machine, print};
use botguard_tests::bench::report::Report;
use clap::Parser;
use serde_json::Value;

use self::proxies::{Kind, Proxy};
use self::stage::Stage;

#[derive(Parser)]
#[command(name = "cargo xtask bench edge")]
struct Arguments {
    /// The binary that is measured; xtask builds it
    #[arg(long, value_name = "FILE")]
    botguard: PathBuf,
    /// What paths of the other options are relative to
    #[arg(long, value_name = "DIRECTORY", hide = true)]
    directory: Option<PathBuf>,
    /// Write the figures here as JSON as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Few requests and one round: whether everything works, not what it costs
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// 15 rounds and 10 GiB instead of 5 and 1
    #[arg(long)]
    full: bool,
    /// Only these parts
    #[arg(long, value_delimiter = ',', value_name = "PARTS")]
    only: Vec<Part>,
    /// Rounds of each measurement
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Size of a transfer
    #[arg(long, value_name = "GIB")]
    bulk: Option<u64>,
    /// What cargo adds for harnesses
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Eq, PartialEq, clap::ValueEnum)]
enum Part {
    /// HTTP/1.1 and HTTP/2, 1 KiB and 100 KiB
    Requests,
    /// New TLS connections, full and resumed
    Handshakes,
    /// Memory of idle TLS connections
    Idle,
    /// Upload and download of gigabytes
    Bulk,
    /// What inspection adds to a request
    Inspection,
}

/// How much work a run is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Rounds, in each of which everything is measured once; one more goes before them.
    pub(crate) rounds: usize,
    /// Requests of a sample; large ones are a sixth.
    pub(crate) requests: u32,
    /// Handshakes of a sample.
    pub(crate) handshakes: u32,
    /// Idle connections.
    pub(crate) held: u32,
    /// Size of a transfer.
    pub(crate) bulk_gib: u64,
}

impl Scale {
    const FULL: Self = Self {
        rounds: 15,
        bulk_gib: 10,
        ..Self::DEFAULT
    };
    const DEFAULT: Self = Self {
        rounds: 5,
        requests: 100_000,
        handshakes: 5_000,
        held: 2_000,
        bulk_gib: 1,
    };
    const QUICK: Self = Self {
        rounds: 1,
        requests: 2_000,
        handshakes: 100,
        held: 40,
        bulk_gib: 1,
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
    let scale = scale(arguments);
    let mut report = Report::default();
    if arguments.quick {
        report.note("quick: few requests and one round; the figures mean nothing");
    }
    let stage = Stage::set_up()?;
    let start = |kind| Proxy::start(&stage, kind, &arguments.botguard);
    let start_all = |kinds: &[Kind]| kinds.iter().map(|&k| start(k)).collect::<Result<Vec<_>>>();
    let runs = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    let plain = [Kind::Botguard, Kind::Nginx, Kind::Haproxy];
    if runs(Part::Requests) {
        requests::measure(&stage, &start_all(&plain)?, &scale, &mut report)?;
    }
    if runs(Part::Handshakes) {
        connections::measure_handshakes(&stage, &start_all(&plain)?, &scale, &mut report)?;
    }
    if runs(Part::Idle) {
        connections::measure_idle(&stage, &plain, start, &scale, &mut report)?;
    }
    if runs(Part::Bulk) {
        connections::measure_bulk(&stage, &start_all(&plain)?, &scale, &mut report)?;
    }
    if runs(Part::Inspection) {
        let inspecting = start_all(&[
            Kind::Botguard,
            Kind::BotguardRotating,
            Kind::Nginx,
            Kind::NginxCrs,
        ])?;
        requests::measure_inspection(&stage, &inspecting, &scale, &mut report)?;
    }
    print(&report.to_markdown());
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&report.to_json(&about(scale)))?;
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn scale(arguments: &Arguments) -> Scale {
    let scale = match (arguments.quick, arguments.full) {
        (true, _) => Scale::QUICK,
        (_, true) => Scale::FULL,
        _ => Scale::DEFAULT,
    };
    Scale {
        rounds: arguments.rounds.unwrap_or(scale.rounds),
        bulk_gib: arguments.bulk.unwrap_or(scale.bulk_gib),
        ..scale
    }
}

/// The machine, and what was asked of it.
fn about(scale: Scale) -> Value {
    let mut about = machine();
    about["rounds"] = scale.rounds.into();
    about["requests"] = scale.requests.into();
    about["handshakes"] = scale.handshakes.into();
    about["bulk_gib"] = scale.bulk_gib.into();
    for (name, program, argument) in [
        ("nginx", "/usr/sbin/nginx", "-v"),
        ("haproxy", "/usr/sbin/haproxy", "-v"),
        ("h2load", "h2load", "--version"),
    ] {
        about[name] = version(program, argument).into();
    }
    about
}

/// The first line that it says of itself; empty if it says nothing.
fn version(program: &str, argument: &str) -> String {
    let output = std::process::Command::new(program).arg(argument).output();
    let said = output.map(|output| [output.stdout, output.stderr].concat());
    let said = String::from_utf8_lossy(&said.unwrap_or_default()).into_owned();
    said.lines().next().unwrap_or_default().to_owned()
}
