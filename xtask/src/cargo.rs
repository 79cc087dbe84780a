//! Calls of cargo, each announced by one line, so that a long build is not taken for a hang.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Builds the `botguard` binary (its build script builds the kernel program) and the demo.
pub(crate) fn build_release(root: &Path) -> Result<()> {
    cargo(
        root,
        "building (release)",
        &[
            "build",
            "--release",
            "--bins",
            "-p",
            "botguard-user",
            "-p",
            "botguard-tests",
        ],
        &[],
    )
}

/// Runs `cargo ARGUMENTS…` in the workspace with the given variables set.
///
/// Errors: it failed; its own output has said why.
pub(crate) fn cargo(
    root: &Path,
    step: &str,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Result<()> {
    announce(step);
    let status = command(root, arguments, variables)
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("{step}: `cargo {}` failed", arguments.join(" "));
    }
    Ok(())
}

/// The same for what says more than anybody wants to read while it works.
///
/// Errors: it failed; the message has all that it wrote to standard error.
pub(crate) fn cargo_quietly(
    root: &Path,
    step: &str,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Result<()> {
    announce(step);
    let output = command(root, arguments, variables)
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{step}: `cargo {}` failed:\n{said}", arguments.join(" "));
    }
    Ok(())
}

fn command(root: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir(root);
    command
}

/// Says what comes next.
#[expect(
    clippy::print_stderr,
    reason = "progress for the person who started xtask"
)]
pub(crate) fn announce(step: &str) {
    eprintln!("── {step}");
}
