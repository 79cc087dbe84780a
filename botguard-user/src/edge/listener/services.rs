//! The listeners that are open, and how a reload changes them while they serve: what stays gets its
//! next configuration, what is new is bound beforehand, what is gone accepts nothing more and lets its
//! connections end by themselves.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{BindError, Inherited, Prepared, accept};
use crate::edge::Edge;
use crate::edge::site::{Served, Site};
use crate::edge::upstream::{Changeover, EndpointStatus, Upstream};

/// The open listeners of a daemon.
#[derive(Clone, Default)]
pub struct Services(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// In the order of the settings.
    open: Vec<Open>,
    /// From the begin to the shutdown.
    serving: Option<Serving>,
}

/// One of them. Its socket is closed with the last handle: this one, until the shutdown, and that of
/// who accepts.
struct Open {
    served: Arc<Served>,
    socket: Option<Arc<TcpListener>>,
    /// With a port 0 resolved.
    address: SocketAddr,
    stop: CancellationToken,
}

/// What connections are served with.
struct Serving {
    edge: Edge,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.addresses()).finish()
    }
}

/// Sockets of listeners that were not open, bound and not yet accepting.
#[derive(Debug, Default)]
#[must_use = "dropped, they are closed"]
pub struct Fresh(VecDeque<(TcpListener, SocketAddr)>);

impl Fresh {
    /// Where they are bound.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|(_socket, address)| *address).collect()
    }
}

impl Services {
    /// Binds all of `prepared` that are not open yet, or none; takes up what is inherited. Needs a
    /// tokio runtime.
    ///
    /// Errors: [`BindError`] for the first address that cannot be bound.
    pub fn bind_missing(
        &self,
        prepared: &[Prepared],
        inherited: &mut Inherited,
    ) -> Result<Fresh, BindError> {
        let mut open: Vec<_> = {
            let state = self.0.lock();
            state.open.iter().map(|open| open.served.bind).collect()
        };
        let mut fresh = VecDeque::new();
        for address in prepared.iter().map(Prepared::bind) {
            // Several may ask for port 0 of one address; they are told apart by their order.
            if let Some(place) = open.iter().position(|bind| *bind == address) {
                open.remove(place);
                continue;
            }
            let bound = bind_or_take(address, inherited);
            fresh.push_back(bound.map_err(|source| BindError { address, source })?);
        }
        Ok(Fresh(fresh))
    }

    /// Serves as `prepared` says from now on, listener by listener as their `bind` says; `fresh` is
    /// what [`Self::bind_missing`] has bound for it. Returns where nobody listens any more. Needs a
    /// tokio runtime.
    pub fn replace(&self, prepared: Vec<Prepared>, fresh: Fresh) -> Vec<SocketAddr> {
        let Fresh(mut fresh) = fresh;
        let mut state = self.0.lock();
        let State { open, serving } = &mut *state;
        let mut old = std::mem::take(open);
        let mut changeover = Changeover::of(in_force(&old));
        for mut prepared in prepared {
            prepared.upstream = changeover.settle(&prepared.upstream);
            let place = (old.iter()).position(|open| open.served.bind == prepared.bind);
            if let Some(place) = place {
                let kept = old.remove(place);
                kept.served.replace(prepared);
                open.push(kept);
            } else if let Some((socket, address)) = fresh.pop_front() {
                let added = Open {
                    served: Arc::new(Served::new(prepared)),
                    socket: Some(Arc::new(socket)),
                    address,
                    stop: CancellationToken::new(),
                };
                open.push(match serving {
                    Some(serving) => serving.begin(added),
                    None => added,
                });
            }
        }
        changeover.end(&in_force(open));
        drop(state);
        for gone in &old {
            gone.stop.cancel();
        }
        old.into_iter().map(|gone| gone.address).collect()
    }

    /// Accepts from now on, until `shutdown`.
    pub(super) fn begin(&self, edge: Edge, tasks: TaskTracker, shutdown: CancellationToken) {
        let serving = Serving {
            edge,
            tasks,
            shutdown,
        };
        let mut state = self.0.lock();
        let waiting = std::mem::take(&mut state.open);
        state.open = waiting
            .into_iter()
            .map(|open| serving.begin(open))
            .collect();
        state.serving = Some(serving);
    }

    /// Lets go of the sockets, which are closed once nobody accepts on them, and of the edge.
    pub(super) fn close(&self) {
        let mut state = self.0.lock();
        state.serving = None;
        for open in &mut state.open {
            open.socket = None;
        }
    }

    /// Further handles of the sockets, for whoever is to listen on them after this process.
    ///
    /// Errors: the process has no descriptors left.
    pub fn handles(&self) -> io::Result<Vec<OwnedFd>> {
        let state = self.0.lock();
        let sockets = state.open.iter().filter_map(|open| open.socket.as_ref());
        sockets
            .map(|socket| socket.as_fd().try_clone_to_owned())
            .collect()
    }

    /// The addresses that are really bound, in the order of the settings: a port 0 is resolved.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let state = self.0.lock();
        state.open.iter().map(|open| open.address).collect()
    }

    /// Where each listener is bound, and the upstream that it has now, in the order of the settings,
    /// with how its endpoints stand.
    #[must_use]
    pub fn upstreams(&self) -> Vec<(SocketAddr, String, Vec<EndpointStatus>)> {
        let state = self.0.lock();
        let services = state
            .open
            .iter()
            .map(|open| (open.address, open.served.service.load()));
        services
            .map(|(address, service)| {
                let upstream = &service.upstream;
                (address, upstream.name().to_owned(), upstream.status())
            })
            .collect()
    }
}

impl Serving {
    /// Connections drain with their listener, or all together.
    fn begin(&self, open: Open) -> Open {
        let Some(socket) = &open.socket else {
            return open;
        };
        let stop = self.shutdown.child_token();
        let site = Arc::new(Site {
            edge: self.edge.clone(),
            served: Arc::clone(&open.served),
        });
        site.service().upstream.start();
        let accepting = accept(Arc::clone(socket), site, self.tasks.clone(), stop.clone());
        self.tasks.spawn(accepting);
        Open { stop, ..open }
    }
}

/// The upstreams of these listeners.
fn in_force(open: &[Open]) -> Vec<Arc<Upstream>> {
    let services = open.iter().map(|open| open.served.service.load());
    services
        .map(|service| Arc::clone(&service.upstream))
        .collect()
}

fn bind_or_take(
    address: SocketAddr,
    inherited: &mut Inherited,
) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = match inherited.take(address) {
        Some(socket) => {
            socket.set_nonblocking(true)?;
            TcpListener::from_std(socket)?
        }
        None => bind(address)?,
    };
    let address = socket.local_addr()?;
    Ok((socket, address))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Connections that wait to be accepted, at each listener.
pub const BACKLOG: u32 = 1_024;
