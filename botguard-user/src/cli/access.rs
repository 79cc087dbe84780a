//! How a command reaches what it works on: the daemon by its socket, or, where none runs, the
//! store and the pinned maps themselves, under the same lock.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::admin::client::{Client, ClientError};
use crate::admin::operations::{self, Site};
use crate::admin::protocol::{Done, Request, Response};
use crate::admin::socket::Actor;
use crate::audit::writer::AuditLog;
use crate::daemon::enforcer::{AsnSource, Enforcer, Fill, KernelSide, Start};
use crate::daemon::{self, Lookup, guard};
use crate::enforcement::kernel::KernelFilter;
use crate::intel::AsnTable;
use crate::settings::Loaded;
use crate::store::journal::Journal;
use crate::store::lock::LockError;
use crate::store::{Store, StoreError};
use crate::words::clock::Now;

/// A way to have requests carried out.
pub(super) enum Access {
    /// By the daemon.
    Daemon(Client),
    /// Here.
    Local(Box<Local>),
}

pub(super) struct Local {
    loaded: Loaded,
    enforcer: Enforcer,
    audit: Option<AuditLog>,
}

/// Three seconds in all, after each tenth of which the socket is tried again.
const TRIES: u32 = 30;
const PATIENCE: Duration = Duration::from_millis(100);

/// Neither the daemon nor the store can be reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccessError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Owner(#[from] daemon::OwnerError),
    #[error("cannot write the store: {0}")]
    Journal(std::io::Error),
}

impl Access {
    /// Asks for the daemon first: while it runs it holds the store.
    pub(super) fn open(loaded: Loaded, request: &Request) -> Result<Self, AccessError> {
        let socket = loaded.settings.admin.socket.clone();
        let mut tries_left = TRIES;
        loop {
            if let Some(client) = Client::connect(&socket)? {
                return Ok(Self::Daemon(client));
            }
            match Local::open(&loaded, request) {
                Ok(local) => return Ok(Self::Local(Box::new(local))),
                // Another command has the store, or a daemon that has no socket yet.
                Err(AccessError::Store(StoreError::Lock(LockError::Held { .. })))
                    if tries_left > 0 =>
                {
                    tries_left -= 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn perform(self, request: &Request) -> Result<Response, AccessError> {
        match self {
            Self::Daemon(mut client) => Ok(client.perform(request)?),
            Self::Local(local) => Ok(local.perform(request)),
        }
    }
}

impl Local {
    fn open(loaded: &Loaded, request: &Request) -> Result<Self, AccessError> {
        let clock = Now::read_closely();
        let now = clock.wall;
        let settings = &loaded.settings;
        let open = || Store::open(&settings.state_dir, PATIENCE, now);
        let (store, contents) = daemon::as_owner(loaded, open)??;
        let names_asns = matches!(request, Request::BlockAdd { asns, .. } if !asns.is_empty());
        let has_asns = !contents.asns.is_empty();
        let start = Start {
            asns: if has_asns || names_asns {
                asn_source(settings.intel.asn.as_deref(), has_asns)
            } else {
                AsnSource::Unset
            },
            boot_id: daemon::boot_id(),
            clock,
            contents,
            store_is_blank: store.is_blank(),
            store_problem: store.problem(),
            journal: Journal::start(Arc::new(store)).map_err(AccessError::Journal)?,
            // No command but one that blocks by the thousand has to wait for a resolver that may be
            // out of reach.
            guard: guard(settings, Lookup::None),
            mode: settings.mode,
            default_scope: settings.kernel.scope,
            fill: Fill::AtChange,
        };
        let enforcer = Enforcer::new(start, KernelSide::open(&settings.kernel), now);
        let audit = daemon::as_owner(loaded, || AuditLog::open(&settings.audit.path))?
            .inspect_err(|error| tracing::warn!(%error, "the change will not be recorded"))
            .ok();
        Ok(Self {
            loaded: loaded.clone(),
            enforcer,
            audit,
        })
    }

    fn perform(&self, request: &Request) -> Response {
        let actor = Actor::Uid(nix::unistd::getuid().as_raw());
        let site = Site {
            enforcer: &self.enforcer,
            loaded: &self.loaded,
            audit: self.audit.as_ref(),
            daemon: None,
        };
        let blocks_by_the_thousand = match request {
            Request::ListImport { .. } => true,
            Request::BlockAdd { asns, .. } => !asns.is_empty(),
            _ => false,
        };
        if blocks_by_the_thousand && self.enforcer.sees_all().is_ok() {
            let guard = guard(&self.loaded.settings, Lookup::Names);
            (self.enforcer).timed(|now| self.enforcer.set_guard(guard, now));
        }
        self.enforcer
            .timed(|now| operations::perform(site, actor, request, now))
    }
}

/// The table that the daemon would have. One that cannot be read is the end of the command only
/// where systems are blocked, and then not of every command.
fn asn_source(path: Option<&Path>, has_asns: bool) -> AsnSource {
    let Some(path) = path else {
        return if has_asns {
            AsnSource::Unreadable("`[intel] asn` names no table".to_owned())
        } else {
            AsnSource::Unset
        };
    };
    match AsnTable::load(path) {
        Ok(table) => AsnSource::Table(Arc::new(table)),
        Err(error) => AsnSource::Unreadable(error.to_string()),
    }
}

/// Takes the filter out of the kernel where the store cannot be opened: the pins need none, and
/// it is the last way to let a source in again.
pub(super) fn detach_without_store(pin_dir: &Path, error: &StoreError) -> Response {
    match KernelFilter::remove(pin_dir) {
        Ok(()) => Response::Done(Done {
            did: vec!["kernel filter, maps and pins removed".to_owned()],
            warnings: vec![format!("not recorded: {error}")],
        }),
        Err(error) => Response::internal(error),
    }
}
