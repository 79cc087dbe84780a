//! Runs the fuzz targets of `tests/fuzz`: a number of runs, not a time, from the same seeds and
//! with the same random numbers, so that two machines look at the same inputs.

use std::fs;
use std::path::Path;

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
const TARGETS: [Target; 2] = [
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
];

/// Builds the targets and runs them, each `factor` times as often as it says.
///
/// Errors: a target found an input that it does not hold for; libFuzzer has said which, and where
/// it is kept.
pub(crate) fn run(root: &Path, factor: u64) -> Result<()> {
    let wrapper = root.join("tests/fuzz/rustc.sh");
    let Some(wrapper) = wrapper.to_str() else {
        bail!("{}: Cargo takes wrappers as text only", wrapper.display());
    };
    let variables = [("RUSTC_WORKSPACE_WRAPPER", wrapper)];
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
