//! `cargo xtask run`: the demo of the worked example, or the daemon on the caller's configuration.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Parser;

/// `run [--config FILE | --tier-weight W]`, also behind a `--`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// --config FILE: run the daemon on FILE; --tier-weight W: weight of the demo's free tier
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTIONS"
    )]
    options: Vec<String>,
}

#[derive(Parser)]
#[command(name = "cargo xtask run --")]
struct Options {
    /// Run the daemon on this configuration instead of the demo
    #[arg(long, value_name = "FILE", conflicts_with = "tier_weight")]
    config: Option<PathBuf>,
    /// Weight of the demo's free tier; the sum changes with it
    #[arg(long, value_name = "W")]
    tier_weight: Option<f64>,
}

/// Builds, then becomes the daemon or the demo.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let options = arguments.options.iter().filter(|option| *option != "--");
    let options = Options::parse_from(std::iter::once(&"run".to_owned()).chain(options));
    if let Some(config) = &options.config
        && !config.exists()
    {
        bail!("--config {}: no such file", config.display());
    }
    crate::cargo::build_release(root)?;
    let built = root.join("target/release");
    let mut command = match &options.config {
        Some(config) => {
            let mut daemon = Command::new(built.join("botguard"));
            daemon.arg("run").arg("--config").arg(config);
            daemon
        }
        None => Command::new(built.join("botguard-demo")),
    };
    if let Some(weight) = options.tier_weight {
        command.arg("--tier-weight").arg(weight.to_string());
    }
    // Signals must reach the program itself, which cleans up after itself.
    Err(command.exec()).context("cannot start what was just built")
}
