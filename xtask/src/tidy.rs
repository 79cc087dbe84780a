//! `cargo xtask tidy`: house rules that neither the compiler nor clippy checks.
//!
//! A rule is a pure function from a file's path and text to complaints; this file applies all of
//! them to every file that git knows.

mod floors;
mod layout;
mod words;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// What is wrong, and where.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Complaint {
    /// 1-based line, or 0 for the file as a whole.
    pub(crate) line: usize,
    /// What to change.
    pub(crate) message: String,
}

/// Checks every tracked or new file of the workspace.
///
/// Errors: complaints, all of them, each with file and line.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut complaints = Vec::new();
    for path in files(root)? {
        let Ok(text) = std::fs::read_to_string(root.join(&path)) else {
            continue;
        };
        let name = path.to_string_lossy();
        for rule in RULES {
            complaints.extend(rule(&name, &text).into_iter().map(
                |complaint| match complaint.line {
                    0 => format!("{name}: {}", complaint.message),
                    line => format!("{name}:{line}: {}", complaint.message),
                },
            ));
        }
    }
    if complaints.is_empty() {
        return Ok(());
    }
    bail!(
        "{} things to tidy:\n{}",
        complaints.len(),
        complaints.join("\n")
    )
}

type Rule = fn(&str, &str) -> Vec<Complaint>;

const RULES: [Rule; 4] = [
    floors::check,
    layout::check,
    words::check,
    floors::check_purity,
];

fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("tidy asks git which files there are")?;
    if !output.status.success() {
        bail!(
            "`git ls-files`: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8(output.stdout)?
        .lines()
        .map(PathBuf::from)
        .collect())
}
