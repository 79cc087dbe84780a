//! `cargo xtask`: everything that CI or a newcomer does with botguard is one of these commands.

mod bench;
mod cargo;
mod fuzz;
mod run;
mod test;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Sets up, builds, runs, tests and checks botguard"
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what building needs and is missing: a BPF-capable Rust toolchain and bpf-linker
    Setup,
    /// Set up, then build the kernel program and the `botguard` binary (release)
    Build,
    /// Set up, build, and show botguard at work; with --config, run it on your configuration
    Run(run::Arguments),
    /// Measure: what a packet costs in the filter, beside other filters
    Bench(bench::Arguments),
    /// Set up, then everything that CI runs
    Test(test::Arguments),
    /// Check what neither compiler nor clippy does: floors, file sizes, forbidden words
    Tidy,
}

fn main() -> ExitCode {
    let done = if fuzz::is_wrapper() {
        fuzz::instead_of_rustc()
    } else {
        run_task(Arguments::parse().task)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cargo::announce(&format!("failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run_task(task: Task) -> Result<()> {
    let root = workspace_root()?;
    match task {
        Task::Setup => xtask::setup::run(),
        Task::Build => {
            xtask::setup::run()?;
            cargo::build_release(&root)
        }
        Task::Run(arguments) => {
            xtask::setup::run()?;
            run::run(&root, &arguments)
        }
        Task::Bench(arguments) => {
            xtask::setup::run()?;
            bench::run(&root, &arguments)
        }
        Task::Test(arguments) => {
            xtask::setup::run()?;
            test::run(&root, &arguments)
        }
        Task::Tidy => tidy::run(&root),
    }
}

fn workspace_root() -> Result<PathBuf> {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest
        .parent()
        .map(PathBuf::from)
        .context("xtask is not inside the workspace")
}
