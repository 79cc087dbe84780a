//! How a command reaches what it works on: the daemon by its socket, or, where none runs, the
//! store and the pinned maps themselves, under the same lock.

use std::sync::Arc;

use crate::admin::client::{Client, ClientError};
use crate::admin::operations::{self, Site};
use crate::admin::protocol::{Request, Response};
use crate::admin::socket::Actor;
use crate::audit::writer::AuditLog;
use crate::daemon::enforcer::{Enforcer, KernelSide, Start};
use crate::enforcement::never_block::NeverBlock;
use crate::settings::Loaded;
use crate::store::journal::Journal;
use crate::store::{Store, StoreError};
use crate::words::clock::Wall;

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

/// Neither the daemon nor the store can be reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccessError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot write the store: {0}")]
    Journal(std::io::Error),
}

impl Access {
    /// Asks for the daemon first: while it runs it holds the store.
    pub(super) fn open(loaded: Loaded) -> Result<Self, AccessError> {
        if let Some(client) = Client::connect(&loaded.settings.admin.socket)? {
            return Ok(Self::Daemon(client));
        }
        Local::open(loaded).map(|local| Self::Local(Box::new(local)))
    }

    pub(super) fn perform(self, request: &Request) -> Result<Response, AccessError> {
        match self {
            Self::Daemon(mut client) => Ok(client.perform(request)?),
            Self::Local(local) => Ok(local.perform(request)),
        }
    }
}

impl Local {
    fn open(loaded: Loaded) -> Result<Self, AccessError> {
        let now = Wall::read();
        let settings = &loaded.settings;
        let (store, contents) = Store::open(&settings.state_dir, now)?;
        let store_problem = store.moved_aside().map(|aside| {
            format!(
                "the store was corrupt and begun anew; the old one is {}",
                aside.display()
            )
        });
        let start = Start {
            contents,
            store_problem,
            journal: Journal::start(Arc::new(store)).map_err(AccessError::Journal)?,
            // An operator is only refused what would shut out this host.
            guard: NeverBlock::of_host(),
            mode: settings.mode,
            default_scope: settings.kernel.scope,
        };
        let enforcer = Enforcer::new(start, KernelSide::open(&settings.kernel), now);
        let audit = AuditLog::open(&settings.audit.path)
            .inspect_err(|error| tracing::warn!(%error, "the change will not be recorded"))
            .ok();
        Ok(Self {
            loaded,
            enforcer,
            audit,
        })
    }

    fn perform(&self, request: &Request) -> Response {
        let actor = Actor {
            uid: nix::unistd::getuid().as_raw(),
        };
        let site = Site {
            enforcer: &self.enforcer,
            loaded: &self.loaded,
            audit: self.audit.as_ref(),
            daemon: None,
        };
        operations::perform(site, actor, request, Wall::read())
    }
}
