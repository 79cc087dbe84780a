//! The live connections by peer, so that a ban can close them. Bounded by the listeners' limits.
//!
//! A connection is closed abortively by its own task: cancelling `Live`'s abort token makes the
//! task drop the socket, which then sends RST (see `stream`). [`Closed::done`] waits for that.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::tunnel::Tunnel;
use crate::engine::decision::BanProposal;
use crate::words::address::{canonical, host_network};

/// All live connections of the edge.
#[derive(Debug, Default)]
pub struct Connections {
    peers: Mutex<HashMap<IpAddr, HashMap<u64, Arc<Live>>>>,
    next: AtomicU64,
}

impl Connections {
    /// Closes every connection from `network` whose peer is not spared, abortively.
    pub fn close_unless(&self, network: &IpNet, is_spared: impl Fn(IpAddr) -> bool) -> Closed {
        let peers = self.peers.lock();
        let mut gone = Vec::new();
        let mut abort = |connections: &HashMap<u64, Arc<Live>>| {
            for live in connections.values() {
                live.abort.cancel();
                gone.push(live.gone.clone());
            }
        };
        if network.prefix_len() == network.max_prefix_len() {
            let peer = canonical(network.addr());
            if let Some(connections) = peers.get(&peer)
                && !is_spared(peer)
            {
                abort(connections);
            }
        } else {
            for (peer, connections) in peers.iter() {
                if network.contains(peer) && !is_spared(*peer) {
                    abort(connections);
                }
            }
        }
        Closed(gone)
    }

    /// Closes every connection from `network`, abortively.
    pub fn close(&self, network: &IpNet) -> Closed {
        self.close_unless(network, |_peer| false)
    }

    /// Closes every connection from one address, abortively.
    pub fn close_peer(&self, ip: IpAddr) -> Closed {
        self.close(&host_network(ip))
    }

    /// Closes all, abortively; for the end of a drain.
    pub fn close_all(&self) -> Closed {
        let peers = self.peers.lock();
        let live = peers.values().flat_map(HashMap::values);
        Closed(
            live.map(|live| {
                live.abort.cancel();
                live.gone.clone()
            })
            .collect(),
        )
    }

    /// Number of live connections.
    #[must_use]
    pub fn count(&self) -> usize {
        self.peers.lock().values().map(HashMap::len).sum()
    }

    /// Enters a new connection, unless its peer has `limit` already.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr, limit: usize) -> Option<Registration> {
        let peer = canonical(peer);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let live = Arc::new(Live::default());
        let mut peers = self.peers.lock();
        let connections = peers.entry(peer).or_default();
        if connections.len() >= limit {
            return None;
        }
        connections.insert(number, Arc::clone(&live));
        drop(peers);
        Some(Registration {
            connections: Arc::clone(self),
            live,
            peer,
            number,
        })
    }
}

/// Connections that were told to close.
#[derive(Debug)]
#[must_use = "the connections may still be closing; wait with `done`"]
pub struct Closed(Vec<CancellationToken>);

impl Closed {
    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Waits until their sockets are closed.
    pub async fn done(self) {
        for gone in self.0 {
            gone.cancelled().await;
        }
    }
}

/// A place in [`Connections`]. Dropped after the socket.
#[derive(Debug)]
pub(super) struct Registration {
    connections: Arc<Connections>,
    live: Arc<Live>,
    peer: IpAddr,
    number: u64,
}

impl Registration {
    pub(super) const fn live(&self) -> &Arc<Live> {
        &self.live
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut peers = self.connections.peers.lock();
        if let Some(connections) = peers.get_mut(&self.peer) {
            connections.remove(&self.number);
            if connections.is_empty() {
                peers.remove(&self.peer);
            }
        }
        drop(peers);
        self.live.gone.cancel();
    }
}

/// What a connection's task and its requests tell each other.
#[derive(Debug, Default)]
pub(super) struct Live {
    abort: CancellationToken,
    gone: CancellationToken,
    bans: Mutex<Bans>,
    ban_proposed: Notify,
    in_flight: AtomicUsize,
    begun: AtomicU64,
    framing_conflict: AtomicBool,
    tunnel: Mutex<Option<Tunnel>>,
}

