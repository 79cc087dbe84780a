//! Runs the fuzz targets of `tests/fuzz`: a number of runs, not a time, from the same seeds and
//! with the same random numbers, so that two machines look at the same inputs.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cargo::{cargo, cargo_quietly};

/// A target, and what it gets.
struct Target {
    name: &'static str,
    n_runs: u64,
    most_bytes: u64,
}

/// Some ten seconds each, where debug assertions are on; a run of `packet` has hundreds of
/// verdicts.
const TARGETS: [Target; 8] = [
    Target {
        name: "fuzz-packet",
        n_runs: 100_000,
        most_bytes: 256,
    },
    Target {
        name: "fuzz-list",
        n_runs: 300_000,
        most_bytes: 512,
    },
    Target {
        name: "fuzz-jwt",
        n_runs: 100_000,
        most_bytes: 512,
    },
    Target {
        name: "fuzz-client-hello",
        n_runs: 200_000,
        most_bytes: 2_048,
    },
    Target {
        name: "fuzz-framing",
        n_runs: 200_000,
        most_bytes: 512,
    },
    Target {
        name: "fuzz-proxy",
        n_runs: 500_000,
        most_bytes: 256,
    },
    Target {
        name: "fuzz-forwarded",
        n_runs: 500_000,
        most_bytes: 256,
    },
    Target {
        name: "fuzz-configuration",
        n_runs: 80_000,
        most_bytes: 4_096,
    },
];

/// Builds the targets and runs them, each `factor` times as often as it says.
///
/// Errors: a target found an input that it does not hold for; libFuzzer has said which, and where
/// it is kept.
pub(crate) fn run(root: &Path, factor: u64) -> Result<()> {
    // A copy, since the tests before may have built xtask anew and put it in this one's place.
    let wrapper = root.join("target/fuzz-rustc");
    fs::copy("/proc/self/exe", &wrapper).context("xtask in place of rustc")?;
    let Some(wrapper) = wrapper.to_str() else {
        bail!("{}: Cargo takes wrappers as text only", wrapper.display());
    };
    let variables = [("RUSTC_WORKSPACE_WRAPPER", wrapper), (AS_WRAPPER, "1")];
    cargo(
        root,
        "building the fuzz targets",
        &["build", "-p", "botguard-fuzz", "--bins"],
        &variables,
    )?;
    for target in TARGETS {
        let Target {
            name,
            n_runs,
            most_bytes,
        } = target;
        // What an earlier run came upon would make this one another.
        let corpus = format!("target/fuzz/{name}");
        let directory = root.join(&corpus);
        if directory.exists() {
            fs::remove_dir_all(&directory).with_context(|| corpus.clone())?;
        }
        fs::create_dir_all(&directory).with_context(|| corpus.clone())?;
        let n_runs = n_runs * factor;
        cargo_quietly(
            root,
            &format!("fuzzing: {name}, {n_runs} runs"),
            &[
                "run",
                "-p",
                "botguard-fuzz",
                "--bin",
                name,
                "--",
                &corpus,
                &format!("-runs={n_runs}"),
                &format!("-max_len={most_bytes}"),
                &format!("-artifact_prefix=target/fuzz/{name}-"),
                "-seed=1",
                "-verbosity=0",
            ],
            &variables,
        )?;
    }
    Ok(())
}

/// Set where Cargo calls xtask in place of rustc.
const AS_WRAPPER: &str = "BOTGUARD_FUZZ_RUSTC";

/// Whether this is xtask at all, or called by Cargo in place of rustc.
pub(crate) fn is_wrapper() -> bool {
    std::env::var_os(AS_WRAPPER).is_some()
}

/// rustc with the coverage that libFuzzer is guided by, for the crates that are fuzzed. All else is
/// built as ever and shared with the other builds; build scripts could not be linked with it.
///
/// Errors: rustc cannot be started.
pub(crate) fn instead_of_rustc() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let rustc = arguments.next().context("called as rustc without it")?;
    let arguments: Vec<_> = arguments.collect();
    let name = (arguments.iter())
        .position(|argument| argument == "--crate-name")
        .and_then(|place| arguments.get(place + 1)?.to_str());
    let mut command = Command::new(rustc);
    command.args(&arguments);
    if name.is_some_and(|name| {
        ["botguard", "botguard_common", "botguard_fuzz"].contains(&name)
            || name.starts_with("fuzz_")
    }) {
        command.args(COVERAGE);
    }
    Err(command.exec()).context("rustc")
}

/// As cargo-fuzz has it, without the sanitizers, which stable has not.
const COVERAGE: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
