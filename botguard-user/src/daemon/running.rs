//! The running daemon as operators see it: over the socket, on the admin port, by signals.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use parking_lot::Mutex;

use super::certificates::ServerCertificates;
use super::commands::Commands;
use super::data_files::DataFiles;
use super::enforcer::Enforcer;
use super::memory::{Keeping, Memory, Patience};
use super::notify::ServiceManager;
use super::pipeline::Pipeline;
use super::privileges;
use super::relay::Relay;
use super::reload;
use super::reserved::Reserved;
use crate::admin::http::Pages;
use crate::admin::operations::{self, Running, Site};
use crate::admin::protocol::{DaemonStatus, Done, EndpointLine, ListenerStatus, Request, Response};
use crate::admin::socket::{Actor, Operator};
use crate::admin::token::Token;
use crate::audit::writer::AuditLog;
use crate::edge::connections::Connections;
use crate::edge::listener::{Inherited, Services};
use crate::edge::trust::Trust;
use crate::edge::upstream::{EndpointState, EndpointStatus};
use crate::engine::facts::Standing;
use crate::settings::{Loaded, Settings};
use crate::telemetry::MetricsPage;
use crate::words::block::Effect;
use crate::words::clock::{Monotonic, Now};
use crate::words::identity::KeyHash;
use crate::words::key::KeyMemo;
use crate::words::memo::PairMemo;
use crate::words::mode::Mode;

/// Everything that lives as long as the daemon.
pub(super) struct Daemon {
    pub(super) connections: Arc<Connections>,
    /// Listeners, for a reload.
    pub(super) services: Services,
    /// Whose word about client addresses is believed.
    pub(super) trust: Arc<ArcSwap<Trust>>,
    pub(super) enforcer: Arc<Enforcer>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) reserved: Arc<Reserved>,
    pub(super) audit: Arc<AuditLog>,
    pub(super) memory: Mutex<Memory>,
    /// Of the admin port.
    pub(super) token: Arc<ArcSwapOption<Token>>,
    pub(super) metrics: MetricsPage,
    /// Those that are being carried out.
    pub(super) commands: Commands,
    /// Who has started this process, if it wants to hear from it.
    pub(super) manager: ServiceManager,
    /// What listeners identify themselves by.
    pub(super) certificates: ServerCertificates,
    /// What is known of networks, and what is wrong with it.
    pub(super) data_files: Mutex<DataFiles>,
    /// Of the admin port.
    pub(super) http: SocketAddr,
    pub(super) started: Monotonic,
    /// What holds until a restart, whatever was reloaded since: listeners, upstreams, paths.
    pub(super) started_with: Settings,
    /// Held by the one reload that is going on.
    pub(super) reloading: Mutex<()>,
    /// As last reloaded.
    pub(super) loaded: ArcSwap<Loaded>,
}

impl Daemon {
    /// Where it listens.
    pub(super) fn bound(&self) -> Vec<SocketAddr> {
        self.services.addresses()
    }

    /// Gives up what the next daemon needs: audit log, kernel and store, in this order, since the
    /// store's lock says who may write the log. Blocks until everything queued is written.
    pub(super) fn give_up(&self) {
        let (state_dir, audit) = (&self.started_with.state_dir, &self.started_with.audit);
        let relay = Relay::new(state_dir.clone(), audit.path.clone());
        self.audit.hand_over(Box::new(relay));
        self.enforcer.release();
    }

    /// Closes the live connections of sources that are blocked now. They would only hang: their
    /// packets are dropped, and nobody tells either end.
    fn close_blocked(&self, networks: &[IpNet]) {
        let now = self.enforcer.now();
        if self.enforcer.bound().effective(now) != Mode::Enforce {
            return;
        }
        for network in networks {
            let closed = self.connections.close_unless(network, |peer| {
                !matches!(self.enforcer.standing(peer, now), Standing::Blocked { .. })
            });
            if closed.count() > 0 {
                tracing::info!(%network, n_connections = closed.count(), "blocked, connections closed");
            }
        }
    }

    /// Tells daemons before this one, which may still serve connections of `networks`.
    fn announce_blocked(&self, networks: &[IpNet]) {
        if self.enforcer.bound().effective(self.enforcer.now()) == Mode::Enforce {
            for network in networks {
                self.connections.announce(*network);
            }
        }
    }

    /// Closes connections as the daemon that runs now does; who was allowed before it stays.
    pub(super) fn close_announced(&self, network: &IpNet) {
        let now = self.enforcer.now();
        let closed = self.connections.close_unless(network, |peer| {
            matches!(self.enforcer.standing(peer, now), Standing::Allowed)
        });
        tracing::debug!(%network, n_connections = closed.count(), "blocked by the next daemon");
    }

    /// Puts into the store what the engine has to remember.
    ///
    /// Errors: as [`Memory::keep`].
    pub(super) fn keep_memory(&self, patience: Patience) -> Result<(), String> {
        let keeping = Keeping {
            pipeline: &self.pipeline,
            enforcer: &self.enforcer,
            audit: &self.audit,
        };
        let mut memory = self.memory.lock();
        memory.keep(keeping, patience, Now::read())
    }

    /// [`Self::close_blocked`] where thousands of networks were blocked at once.
    pub(super) fn close_all_blocked(&self) {
        self.close_blocked(&everybody());
    }

