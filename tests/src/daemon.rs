//! The `botguard` binary as an operator runs it: a daemon process in the lab's edge namespace, and
//! its CLI.

use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lab::Lab;
use crate::wait;

/// A binary and the configuration file it runs on. Commands run in the lab's edge namespace.
#[derive(Clone, Debug)]
pub struct Botguard {
    binary: PathBuf,
    config: PathBuf,
}

/// A running daemon; killed on drop.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Botguard {
    /// `binary` with `config`.
    #[must_use]
    pub const fn new(binary: PathBuf, config: PathBuf) -> Self {
        Self { binary, config }
    }

    /// The binary that Cargo built beside this test or demo.
    ///
    /// Errors: it is not there; `cargo xtask build` makes it.
    pub fn built_binary() -> Result<PathBuf> {
        let mut directory = std::env::current_exe()?;
        directory.pop();
        if directory.ends_with("deps") {
            directory.pop();
        }
        let binary = directory.join("botguard");
        if !binary.exists() {
            bail!("{} is missing; run `cargo xtask build`", binary.display());
        }
        Ok(binary)
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// `botguard ARGUMENTS… --config FILE`, to its end.
    pub fn run(&self, lab: &Lab, arguments: &[&str]) -> Result<Output> {
        let mut command = lab.edge.command(&self.binary);
        command
            .args(arguments)
            .arg("--config")
            .arg(&self.config)
            .stdin(Stdio::null());
        command.output().context("cannot run botguard")
    }

    /// The same, and it must succeed: its standard output.
    pub fn expect(&self, lab: &Lab, arguments: &[&str]) -> Result<String> {
        let output = self.run(lab, arguments)?;
        if !output.status.success() {
            bail!(
                "`botguard {}`: {}: {}",
                arguments.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Starts the daemon and waits until it serves. Its log goes to `daemon.log` in the lab's
    /// directory.
    ///
    /// Errors: it ended, or does not serve within 20 s; the message has the end of its log.
    pub fn start(&self, lab: &Lab) -> Result<Daemon> {
        self.start_logging(lab, "info")
    }

    /// The same with a log of this filter (`BOTGUARD_LOG`).
    pub fn start_logging(&self, lab: &Lab, filter: &str) -> Result<Daemon> {
        self.start_with(lab, filter, &[])
    }

    /// A daemon that takes over from the one that runs, which is to end by itself.
    pub fn take_over(&self, lab: &Lab) -> Result<Daemon> {
        self.start_with(lab, "info", &["--take-over"])
    }

    /// The same started by a service manager that listens on `notify` and passes `kept`, which are
    /// not close-on-exec, as `sd_listen_fds(3)` has it.
    pub fn start_as_service(&self, lab: &Lab, notify: &Path, kept: &[OwnedFd]) -> Result<Daemon> {
        let numbers = (3..).zip(kept);
        let redirections = numbers.map(|(number, fd)| format!(" {number}<&{}", fd.as_raw_fd()));
        let script = format!(
            "exec{}; export LISTEN_FDS={} LISTEN_PID=$$ NOTIFY_SOCKET='{}'; exec \"$@\"",
            redirections.collect::<String>(),
            kept.len(),
            notify.display()
        );
        self.start_through(&["bash", "-c", &script, "bash"], lab, "info", &[])
    }

    fn start_with(&self, lab: &Lab, filter: &str, arguments: &[&str]) -> Result<Daemon> {
        self.start_through(&[], lab, filter, arguments)
    }

    /// `wrapper` runs what follows it, in its own place.
    fn start_through(
        &self,
        wrapper: &[&str],
        lab: &Lab,
        filter: &str,
        arguments: &[&str],
    ) -> Result<Daemon> {
        let log = lab.directory().join("daemon.log");
        let output = File::options().create(true).append(true).open(&log)?;
        // A demo that is killed takes its daemon with it.
        let mut command = lab.edge.command("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        // A low soft limit of open files, as a shell's, wherever the test runs.
        command.args(["prlimit", "--nofile=512:", "--"]);
        command.args(wrapper).arg(&self.binary);
        command
            .arg("run")
            .args(arguments)
            .arg("--config")
            .arg(&self.config);
        command
            .env("BOTGUARD_LOG", filter)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let child = command.spawn().context("cannot run botguard")?;
        let mut daemon = Daemon { child, log };
        wait::until("the daemon serves", Duration::from_secs(20), || {
            if daemon.has_ended() {
                return Some(Err(daemon.failure("the daemon ended")));
            }
            let status = self.run(lab, &["status", "--json"]).ok()?;
            // Exit status 2 is a degraded daemon, which serves all the same; without a daemon the
            // status has none.
            let report: serde_json::Value = serde_json::from_slice(&status.stdout).ok()?;
            // Not the one that it takes over from.
            (report["daemon"]["pid"] == daemon.child.id()).then_some(Ok(()))
        })
        .map_err(|error| daemon.failure(&error.to_string()))??;
        Ok(daemon)
    }
}

impl Daemon {
    /// SIGKILL, and waits until it is gone.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let process = Pid::from_raw(i32::try_from(self.child.id())?);
        Ok(kill(process, signal)?)
    }

    /// SIGTERM, and waits until it has drained. Errors: it ended with a failure.
    pub fn stop(mut self) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        let status = self.child.wait()?;
        if !status.success() {
            return Err(self.failure(&format!("the daemon ended with {status}")));
        }
        Ok(())
    }

    /// Waits until it has ended by itself. Errors: it ended with a failure.
    pub fn ended(mut self) -> Result<()> {
        let status = self.child.wait()?;
        match status.success() {
            true => Ok(()),
            false => Err(self.failure(&format!("the daemon ended with {status}"))),
        }
    }

    /// Whether the process is gone.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }

    /// All that it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn failure(&self, what: &str) -> anyhow::Error {
        let log = self.log();
        let from = log.len().saturating_sub(3_000);
        let from = (from..=log.len())
            .find(|&at| log.is_char_boundary(at))
            .unwrap_or(0);
        anyhow::anyhow!("{what}; its log ends with:\n{}", &log[from..])
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Gone already is as good as killed.
        let _killed: std::io::Result<()> = self.child.kill();
        let _reaped: std::io::Result<std::process::ExitStatus> = self.child.wait();
    }
}
