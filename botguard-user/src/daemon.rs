//! The composition root: builds everything, wires it, and owns the order of start and end.
//!
//! ```text
//! settings ─► lock, store ─► audit ─► intel ─► kernel (attach, fill) ─► bind ─► serve ─► drain
//! ```
//!
//! The kernel is filled before anything is bound, so that no blocked source gets in first. What is
//! pinned stays when the daemon ends. [`pipeline`] is the way of a request, [`enforcer`] that of a
//! block.

pub mod enforcer;
pub mod pipeline;

mod certificates;
mod check;
mod closings;
mod commands;
mod crawler_lookups;
mod data_files;
mod handover;
mod memory;
mod notify;
mod privileges;
mod relay;
mod reload;
mod reserved;
mod running;
mod signals;
mod start;
mod surroundings;
mod timers;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::prctl::{set_dumpable, set_thp_disable};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::UnixListener;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::edge::listener::{Drain, Inherited};
use crate::settings::{Loaded, SettingsError};
use crate::words::clock::Now;

use self::handover::{Offer, Successor};
use self::notify::Message;
use self::privileges::Reduced;
use self::relay::Inbox;
use self::signals::Signals;
use self::start::Started;

pub use check::{CheckReport, check};
pub use handover::HandoverError;
pub use privileges::{GiveError, OwnerError, PortError, PrivilegesError, as_owner};
pub use surroundings::{Lookup, boot_id, guard, local_listeners};

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A mistake in the configuration.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A data file of `[intel]`, `[[crawler]]` or `[identity.jwt]` cannot be used; names it and what
    /// is wrong.
    #[error("{0}")]
    Data(String),
    /// The store cannot be used, or another process holds it.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The secrets cannot be used.
    #[error(transparent)]
    Secrets(#[from] crate::store::secrets::SecretsError),
    /// The audit log cannot be opened.
    #[error(transparent)]
    Audit(#[from] crate::audit::writer::AuditError),
    /// The kernel filter is required and cannot be attached.
    #[error("{0}; `[kernel] required = true` forbids to start without it")]
    Kernel(#[from] crate::enforcement::kernel::KernelError),
    /// It cannot become its user.
    #[error(transparent)]
    Privileges(#[from] PrivilegesError),
    /// The running daemon does not hand over.
    #[error(transparent)]
    Handover(#[from] HandoverError),
    /// A listener cannot be bound.
    #[error(transparent)]
    Bind(#[from] crate::edge::listener::BindError),
    /// The admin socket cannot be made.
    #[error(transparent)]
    Socket(#[from] admin::socket::SocketError),
    /// The admin port cannot be bound.
    #[error(transparent)]
    Http(#[from] admin::http::HttpError),
    /// The token of the admin port cannot be used.
    #[error(transparent)]
    Token(#[from] admin::token::TokenError),
    /// Metrics cannot be set up.
    #[error(transparent)]
    Metrics(#[from] crate::telemetry::MetricsError),
    /// The host gives no threads, signals or sockets.
    #[error("cannot start: {0}")]
    Host(#[from] std::io::Error),
}

impl StartError {
    /// Whether the configuration is to blame: exit status 64.
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::Settings(_) | Self::Data(_) | Self::Token(_))
    }

    /// With the mend where it is about a file that `user` cannot read.
    fn mended(self, user: Option<&str>) -> Self {
        match self {
            Self::Settings(error) => Self::Settings(SettingsError {
                message: privileges::with_mend(error.message, user),
                ..error
            }),
            Self::Data(message) => Self::Data(privileges::with_mend(message, user)),
            other => other,
        }
    }
}

/// What becomes of a daemon that runs already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Succession {
    /// There must be none.
    First,
    /// It hands over its listening sockets, and ends with its connections; there may be none.
    TakeOver,
}

/// Runs until SIGTERM or SIGINT, or until the next daemon takes over; then lets running requests
/// end.
pub fn run(loaded: Loaded, succession: Succession) -> Result<(), StartError> {
    forgo_huge_pages();
    // While there is one thread.
    let inherited = Inherited::of_service_manager();
    let reduced = privileges::reduce(&loaded, succession, &inherited)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let user = loaded.settings.user.clone();
    let served = runtime.block_on(serve(loaded, succession, inherited, reduced));
    served.map_err(|error| error.mended(user.as_deref()))
}

async fn serve(
    loaded: Loaded,
    succession: Succession,
    inherited: Inherited,
    reduced: Reduced,
) -> Result<(), StartError> {
    // Before anything else, so that an early signal is not the default's end.
    let signals = Signals::catch()?;
    forbid_core_dumps()?;
    raise_descriptor_limit();
    let Started {
        daemon,
        edge,
        listeners,
        socket,
        http,
        questions,
        handover,
    } = start::start(loaded, succession, inherited, reduced).await?;

    let shutdown = CancellationToken::new();
    let cut_short = CancellationToken::new();
    let inbox = Inbox::new(Arc::clone(&daemon.audit), Arc::clone(&daemon.connections));
    let services = daemon.services.clone();
    let offer = Offer {
        handles: Arc::new(move || services.handles()),
        commands: daemon.commands.clone(),
        inbox: inbox.clone(),
    };
    let offer = tokio::spawn(offer_handover(handover, offer, shutdown.clone()));
    let admin_shutdown = CancellationToken::new();
    let operator: Arc<dyn admin::socket::Operator> = Arc::clone(&daemon) as _;
    let pages: Arc<dyn admin::http::Pages> = Arc::clone(&daemon) as _;
    let door = admin::http::Door {
        token: Arc::clone(&daemon.token),
        operator: Arc::clone(&operator),
    };
    let background = [
        tokio::spawn(admin::socket::serve(
            socket,
            operator,
            admin_shutdown.clone(),
        )),
        tokio::spawn(admin::http::serve(
            http,
            pages,
            door,
            admin_shutdown.clone(),
        )),
        tokio::spawn(timers::run(Arc::clone(&daemon), admin_shutdown.clone())),
        tokio::spawn(data_files::follow(
            Arc::clone(&daemon),
            admin_shutdown.clone(),
        )),
        tokio::spawn(crawler_lookups::serve(
            daemon.started_with.crawler_dns.clone(),
            Arc::clone(&daemon.pipeline.view().lookups),
            questions,
            admin_shutdown.clone(),
        )),
        tokio::spawn(signals.obey(Arc::clone(&daemon), shutdown.clone(), cut_short.clone())),
        tokio::spawn({
            let (daemon, shutdown) = (Arc::clone(&daemon), admin_shutdown.clone());
            async move { daemon.manager.reassure(&shutdown).await }
        }),
    ];
    tracing::info!(addresses = ?daemon.bound(), "ready");
    daemon.manager.tell(Message::Ready);
    let drain = Drain {
        longest: daemon.started_with.drain.0,
        cut_short,
    };
    let mut serving = tokio::spawn(listeners.serve(edge, shutdown, drain));
    // Ends with every shutdown. One that panicked has been printed, and handed nothing over.
    let successor = offer.await.ok().flatten();
    if successor.is_none() {
        daemon.manager.tell(Message::Stopping);
        log_end((&mut serving).await);
    }

    // The admin side goes last: an operator can watch the drain.
    admin_shutdown.cancel();
    for task in background {
        if let Err(error) = task.await {
            tracing::error!(%error, "background task");
        }
    }
    inbox.close().await;
    let giving = Arc::clone(&daemon);
    if let Err(error) = tokio::task::spawn_blocking(move || giving.give_up()).await {
        tracing::error!(%error, "store and audit log");
    }
    if let Some(successor) = successor {
        // All is given up: the next daemon goes on with its start.
        drop(successor);
        serve_to_end(&daemon, serving).await;
    }
    // The last reference: records that are on their way to the next daemon get there.
    drop(daemon);
    tracing::info!("stopped; the kernel filter stays");
    Ok(())
}

/// Ends, and `shutdown` with it, when the next daemon has taken the sockets.
async fn offer_handover(
    door: UnixListener,
    offer: Offer,
    shutdown: CancellationToken,
) -> Option<Successor> {
    let successor = handover::serve(door, offer, shutdown.clone()).await;
    if successor.is_some() {
        tracing::info!("another daemon has taken over the listening sockets");
    }
    shutdown.cancel();
    successor
}

/// The connections that are left have their time, `drain`, though the next daemon runs. The service
/// manager hears from that one.
async fn serve_to_end(daemon: &running::Daemon, mut serving: JoinHandle<()>) {
    let n_connections = daemon.connections.count();
    tracing::info!(n_connections, "given up; what is open is served to its end");
    let mut second = interval(Duration::from_secs(1));
    let state_dir = &daemon.started_with.state_dir;
    let mut closing = pin!(closings::obey(state_dir, |network| {
        daemon.close_announced(&network);
    }));
    loop {
        // All are cancellation-safe.
        tokio::select! {
            () = &mut closing => {}
            ended = &mut serving => return log_end(ended),
            _ = second.tick() => {
                daemon.pipeline.record_lasting(Now::read());
                daemon.metrics.upkeep();
            }
        }
    }
}

fn log_end(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "listeners");
    }
}

/// Memory holds keys, cookies and tokens of requests in flight: no core of it is ever written,
/// neither to a file nor to a collector that `core_pattern` names, and only root may attach a
/// debugger (prctl(2), PR_SET_DUMPABLE). The limit says so to whoever looks.
fn forbid_core_dumps() -> std::io::Result<()> {
    set_dumpable(false)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    Ok(())
}

/// Raises the soft limit of open files to the hard one: a shell's 1,024 are 500 proxied connections,
/// which two sources could hold.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_soft, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// The allocator asks for transparent huge pages, in which all of a connection's buffers are
/// resident, also the halves that were never written: a quarter of what an idle connection takes.
/// Without them a decision among a million principals takes up to a quarter longer, which is
/// the smaller harm.
fn forgo_huge_pages() {
    if let Err(error) = set_thp_disable(true) {
        tracing::debug!(%error, "huge pages stay as they are");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_core_is_written() {
        forbid_core_dumps().unwrap();
        assert!(!nix::sys::prctl::get_dumpable().unwrap());
        assert_eq!(getrlimit(Resource::RLIMIT_CORE).unwrap(), (0, 0));
    }

    #[test]
    fn no_page_is_huge() {
        forgo_huge_pages();
        assert!(nix::sys::prctl::get_thp_disable().unwrap());
    }
}
