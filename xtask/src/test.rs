//! `cargo xtask test`: everything that CI runs, in the order in which it is cheapest to fail.

use std::path::Path;

use anyhow::{Result, bail};

use crate::bench;
use crate::cargo::{announce, cargo};
use crate::{fuzz, tidy};

/// `test [--full]`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Also the long counts: property tests with ten times as many cases and other ones each time,
    /// the daemon killed ten times as often, a million rotating sources instead of a hundred
    /// thousand, fuzz targets with fifty times as many runs
    #[arg(long)]
    full: bool,
}

/// Runs all steps; stops at the first failure.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    need_root()?;
    let (cases, kills, rotations, fuzzing) = if arguments.full {
        ("2560", "100", "1000000", 50)
    } else {
        ("256", "10", "100000", 1)
    };
    let deny_warnings = [("RUSTDOCFLAGS", "-D warnings")];
    cargo(root, "format", &["fmt", "--all", "--check"], &[])?;
    announce("tidy");
    tidy::run(root)?;
    cargo(
        root,
        "clippy",
        &[
            "clippy",
            "--workspace",
            "--exclude",
            "botguard-ebpf",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
        &[],
    )?;
    cargo(
        root,
        "documentation",
        &["doc", "--no-deps", "--document-private-items"],
        &deny_warnings,
    )?;
    cargo(root, "build", &["build", "--bins"], &[])?;
    let mut counts = vec![
        ("PROPTEST_CASES", cases),
        ("BOTGUARD_KILLS", kills),
        ("BOTGUARD_ROTATIONS", rotations),
    ];
    if !arguments.full {
        // As for the fuzz targets: what fails is this change and not the luck of the day. `--full`,
        // and `cargo test` alone, look at other inputs each time.
        counts.push(("PROPTEST_RNG_SEED", "1"));
    }
    cargo(root, "tests", &["test", "--no-fail-fast"], &counts)?;
    fuzz::run(root, fuzzing)?;
    bench::smoke(root)
}

/// The kernel tests cannot be skipped, so a missing privilege is said before the long build.
fn need_root() -> Result<()> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1));
    if effective != Some("0") {
        bail!("the tests load XDP programs and make network namespaces: run them as root");
    }
    Ok(())
}
