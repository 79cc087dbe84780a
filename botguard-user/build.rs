//! Compiles the kernel half, so that the binary carries it: `$OUT_DIR/botguard-ebpf` is embedded by
//! `enforcement::kernel::object`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Cargo shows this line, where a panic's message would be buried under a backtrace.
            println!("cargo::error={error:#}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> anyhow::Result<()> {
    let root = workspace_root()?;
    // What the object is made of, and nothing else: an edit elsewhere must not build it again.
    for source in [
        "botguard-ebpf/src",
        "botguard-ebpf/Cargo.toml",
        "botguard-common/src",
        "botguard-common/Cargo.toml",
        "Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    let object = xtask::bpf::build(&root)?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("botguard-ebpf");
    std::fs::copy(object, out)?;
    Ok(())
}

fn workspace_root() -> anyhow::Result<PathBuf> {
    let package = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let root = package.parent().map(Path::to_path_buf);
    root.ok_or_else(|| anyhow::anyhow!("{} has no parent directory", package.display()))
}
