//! Installs what building and testing botguard takes beyond rustup's stable toolchain.
//!
//! Looks first, so a second run costs a fraction of a second and needs no root. Only Debian and
//! its descendants are served; elsewhere the message says what to install by hand.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::{bpf, python};

/// Installs what is missing; says what it does, line by line, on standard error.
///
/// Errors: not Debian, not root, or an installer that fails; its own messages stand above.
pub fn run() -> Result<()> {
    install_programs()?;
    if python::is_ready() {
        return Ok(());
    }
    python::make(step)
}

fn install_programs() -> Result<()> {
    if bpf::missing().is_empty() && missing_commands().is_empty() {
        return Ok(());
    }
    for missing in bpf::missing() {
        say(&format!("missing: {missing}"));
    }
    for (command, package) in missing_commands() {
        say(&format!("missing: {command} (package {package})"));
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("{BY_HAND}");
    }
    install_packages()?;
    if !bpf::missing().is_empty() {
        install_linker()?;
    }
    match bpf::missing().as_slice() {
        [] => {
            say("everything is there");
            Ok(())
        }
        missing => bail!("still missing: {}. {BY_HAND}", missing.join(", ")),
    }
}

/// As [`run`], and the filters that `cargo xtask bench kernel` measures beside.
///
/// Errors: as for [`run`].
pub fn run_for_bench() -> Result<()> {
    run()?;
    install(missing_of(&BENCH_COMMANDS))
}

/// The proxies that `cargo xtask bench edge` measures beside; nothing else needs them.
///
/// Errors: as for [`run`].
pub fn run_for_edge_bench() -> Result<()> {
    let mut missing = missing_of(&EDGE_BENCH_COMMANDS);
    let files = EDGE_BENCH_FILES.into_iter();
    missing.extend(files.filter(|(file, _package)| !Path::new(file).exists()));
    install(missing)
}

fn install(missing: Vec<(&'static str, &'static str)>) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    for (command, package) in &missing {
        say(&format!("missing: {command} (package {package})"));
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("install by hand what is missing");
    }
    let packages = missing.into_iter().map(|(_command, package)| package);
    apt(packages.collect())
}

/// Packages for the compiler, and for building the linker.
const TOOLCHAIN_PACKAGES: [&str; 3] = ["rustc-web", "libstd-rust-web-dev-bpf", "llvm-22-dev"];
/// Programs that the tests run, and that their build does (libFuzzer is C++); their packages.
const COMMANDS: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("h2load", "nghttp2-client"),
    ("g++", "g++"),
    ("curl", "curl"),
    ("slowhttptest", "slowhttptest"),
    // What a challenge is for is seen only in a real browser.
    ("chromium", "chromium"),
];
/// What the bench of the kernel half measures beside or asks.
const BENCH_COMMANDS: [(&str, &str); 6] = [
    ("bpftool", "bpftool"),
    ("ethtool", "ethtool"),
    ("ipset", "ipset"),
    ("iptables", "iptables"),
    ("nft", "nftables"),
    ("xdp-filter", "xdp-tools"),
];
/// What the bench of the edge measures beside, and pins it with.
const EDGE_BENCH_COMMANDS: [(&str, &str); 3] = [
    ("nginx", "nginx"),
    ("haproxy", "haproxy"),
    ("taskset", "util-linux"),
];
/// The same for what is no command.
const EDGE_BENCH_FILES: [(&str, &str); 2] = [
    (
        "/usr/lib/nginx/modules/ngx_http_modsecurity_module.so",
        "libnginx-mod-http-modsecurity",
    ),
    ("/usr/share/modsecurity-crs/rules", "modsecurity-crs"),
];
const LINKER_VERSION: &str = "0.13.0";
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";
const BY_HAND: &str = "install by hand: rustup's nightly with rust-src (`rustup toolchain install \
    nightly --component rust-src`), bpf-linker (`cargo install bpf-linker --version 0.13.0`, with \
    an LLVM as new as nightly's), g++, iproute2, h2load, curl, \
    slowhttptest, Python with venv, and chromium";

fn install_packages() -> Result<()> {
    let mut packages: Vec<_> = missing_commands()
        .into_iter()
        .map(|(_command, package)| package)
        .collect();
    if !bpf::missing().is_empty() {
        packages.extend(TOOLCHAIN_PACKAGES);
    }
    apt(packages)
}

fn apt(packages: Vec<&str>) -> Result<()> {
    if !is_root() {
        bail!(
            "not root; run this again as root, or install first: apt-get install {}",
            packages.join(" ")
        );
    }
    step("apt-get update", Command::new("apt-get").arg("update"))?;
    step(
        &format!("apt-get install {}", packages.join(" ")),
        Command::new("apt-get")
            .args(["install", "--yes", "--no-install-recommends"])
            .args(&packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

fn install_linker() -> Result<()> {
    step(
        &format!("cargo install bpf-linker {LINKER_VERSION} (about a minute)"),
        Command::new("cargo")
            .args([
                "install",
                "bpf-linker",
                "--locked",
                "--version",
                LINKER_VERSION,
            ])
            .args(["--no-default-features", "--features", "llvm-22"])
            .env("LLVM_PREFIX", LLVM_PREFIX),
    )
}

/// Runs a command with its messages shown.
fn step(title: &str, command: &mut Command) -> Result<()> {
    say(title);
    // What the installers say belongs beside our own lines, not into the output of a caller.
    let status = command
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("cannot start `{title}`"))?;
    if status.success() {
        Ok(())
    } else {
        bail!("`{title}` failed ({status}); its own messages stand above")
    }
}

fn missing_commands() -> Vec<(&'static str, &'static str)> {
    let mut missing = missing_of(&COMMANDS);
    if !python::is_ready() {
        missing.extend(python::missing_package());
    }
    missing
}

fn missing_of(commands: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<_> = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .collect();
    commands
        .iter()
        .copied()
        .filter(|(command, _package)| !directories.iter().any(|dir| dir.join(command).exists()))
        .collect()
}

/// Whether the effective user is root.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    // The owner of a process's directory in /proc is its effective user.
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

fn say(line: &str) {
    // Nothing is lost when nobody listens.
    let _unused: std::io::Result<()> = writeln!(std::io::stderr(), "setup: {line}");
}
