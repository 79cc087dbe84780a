//! Finds a toolchain that compiles for BPF, and compiles botguard-ebpf with it.
//!
//! Two kinds of toolchain will do, and the first one found is taken:
//!
//! - a distribution's `/usr/bin/rustc` with a prebuilt core for the target (Debian: `rustc-web`
//!   and `libstd-rust-web-dev-bpf`); it compiles stable code only, so `RUSTC_BOOTSTRAP` unlocks
//!   the inline assembly of aya-ebpf;
//! - rustup's nightly with `rust-src`, which builds core itself.
//!
//! Either needs `bpf-linker`. Nothing is installed here; that is [`crate::setup`].

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Compiles the product's programs in release and returns the path of the object.
///
/// Cargo's own incrementality applies: with nothing changed this takes a fraction of a second. The
/// target directory is `target/bpf`, so that the outer cargo, which holds the lock of `target`,
/// does not wait for itself.
///
/// Errors: no toolchain (run `cargo xtask setup`), or code that does not compile; cargo's messages
/// go to standard error.
pub fn build(workspace_root: &Path) -> Result<PathBuf> {
    build_binary(workspace_root, PACKAGE, &[])
}

/// As [`build`], for the programs that the product is measured with and beside.
pub fn build_bench(workspace_root: &Path) -> Result<PathBuf> {
    build_binary(workspace_root, BENCH, &["--features", "bench"])
}

fn build_binary(workspace_root: &Path, name: &str, arguments: &[&str]) -> Result<PathBuf> {
    let toolchain = Toolchain::find()?;
    let target_dir = workspace_root.join("target").join("bpf");
    let mut cargo = toolchain.cargo();
    cargo
        .current_dir(workspace_root)
        .args(["build", "--release", "--locked", "--package", PACKAGE])
        .args(["--bin", name])
        // What the release profile asks for would make other programs of those that were measured;
        // bpf-linker optimises over all crates anyway.
        .args(["--config", "profile.release.lto = 'thin'"])
        .args(arguments)
        .args(["--target", TARGET])
        .arg("--target-dir")
        .arg(&target_dir);
    let status = cargo
        .status()
        .with_context(|| format!("cannot start {}", cargo.get_program().display()))?;
    if !status.success() {
        bail!("{name} does not compile for {TARGET}; cargo's messages stand above");
    }
    Ok(target_dir.join(TARGET).join("release").join(name))
}

/// A complete toolchain for BPF.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Toolchain {
    compiler: Compiler,
    linker: PathBuf,
}

impl Toolchain {
    /// Looks for compiler and linker.
    ///
    /// Errors: either is missing; the message names it and the mend.
    pub fn find() -> Result<Self> {
        let (Some(compiler), Some(linker)) = (Compiler::find(), find_linker()) else {
            let missing = missing().join(" and ");
            bail!("cannot build the kernel filter without {missing}; run `cargo xtask setup`");
        };
        Ok(Self { compiler, linker })
    }

    /// A cargo that compiles for BPF with this toolchain, whatever the cargo that called us was
    /// told to use.
    fn cargo(&self) -> Command {
        let mut cargo;
        let rustflags = format!(
            "-C debuginfo=2 -C link-arg=--btf -C linker={}",
            self.linker.display()
        );
        match &self.compiler {
            Compiler::Prebuilt { rustc } => {
                cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
                forget_outer_build(&mut cargo);
                cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
            }
            Compiler::Nightly => {
                cargo = Command::new("rustup");
                forget_outer_build(&mut cargo);
                cargo.args(["run", "nightly", "cargo"]);
                cargo.env("CARGO_UNSTABLE_BUILD_STD", "core");
            }
        }
        cargo.env("RUSTFLAGS", rustflags);
        cargo
    }
}

