//! The running daemon as operators see it: over the socket, on the admin port, by signals.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::enforcer::Enforcer;
use super::pipeline::Pipeline;
use super::reload;
use super::reserved::Reserved;
use crate::admin::http::Pages;
use crate::admin::operations::{self, Running, Site};
use crate::admin::protocol::{DaemonStatus, Done, ListenerStatus, Request, Response};
use crate::admin::socket::{Actor, Operator};
use crate::audit::writer::AuditLog;
use crate::settings::{Loaded, Settings};
use crate::telemetry::MetricsPage;
use crate::words::clock::{Monotonic, Now, Wall};

/// Everything that lives as long as the daemon.
pub(super) struct Daemon {
    pub(super) enforcer: Arc<Enforcer>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) reserved: Arc<Reserved>,
    pub(super) audit: Arc<AuditLog>,
    pub(super) metrics: MetricsPage,
    /// Bound addresses, in the order of the settings.
    pub(super) addresses: Vec<SocketAddr>,
    /// Of the admin port.
    pub(super) http: SocketAddr,
    pub(super) started: Monotonic,
    /// What holds until a restart, whatever was reloaded since: listeners, upstreams, paths.
    pub(super) started_with: Settings,
    /// As last reloaded.
    pub(super) loaded: ArcSwap<Loaded>,
}

impl Daemon {
    /// Where it listens.
    pub(super) fn bound(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// A reload by signal: its result goes to log and audit as a command's would.
    pub(super) fn reload_logged(&self) {
        let actor = Actor {
            uid: nix::unistd::getuid().as_raw(),
        };
        match self.perform(actor, Request::Reload) {
            Response::Done(Done { did, warnings }) => {
                for line in did {
                    tracing::info!("reload: {line}");
                }
                for line in warnings {
                    tracing::warn!("reload: {line}");
                }
            }
            Response::Failed(failed) => {
                tracing::error!(
                    "reload refused, the old configuration stays: {}",
                    failed.message
                );
            }
            _ => {}
        }
    }
}

impl Operator for Daemon {
    fn perform(&self, actor: Actor, request: Request) -> Response {
        let loaded = self.loaded.load_full();
        let site = Site {
            enforcer: &self.enforcer,
            loaded: &loaded,
            audit: Some(&self.audit),
            daemon: Some(self),
        };
        operations::perform(site, actor, &request, Wall::read())
    }
}

impl Running for Daemon {
    fn status(&self) -> DaemonStatus {
        let listeners = self.started_with.listener.iter().zip(&self.addresses);
        DaemonStatus {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            up_s: Monotonic::read().since(self.started).as_secs(),
            policy: self.pipeline.view().policy_hash.to_string(),
            listeners: listeners
                .map(|(listener, address)| ListenerStatus {
                    bind: address.to_string(),
                    upstream: listener.upstream.clone(),
                })
                .collect(),
            http: self.http.to_string(),
            n_principals: self.pipeline.n_principals() as u64,
            n_audit_lost: self.audit.lost(),
        }
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    fn reload(&self) -> Result<Done, String> {
        // Whatever becomes of the rest: the log may have been rotated.
        self.audit.reopen();
        let old = self.loaded.load_full();
        let fresh = reload::prepare(&old, Now::read().wall)?;
        let done = fresh.report(&old.settings, &self.started_with);
        fresh.swap(self);
        Ok(done)
    }

    fn mode_changed(&self) {
        let mode = self.enforcer.bound().effective(Wall::read());
        self.pipeline.set_mode(mode);
    }
}

impl Pages for Daemon {
    fn metrics(&self) -> String {
        self.metrics.render()
    }

    fn degraded(&self) -> Vec<String> {
        self.enforcer.degraded()
    }
}
