//! `cargo xtask bench`: installs the filters to measure beside, builds, and runs a harness.

use std::path::Path;

use anyhow::{Context as _, Result};
use clap::Subcommand;

use crate::cargo::{announce, cargo};

/// `bench WHAT`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The filter in the kernel, beside xdp-filter, nftables, ipset and the kernel's own maps
    Kernel(Options),
    /// The engine: decisions, memory, audit records, reload
    Engine(Options),
    /// The edge: requests, handshakes, connections, beside nginx and HAProxy
    Edge(Options),
}

/// `bench WHAT [--json FILE] [--quick] [OPTIONS]`.
#[derive(clap::Args)]
struct Options {
    /// Options of the harness: --json FILE, --quick, --rounds N; of kernel also --asn FILE, --only
    /// PARTS; of edge also --full, --bulk GIB, --only PARTS
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTIONS"
    )]
    options: Vec<String>,
}

/// Builds and measures.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    match &arguments.what {
        What::Kernel(kernel) => {
            xtask::setup::run_for_bench()?;
            run_kernel(root, "bench", &kernel.options)
        }
        What::Engine(engine) => {
            xtask::setup::run()?;
            run_harness(root, "bench", "engine", &[], &engine.options)
        }
        What::Edge(edge) => {
            xtask::setup::run()?;
            xtask::setup::run_for_edge_bench()?;
            run_edge(root, &edge.options)
        }
    }
}

/// Whether the harness and its programs work, in seconds; no figures to keep.
pub(crate) fn smoke(root: &Path) -> Result<()> {
    xtask::setup::run_for_bench()?;
    let quick = ["--quick".to_owned()];
    run_harness(root, "test", "engine", &[], &quick)?;
    run_kernel(root, "test", &quick)
}

/// `cargo bench` measures, `cargo test` builds faster.
fn run_kernel(root: &Path, command: &str, options: &[String]) -> Result<()> {
    announce("building the programs of the bench");
    let object = xtask::bpf::build_bench(root)?;
    let object = object
        .to_str()
        .context("the workspace's path is not UTF-8")?;
    run_harness(root, command, "kernel", &["--object", object], options)
}

/// What is measured is the binary that is shipped.
fn run_edge(root: &Path, options: &[String]) -> Result<()> {
    crate::cargo::build_release(root)?;
    let botguard = root.join("target/release/botguard");
    let botguard = botguard
        .to_str()
        .context("the workspace's path is not UTF-8")?;
    run_harness(root, "bench", "edge", &["--botguard", botguard], options)
}

fn run_harness(
    root: &Path,
    command: &str,
    name: &str,
    own: &[&str],
    options: &[String],
) -> Result<()> {
    // Paths of options are the caller's, but cargo runs a bench in its package's directory.
    let here = std::env::current_dir().context("current directory")?;
    let here = here
        .to_str()
        .context("the current directory is not UTF-8")?;
    let harness = ["--package", "botguard-tests", "--bench", name, "--"];
    let directory = ["--directory", here];
    let options: Vec<_> = options
        .iter()
        .map(String::as_str)
        .filter(|o| *o != "--")
        .collect();
    let arguments = [&[command][..], &harness, own, &directory, &options].concat();
    cargo(root, &format!("bench of the {name}"), &arguments, &[])
}
