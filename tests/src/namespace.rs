//! A network namespace that exists as long as its value.
//!
//! Named `botguard-<pid>-…`, so that a later run can tell whose it was and remove what a killed
//! process left behind.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, bail};
use nix::sched::{CloneFlags, setns};

/// A named network namespace; removed on drop, with its interfaces.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes `botguard-<pid>-<suffix>` and brings its loopback up.
    ///
    /// Errors: no privilege (root is needed), or `ip` is missing.
    pub fn create(suffix: &str) -> Result<Self> {
        let name = format!("{PREFIX}{}-{suffix}", std::process::id());
        ip(&["netns", "add", &name]).context("a network namespace needs root and iproute2")?;
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip ARGUMENTS…` inside.
    pub fn ip(&self, arguments: &[&str]) -> Result<()> {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments);
        ip(&all)
    }

    /// A command that will run inside. Only the network namespace changes: mounts made by this
    /// process (bpffs) stay visible, which `ip netns exec` would hide.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path().display()))
            .arg("--")
            .arg(program);
        command
    }

    /// Runs `work` on a thread of its own inside, with a Tokio runtime for it.
    pub fn spawn<T, F, W>(&self, work: W) -> JoinHandle<Result<T>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>>,
        W: FnOnce() -> F + Send + 'static,
    {
        let path = self.path();
        std::thread::spawn(move || {
            let file = File::open(&path).with_context(|| path.display().to_string())?;
            setns(file, CloneFlags::CLONE_NEWNET).context("setns needs root")?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(work())
        })
    }

    /// Runs `work` on a thread of its own inside, and waits for it.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = self.path();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let file = File::open(&path).with_context(|| path.display().to_string())?;
                setns(file, CloneFlags::CLONE_NEWNET).context("setns needs root")?;
                work()
            });
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("/var/run/netns").join(&self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Already gone is as good as removed.
        let _removed: Result<()> = ip(&["netns", "del", &self.name]);
    }
}

/// Removes namespaces whose process is gone: what a `kill -9` of a test or demo left.
pub fn remove_orphans() {
    let Ok(entries) = std::fs::read_dir("/var/run/netns") else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_orphan(&name) {
            let _removed: Result<()> = ip(&["netns", "del", &name]);
        }
    }
}

/// Whether `name` is `botguard-<pid>-…` of a process that is gone.
#[must_use]
pub fn is_orphan(name: &str) -> bool {
    let owner = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
    // A zombie still has its directory there, but no executable.
    owner.is_some_and(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).is_err())
}

/// Runs `ip ARGUMENTS…` and shows what it said if it failed.
pub fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .context("cannot run `ip`")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`ip {}`: {}", arguments.join(" "), said.trim());
    }
    Ok(())
}

/// What names of namespaces and directories begin with, before the process id.
pub const PREFIX: &str = "botguard-";
