//! Where a run happens: a network namespace whose loopback carries everything, a directory, one
//! certificate for all proxies, and the upstream, an nginx that serves two files.
//!
//! Proxies have core 0; the upstream and whoever makes load have core 1.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use botguard_tests::certificate::Certificate;
use botguard_tests::namespace::{self, Namespace, PREFIX};
use botguard_tests::{lab, wait};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::process::Process;

/// The core of what is measured.
pub(crate) const PROXY_CORE: usize = 0;
/// The core of everything else.
pub(crate) const LOAD_CORE: usize = 1;
/// Port of the upstream that serves files.
pub(crate) const FILES_PORT: u16 = 3000;

/// Gone on drop, with the upstream.
#[derive(Debug)]
pub(crate) struct Stage {
    // First, so that it has ended before its namespace goes.
    _files: Process,
    /// What all proxies show.
    pub(crate) certificate: Certificate,
    namespace: Namespace,
    directory: TempDir,
}

impl Stage {
    /// Sets everything up and waits until the upstream answers.
    pub(crate) fn set_up() -> Result<Self> {
        namespace::remove_orphans();
        lab::remove_orphans();
        // Thousands of connections, here and, since children inherit it, in every proxy.
        let (_soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        let namespace = Namespace::create("bench-edge")?;
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let directory = tempfile::Builder::new().prefix(&prefix).tempdir()?;
        open_to_all(directory.path())?;
        let certificate = Certificate::create(directory.path())?;
        let files = directory.path().join("files");
        std::fs::create_dir(&files)?;
        open_to_all(&files)?;
        std::fs::write(files.join("1k"), text(1 << 10))?;
        std::fs::write(files.join("100k"), text(100 << 10))?;
        let config = directory.path().join("upstream.conf");
        std::fs::write(&config, upstream(directory.path()))?;
        let mut command = pinned(&namespace, LOAD_CORE, "nginx");
        let mut process = Process::start(command.arg("-c").arg(&config))?;
        wait_for(&namespace, &mut process, FILES_PORT).context("upstream")?;
        Ok(Self {
            _files: process,
            certificate,
            namespace,
            directory,
        })
    }

    /// For files; anybody may read there.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Makes a directory in it.
    pub(crate) fn subdirectory(&self, name: &str) -> Result<PathBuf> {
        let path = self.directory().join(name);
        std::fs::create_dir_all(&path)?;
        open_to_all(&path)?;
        Ok(path)
    }

    /// A command that will run inside, on one core.
    pub(crate) fn command(&self, core: usize, program: impl AsRef<std::ffi::OsStr>) -> Command {
        pinned(&self.namespace, core, program)
    }

    /// Waits until something accepts connections on `port`.
    pub(crate) fn wait_for(&self, process: &mut Process, port: u16) -> Result<()> {
        wait_for(&self.namespace, process, port)
    }

    /// Runs `work` inside, on the core of the load.
    pub(crate) fn spawn<T, F, W>(&self, work: W) -> JoinHandle<Result<T>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>>,
        W: FnOnce() -> F + Send + 'static,
    {
        self.namespace.spawn(move || async move {
            let mut cores = CpuSet::new();
            cores.set(LOAD_CORE)?;
            // Of this thread alone.
            sched_setaffinity(Pid::from_raw(0), &cores).context("pinning the load")?;
            work().await
        })
    }

    /// The same, to its end.
    pub(crate) fn run<T, F, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>>,
        W: FnOnce() -> F + Send + 'static,
    {
        let thread = self.spawn(work);
        (thread.join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn pinned(namespace: &Namespace, core: usize, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = namespace.command("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]);
    command.args(["taskset", "--cpu-list", &core.to_string()]);
    command.arg(program);
    // Debian keeps servers where only root's PATH looks.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

fn wait_for(namespace: &Namespace, process: &mut Process, port: u16) -> Result<()> {
    wait::until("it serves", Duration::from_secs(30), || {
        if let Err(error) = process.is_alive() {
            return Some(Err(error));
        }
        let connected = namespace.inside(|| Ok(std::net::TcpStream::connect(("127.0.0.1", port))?));
        connected.is_ok().then_some(Ok(()))
    })?
}

/// Workers of nginx and HAProxy give up root and read here all the same.
fn open_to_all(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Readable, so that an inspection of responses has something to read.
fn text(n_bytes: usize) -> String {
    let line = "Thirty spokes share one hub; its use is where it is empty.\n";
    line.chars().cycle().take(n_bytes).collect()
}

fn upstream(directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "daemon off;\nworker_processes 1;\npid {directory}/upstream.pid;\n\
         error_log stderr crit;\n\
         events {{ worker_connections 8192; }}\n\
         http {{\n\
           access_log off;\n\
           sendfile on;\n\
           keepalive_requests 100000000;\n\
           open_file_cache max=100;\n\
           types {{ text/plain txt; }}\n\
           default_type text/plain;\n\
           server {{ listen 127.0.0.1:{FILES_PORT} backlog=4096; root {directory}/files; }}\n\
         }}\n"
    )
}