impl Live {
    /// Cancelled when the connection is to be closed abortively.
    pub(super) const fn abort(&self) -> &CancellationToken {
        &self.abort
    }

    /// Hands a ban to the connection's task, or back when that has ended.
    pub(super) fn propose(&self, ban: BanProposal) -> Result<(), BanProposal> {
        match &mut *self.bans.lock() {
            Bans::Open(bans) => bans.push(ban),
            Bans::TaskEnded => return Err(ban),
        }
        self.ban_proposed.notify_one();
        Ok(())
    }

    /// Resolves when a ban was proposed.
    pub(super) async fn ban_proposed(&self) {
        self.ban_proposed.notified().await;
    }

    /// The bans proposed so far. From now on [`Self::propose`] hands them back.
    pub(super) fn end(&self) -> Vec<BanProposal> {
        match std::mem::replace(&mut *self.bans.lock(), Bans::TaskEnded) {
            Bans::Open(bans) => bans,
            Bans::TaskEnded => Vec::new(),
        }
    }

    pub(super) fn request_begins(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether there ever was a request.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed) > 0
    }

    pub(super) fn request_ends(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// What the connection becomes once its HTTP has ended.
    pub(super) fn becomes(&self, tunnel: Tunnel) {
        *self.tunnel.lock() = Some(tunnel);
    }

    pub(super) fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel.lock().take()
    }

    /// A head with two ways to frame its body came in.
    pub(super) fn framing_conflicts(&self) {
        self.framing_conflict.store(true, Ordering::Relaxed);
    }

    /// Whether one did. It stays so: this client cannot be talked to.
    pub(super) fn has_framing_conflict(&self) -> bool {
        self.framing_conflict.load(Ordering::Relaxed)
    }

    /// How many requests have begun, if none is running.
    pub(super) fn begun_if_idle(&self) -> Option<u64> {
        (self.in_flight.load(Ordering::Relaxed) == 0).then(|| self.begun.load(Ordering::Relaxed))
    }
}

#[derive(Debug)]
enum Bans {
    /// At most one for each stream of the connection.
    Open(Vec<BanProposal>),
    TaskEnded,
}

impl Default for Bans {
    fn default() -> Self {
        Self::Open(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn closes_what_the_network_covers_and_nothing_else() {
        let check = |network: &str, expected: &[&str]| {
            let connections = Arc::new(Connections::default());
            let peers = ["192.0.2.1", "192.0.2.2", "198.51.100.1", "2001:db8::1"];
            let registrations: Vec<_> = peers
                .iter()
                .map(|peer| connections.enter(ip(peer), 9).unwrap())
                .collect();
            let closed = connections.close(&network.parse().unwrap());
            assert_eq!(closed.count(), expected.len(), "{network}");
            for (peer, registration) in peers.iter().zip(&registrations) {
                let aborted = registration.live().abort().is_cancelled();
                assert_eq!(aborted, expected.contains(peer), "{network} {peer}");
            }
        };
        check("192.0.2.1/32", &["192.0.2.1"]);
        check("192.0.2.0/24", &["192.0.2.1", "192.0.2.2"]);
        check("2001:db8::/64", &["2001:db8::1"]);
        check("203.0.113.7/32", &[]);
    }

    #[test]
    fn a_peer_has_at_most_its_limit_and_leaves_nothing_behind() {
        let connections = Arc::new(Connections::default());
        let first = connections.enter(ip("192.0.2.1"), 2).unwrap();
        let second = connections.enter(ip("::ffff:192.0.2.1"), 2).unwrap();
        assert!(connections.enter(ip("192.0.2.1"), 2).is_none());
        assert!(connections.enter(ip("192.0.2.2"), 2).is_some());
        drop(first);
        assert!(connections.enter(ip("192.0.2.1"), 2).is_some());
        drop(second);
        assert_eq!(connections.count(), 0);
        assert!(connections.peers.lock().is_empty());
    }
}