    /// A reload by signal: its result goes to log and audit as a command's would.
    pub(super) fn reload_logged(&self) {
        let actor = Actor::Uid(nix::unistd::getuid().as_raw());
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

/// Of an upstream without an endpoint that is up: what to say of it.
fn all_down((name, endpoints): (String, Vec<EndpointStatus>)) -> Option<String> {
    let is_up = |endpoint: &EndpointStatus| endpoint.state == EndpointState::Up;
    (!endpoints.is_empty() && !endpoints.iter().any(is_up))
        .then(|| format!("no endpoint of [upstream.{name}] is up; all are tried nevertheless"))
}

fn endpoint_line(status: EndpointStatus) -> EndpointLine {
    EndpointLine {
        endpoint: status.endpoint,
        address: status.address,
        state: match status.state {
            EndpointState::Up => "up",
            EndpointState::Down => "down",
            EndpointState::Ejected => "ejected",
        }
        .to_owned(),
        requests: status.requests,
    }
}

fn everybody() -> [IpNet; 2] {
    [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())]
}

impl Operator for Daemon {
    fn perform(&self, actor: Actor, request: Request) -> Response {
        let Some(_running) = self.commands.begin() else {
            return Response::internal("the next daemon is taking over; try again in a moment");
        };
        let loaded = self.loaded.load_full();
        let site = Site {
            enforcer: &self.enforcer,
            loaded: &loaded,
            audit: Some(&self.audit),
            daemon: Some(self),
        };
        let response = (self.enforcer).timed(|now| operations::perform(site, actor, &request, now));
        match (&request, &response) {
            (
                Request::BlockAdd {
                    networks,
                    asns,
                    effect,
                    ..
                },
                Response::Done(_),
            ) => {
                match asns.is_empty() {
                    true => self.close_blocked(networks),
                    false => self.close_all_blocked(),
                }
                if *effect == Effect::Drop {
                    self.announce_blocked(networks);
                }
            }
            // There may be more networks in a list or system than connections to look at.
            (Request::ListImport { .. }, Response::Done(_)) => self.close_all_blocked(),
            _ => {}
        }
        response
    }
}

impl Running for Daemon {
    fn status(&self) -> DaemonStatus {
        let listeners = self.services.upstreams().into_iter();
        let view = self.pipeline.view();
        let data_files = view.intel.files().into_iter().chain(view.tokens.files());
        DaemonStatus {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            up_s: Monotonic::read().since(self.started).as_secs(),
            policy: view.policy_hash.to_string(),
            listeners: listeners
                .map(|(address, upstream, endpoints)| ListenerStatus {
                    bind: address.to_string(),
                    upstream,
                    endpoints: endpoints.into_iter().map(endpoint_line).collect(),
                })
                .collect(),
            http: self.http.to_string(),
            n_principals: self.pipeline.n_principals() as u64,
            n_audit_lost: self.audit.lost(),
            data_files: data_files.map(Into::into).collect(),
        }
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.bound()
    }

    fn reload(&self) -> Result<Done, String> {
        // By signal and by command at once: one after the other, each as a whole.
        let _alone = self.reloading.lock();
        // Whatever becomes of the rest: the log may have been rotated.
        self.audit.reopen();
        let old = self.loaded.load_full();
        let fresh = reload::prepare(&old, self.enforcer.now())
            .map_err(|error| privileges::with_mend(error, old.settings.user.as_deref()))?;
        // Where it is changes only with a restart; what it is may have leaked.
        let token = Token::configured(self.started_with.admin.token_file.as_deref())
            .map_err(|error| error.to_string())?;
        self.token.store(token.map(Arc::new));
        // The last thing that can fail.
        let bound = (self.services).bind_missing(fresh.listeners(), &mut Inherited::default());
        let bound = bound.map_err(|error| error.to_string())?;
        let mut done = fresh.report(&old.settings, &self.started_with);
        // A file that changed again meanwhile is seen at the next look.
        self.data_files.lock().accept(fresh.stamps().clone());
        done.did.extend(fresh.swap(self, bound));
        Ok(done)
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = self.audit.problems();
        problems.extend(self.data_files.lock().problems());
        let upstreams = self.services.upstreams().into_iter();
        let mut upstreams: Vec<_> = upstreams
            .map(|(_address, name, endpoints)| (name, endpoints))
            .collect();
        // Several listeners may have the same.
        upstreams.dedup();
        problems.extend(upstreams.into_iter().filter_map(all_down));
        problems.extend(self.certificates.problem());
        problems
    }

    fn mode_changed(&self) {
        let mode = self.enforcer.bound().effective(self.enforcer.now());
        self.pipeline.set_mode(mode);
    }

    fn held_pairs(&self) -> Vec<PairMemo> {
        self.pipeline.held_pairs(self.enforcer.present())
    }

    fn release_pairs(&self, networks: &[IpNet]) -> Result<usize, String> {
        let n_released = (self.pipeline).release_pairs(self.enforcer.present(), networks);
        if n_released > 0 {
            self.keep_memory(Patience::Last)?;
        }
        Ok(n_released)
    }

    fn keys(&self) -> Vec<KeyMemo> {
        self.pipeline.keys(self.enforcer.present())
    }

    fn forgive(&self, key: KeyHash, reason: &str) -> Result<(), String> {
        self.pipeline.forgive(self.enforcer.present(), key, reason);
        self.keep_memory(Patience::Last)
    }
}

impl Pages for Daemon {
    fn metrics(&self) -> String {
        self.metrics.render()
    }

    fn degraded(&self) -> Vec<String> {
        let mut degraded = self.enforcer.degraded();
        degraded.extend(self.problems());
        degraded
    }
}
