//! A process that is measured: its CPU time and memory, from `/proc`. Killed on drop, with the
//! children that it had.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use botguard_tests::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};

/// A running process, and its children (nginx has a worker).
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts it, with its output where the bench's own goes.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot run {command:?}"))?;
        Ok(Self { child })
    }

    /// Fails if it has ended.
    pub(crate) fn is_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("it ended with {status}; its own messages stand above"),
        }
    }

    /// CPU time of all threads since the start, in seconds, to a tick (10 ms): user and system
    /// time as `proc_pid_stat(5)` has them.
    pub(crate) fn cpu_s(&self) -> Result<f64> {
        let ticks_per_s = sysconf(SysconfVar::CLK_TCK)?.context("no CLK_TCK")?;
        let mut ticks = 0;
        for pid in self.family() {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
            ticks += ticks_of(&stat).with_context(|| format!("/proc/{pid}/stat: {stat}"))?;
        }
        Ok(as_f64(ticks) / as_f64(u64::try_from(ticks_per_s)?))
    }

    /// The same once it has nothing more to do: records may be written after the answers.
    pub(crate) fn settled_cpu_s(&self) -> Result<f64> {
        let mut last = (self.cpu_s()?, wait::now());
        let settled = wait::until("it comes to rest", Duration::from_secs(60), || {
            let now = match self.cpu_s() {
                Ok(now) => now,
                Err(error) => return Some(Err(error)),
            };
            if now > last.0 {
                last = (now, wait::now());
            }
            (last.1.elapsed() > Duration::from_millis(200)).then_some(Ok(now))
        });
        settled?
    }

    /// Resident memory now, in KiB.
    pub(crate) fn resident_kib(&self) -> Result<f64> {
        self.memory("VmRSS:")
    }

    /// The most that was resident since [`Process::forget_peak`], in KiB.
    pub(crate) fn peak_kib(&self) -> Result<f64> {
        self.memory("VmHWM:")
    }

    /// The peak begins anew, at what is resident now.
    pub(crate) fn forget_peak(&self) -> Result<()> {
        for pid in self.family() {
            std::fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
        }
        Ok(())
    }

    fn memory(&self, field: &str) -> Result<f64> {
        let mut kib = 0;
        for pid in self.family() {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
            kib += kib_of(&status, field).with_context(|| format!("{field} of {pid}"))?;
        }
        Ok(as_f64(kib))
    }

    fn family(&self) -> Vec<u32> {
        let pid = self.child.id();
        let path = format!("/proc/{pid}/task/{pid}/children");
        let children = std::fs::read_to_string(path).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|c| c.parse().ok());
        std::iter::once(pid).chain(children).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        for pid in self.family() {
            if let Ok(pid) = i32::try_from(pid) {
                // Gone already is as good as killed.
                let _killed: nix::Result<()> = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        let _reaped: std::io::Result<std::process::ExitStatus> = self.child.wait();
    }
}

/// Fields 14 and 15; the second, a name in parentheses, may hold anything.
fn ticks_of(stat: &str) -> Option<u64> {
    let (_name, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn kib_of(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Exact below 2^53, which no count here reaches.
#[expect(clippy::cast_precision_loss, reason = "see above")]
pub(crate) const fn as_f64(count: u64) -> f64 {
    count as f64
}
