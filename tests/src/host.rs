//! An edge host ready to run botguard: a lab with a certificate, a configuration, an ASN table, and
//! the sample application on its loopback.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use tokio::sync::watch;

use crate::certificate::Certificate;
use crate::config::{Config, PORT};
use crate::daemon::Botguard;
use crate::lab::{EDGE_V4, EDGE_V6, Lab};
use crate::sample_api::SampleApi;

/// An edge host. On drop the application ends and the lab goes.
#[derive(Debug)]
pub struct Host {
    /// Namespaces, veth, bpffs, directory.
    pub lab: Lab,
    /// Binary and configuration file.
    pub botguard: Botguard,
    /// What the edge shows and clients trust.
    pub certificate: Certificate,
    end: watch::Sender<bool>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Host {
    /// Sets up a lab called `name` and writes the configuration. Nothing runs yet.
    pub fn set_up(name: &str, config: &Config) -> Result<Self> {
        let lab = Lab::create(name)?;
        let certificate = Certificate::create(lab.directory())?;
        std::fs::write(lab.directory().join("asn.csv"), ASN_EXTRACT)?;
        let config_file = lab.directory().join("botguard.toml");
        let botguard = Botguard::new(Botguard::built_binary()?, config_file);
        let (end, _) = watch::channel(false);
        let host = Self {
            lab,
            botguard,
            certificate,
            end,
            threads: Vec::new(),
        };
        host.configure(config)?;
        Ok(host)
    }

    /// Writes the configuration file anew.
    pub fn configure(&self, config: &Config) -> Result<()> {
        let text = config.to_toml(self.lab.directory(), &self.lab.pin_dir(), &self.certificate);
        std::fs::write(self.botguard.config(), text).context("configuration")
    }

    /// Starts the application that the configuration names as upstream.
    pub fn serve(&mut self, api: Arc<SampleApi>) {
        self.serve_with(|| api.serve(UPSTREAM));
    }

    /// The same with another application, which serves on [`UPSTREAM`].
    pub fn serve_with<F, W>(&mut self, application: W)
    where
        F: Future<Output = Result<()>>,
        W: FnOnce() -> F + Send + 'static,
    {
        let mut end = self.end.subscribe();
        self.threads.push(self.lab.edge.spawn(move || async move {
            tokio::select! {
                served = application() => served,
                // An error means that the host is gone, which is the end too.
                _ = end.wait_for(|&over| over) => Ok(()),
            }
        }));
    }

    /// Runs `work` in the world until it ends; its answer.
    pub fn in_world<T, F, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>>,
        W: FnOnce() -> F + Send + 'static,
    {
        join(self.lab.world.spawn(work))
    }

    /// Runs `work` in the world, beside everything else; it is told when the host ends.
    pub fn beside<F, W>(&mut self, work: W)
    where
        F: Future<Output = Result<()>>,
        W: FnOnce(watch::Receiver<bool>) -> F + Send + 'static,
    {
        let end = self.end.subscribe();
        self.threads.push(self.lab.world.spawn(move || work(end)));
    }

    /// Where the edge listens, for sources of the same family as `source`.
    pub fn server(source: IpAddr) -> Result<SocketAddr> {
        let address = if source.is_ipv4() { EDGE_V4 } else { EDGE_V6 };
        Ok(SocketAddr::new(address.parse()?, PORT))
    }

    /// Where the audit log grows.
    #[must_use]
    pub fn audit_path(&self) -> PathBuf {
        self.lab.directory().join("audit.jsonl")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.end.send_replace(true);
        for thread in self.threads.drain(..) {
            // Clients count their own failures; there is nobody left to tell.
            let _ended: Result<()> = join(thread);
        }
    }
}

/// Waits for a thread; a panic in it goes on here.
fn join<T>(thread: JoinHandle<Result<T>>) -> Result<T> {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Where the configuration says that the application listens.
pub const UPSTREAM: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3000);

/// The table that the repository ships; `tests/data/README.md` has its attribution.
const ASN_EXTRACT: &str = include_str!("../data/asn-extract.csv");
