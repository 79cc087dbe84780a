//! The Python environment below `target` whose programs the tests of clients run.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

/// What it has, with versions.
const REQUIREMENTS: &str = include_str!("../../tests/tests/clients/requirements.txt");

/// Whether it is there and has what it should.
pub(crate) fn is_ready() -> bool {
    let noted = std::fs::read_to_string(Path::new(DIRECTORY).join(NOTE));
    noted.is_ok_and(|noted| noted == REQUIREMENTS)
}

/// The package that making one takes and this machine lacks.
pub(crate) fn missing_package() -> Option<(&'static str, &'static str)> {
    let status = Command::new("python3")
        .args(["-c", "import ensurepip, venv"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let is_there = status.is_ok_and(|status| status.success());
    (!is_there).then_some(("python3 with venv", "python3-venv"))
}

/// Makes it anew, by `step`, which shows what it runs.
///
/// Errors: those of `step`, or a directory that cannot be written.
pub(crate) fn make(step: impl Fn(&str, &mut Command) -> Result<()>) -> Result<()> {
    let directory = Path::new(DIRECTORY);
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(directory);
    step("python3 -m venv target/python", &mut venv)?;
    let requirements = directory.join("asked.txt");
    std::fs::write(&requirements, REQUIREMENTS).context("target/python")?;
    let mut pip = Command::new(directory.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--requirement"]);
    step(
        "pip install, of httpx, gRPC and Playwright",
        pip.arg(&requirements),
    )?;
    // Last, so that one that was broken off is made anew.
    std::fs::rename(&requirements, directory.join(NOTE)).context("target/python")
}

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/python");
const NOTE: &str = "installed.txt";
