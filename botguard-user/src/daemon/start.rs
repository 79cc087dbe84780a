//! The start, in its order.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;

use super::certificates::{self, ServerCertificates};
use super::commands::Commands;
use super::data_files::{self, Data, DataFiles};
use super::enforcer::{AsnSource, Enforcer, Fill, KernelSide, Start};
use super::handover;
use super::memory::Memory;
use super::notify::ServiceManager;
use super::pipeline::{Pipeline, View};
use super::privileges::Reduced;
use super::reserved::{self, Reserved};
use super::running::Daemon;
use super::surroundings::{Lookup, boot_id, guard, local_listeners};
use super::{StartError, Succession};
use crate::admin;
use crate::admin::token::Token;
use crate::audit::writer::AuditLog;
use crate::edge::Edge;
use crate::edge::connections::Connections;
use crate::edge::identity::KeyHasher;
use crate::edge::listener::{Inherited, Listeners};
use crate::edge::trust::Trust;
use crate::intel::crawlers::{Lookups, NameLookup};
use crate::settings::{Loaded, policy_hash};
use crate::store::Store;
use crate::store::journal::Journal;
use crate::store::secrets::Secrets;
use crate::telemetry::MetricsPage;
use crate::words::clock::Now;

/// Everything that serves, bound and not yet serving.
pub(super) struct Started {
    pub(super) daemon: Arc<Daemon>,
    pub(super) edge: Edge,
    pub(super) listeners: Listeners,
    pub(super) socket: UnixListener,
    pub(super) http: TcpListener,
    /// Addresses of crawlers to be looked up.
    pub(super) questions: mpsc::Receiver<NameLookup>,
    /// Where the next daemon asks.
    pub(super) handover: UnixListener,
}

/// How long the start waits for a command that has the store at this moment.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn start(
    loaded: Loaded,
    succession: Succession,
    mut inherited: Inherited,
    reduced: Reduced,
) -> Result<Started, StartError> {
    let now = Now::read();
    let settings = &loaded.settings;
    // What can be wrong with the configuration is found before anything is touched.
    let policy = loaded.policy()?;
    let certificate_stamps = certificates::stamps(&settings.listener);
    let prepared = loaded.listeners()?;
    let certificates = ServerCertificates::new(&prepared, certificate_stamps);
    let token = Token::configured(settings.admin.token_file.as_deref())?;
    let metrics = MetricsPage::install()?;
    let Data {
        intel,
        tokens,
        stamps,
    } = data_files::load(settings).map_err(StartError::Data)?;

    // The last thing before the first that a running daemon has to give up.
    if succession == Succession::TakeOver
        && let Some(sockets) = take_over(&settings.state_dir).await?
    {
        inherited.extend(sockets);
    }
    let (store, contents) = Store::open(&settings.state_dir, PATIENCE, now.wall)?;
    let secrets = Secrets::load_or_create(&settings.state_dir)?;
    for warning in loaded.warnings() {
        tracing::warn!("{warning}");
    }
    let audit = Arc::new(AuditLog::start(&settings.audit, now.wall)?);

    let mut kernel = KernelSide::attach(reduced.authority, &settings.kernel)?;
    let binds: Vec<_> = settings
        .listener
        .iter()
        .map(|listener| listener.bind)
        .collect();
    // Before the tables are filled: what they drop is for the listeners.
    kernel.set_listeners(&local_listeners(&binds));
    // Anew, since reading tables and attaching takes a while.
    let now = Now::read_closely();
    let enforcer = Arc::new(Enforcer::new(
        Start {
            contents,
            store_is_blank: store.is_blank(),
            store_problem: store.problem(),
            journal: Journal::start(Arc::new(store))?,
            guard: guard(settings, Lookup::Names),
            mode: settings.mode,
            default_scope: settings.kernel.scope,
            fill: Fill::Now,
            asns: AsnSource::of(intel.asns()),
            boot_id: boot_id(),
            clock: now,
        },
        kernel,
        now.wall,
    ));

    let socket = admin::socket::bind(&settings.admin.socket)?;
    let http = admin::http::bind(settings.admin.http).await?;
    inherited.extend(reduced.ports.listen()?);
    let listeners = Listeners::bind_or_take(prepared, &mut inherited)?;
    // Now that a port 0 has a number.
    let addresses = listeners.addresses();
    let handles = listeners.handles()?;
    let manager = ServiceManager::of_environment();
    for address in inherited.addresses() {
        tracing::warn!(%address, "a listening socket was inherited that no [[listener]] has; closed");
        manager.forget(address);
    }
    drop(inherited);
    for (address, handle) in addresses.iter().zip(&handles) {
        manager.keep(*address, handle);
    }
    drop(handles);
    let handover = handover::bind(&settings.state_dir)?;
    enforcer.set_listeners(&local_listeners(&addresses));

    let (lookups, questions) = Lookups::new();
    let view = View {
        policy: policy.with_mode(enforcer.bound().effective(now.wall)),
        policy_hash: policy_hash(&loaded.document),
        intel,
        identity: settings.identity.clone(),
        tokens,
        lookups: Arc::new(lookups),
        challenge: Arc::new(reserved::challenge(settings, &secrets)?),
    };
    let pipeline = Arc::new(Pipeline::new(
        view,
        Arc::clone(&enforcer),
        Arc::clone(&audit),
        KeyHasher::new(&secrets.key_hash),
        now.wall,
    ));
    let memos = enforcer.take_memos();
    let memory = Mutex::new(Memory::of(&memos, now.monotonic));
    // Nothing is served yet, so no request comes before it.
    pipeline.recall(enforcer.present(), &memos);
    let reserved = Arc::new(Reserved::new(Arc::clone(&pipeline), settings)?);
    let connections = Arc::new(Connections::default());
    let trust = Arc::new(ArcSwap::from_pointee(Trust::new(&settings.trust)));
    let edge = Edge {
        gate: Arc::clone(&pipeline) as _,
        reserved: Arc::clone(&reserved) as _,
        trust: Arc::clone(&trust),
        connections: Arc::clone(&connections),
    };
    let daemon = Arc::new(Daemon {
        connections,
        services: listeners.services(),
        trust,
        enforcer,
        pipeline,
        reserved,
        audit,
        memory,
        token: Arc::new(ArcSwapOption::from(token.map(Arc::new))),
        metrics,
        manager,
        commands: Commands::default(),
        certificates,
        data_files: Mutex::new(DataFiles::new(stamps)),
        http: http.local_addr()?,
        started: now.monotonic,
        started_with: loaded.settings.clone(),
        reloading: Mutex::default(),
        loaded: ArcSwap::from_pointee(loaded),
    });
    Ok(Started {
        daemon,
        edge,
        listeners,
        socket,
        http,
        questions,
        handover,
    })
}

/// The sockets of the running daemon, once it has given up everything else; `None` if there is none.
async fn take_over(state_dir: &Path) -> Result<Option<Inherited>, StartError> {
    let Some((predecessor, sockets)) = handover::take_over(state_dir)? else {
        tracing::info!("no daemon runs that could be taken over from");
        return Ok(None);
    };
    let ended = tokio::task::spawn_blocking(move || predecessor.ended());
    ended.await.map_err(std::io::Error::other)??;
    Ok(Some(Inherited::new(sockets)))
}