/// What of compiler and linker is missing, for people; empty when nothing is.
#[must_use]
pub fn missing() -> Vec<&'static str> {
    let mut missing = vec![];
    if Compiler::find().is_none() {
        missing.push("a Rust compiler for bpfel-unknown-none");
    }
    if find_linker().is_none() {
        missing.push("bpf-linker");
    }
    missing
}

/// Where cargo installs programs.
#[must_use]
pub fn cargo_bin() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    Some(home?.join("bin"))
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Compiler {
    /// Has a prebuilt core for the target.
    Prebuilt { rustc: PathBuf },
    /// rustup's nightly, with the source of core.
    Nightly,
}

impl Compiler {
    fn find() -> Option<Self> {
        let rustc = Path::new("/usr/bin/rustc");
        if target_library(rustc).is_some_and(|library| holds_core(&library)) {
            return Some(Self::Prebuilt {
                rustc: rustc.to_owned(),
            });
        }
        let sysroot =
            output(Command::new("rustup").args(["run", "nightly", "rustc", "--print", "sysroot"]))?;
        Path::new(&sysroot)
            .join("lib/rustlib/src/rust/library/core")
            .is_dir()
            .then_some(Self::Nightly)
    }
}

fn target_library(rustc: &Path) -> Option<PathBuf> {
    let mut command = Command::new(rustc);
    command.args(["--print", "target-libdir", "--target", TARGET]);
    output(&mut command).map(PathBuf::from)
}

fn holds_core(library: &Path) -> bool {
    std::fs::read_dir(library).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            name.to_string_lossy().starts_with("libcore-")
        })
    })
}

fn find_linker() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(cargo_bin())
        .map(|directory| directory.join("bpf-linker"))
        .find(|candidate| candidate.is_file())
}

/// Standard output of a command that succeeds, without the line's end.
fn output(command: &mut Command) -> Option<String> {
    forget_outer_build(command);
    let output = command
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// Called from a build script, clippy or a test, the environment is full of what was meant for the
/// outer build: wrappers, flags, targets, features, the toolchain that rustup chose.
fn forget_outer_build(command: &mut Command) {
    for (name, _value) in std::env::vars_os() {
        if belongs_to_outer_build(&name) {
            command.env_remove(name);
        }
    }
}

fn belongs_to_outer_build(name: &OsString) -> bool {
    // Where crates come from and how to reach them stays as the host has it.
    const KEPT: [&str; 6] = [
        "CARGO_HOME",
        "CARGO_HTTP",
        "CARGO_NET",
        "CARGO_REGISTR",
        "CARGO_SOURCE",
        "CARGO_TERM",
    ];
    const DROPPED: [&str; 8] = [
        "CARGO",
        "HOST",
        "RUSTC",
        "RUSTDOC",
        "RUSTDOCFLAGS",
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
        "TARGET",
    ];
    let name = name.to_string_lossy();
    if KEPT.iter().any(|prefix| name.starts_with(prefix)) {
        return false;
    }
    DROPPED.contains(&&*name) || name.starts_with("CARGO_") || name.starts_with("RUSTC_")
}

const PACKAGE: &str = "botguard-ebpf";
const BENCH: &str = "botguard-ebpf-bench";
const TARGET: &str = "bpfel-unknown-none";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outer_build_is_forgotten_and_the_registry_is_not() {
        let check = |name: &str, expected| {
            assert_eq!(belongs_to_outer_build(&name.into()), expected, "{name}");
        };
        check("RUSTC_WORKSPACE_WRAPPER", true);
        check("CARGO_ENCODED_RUSTFLAGS", true);
        check("CARGO_MAKEFLAGS", true);
        check("CARGO_TARGET_DIR", true);
        check("RUSTUP_TOOLCHAIN", true);
        check("CARGO", true);
        check("HOST", true);
        check("CARGO_HOME", false);
        check("CARGO_HTTP_CAINFO", false);
        check("CARGO_REGISTRIES_MIRROR_INDEX", false);
        check("PATH", false);
        check("HOME", false);
    }
}
