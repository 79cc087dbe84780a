//! The live connections by peer, so that a ban can close them, and their number by source, so that
//! none has too many. Bounded by the listeners' limits.
//!
//! A source is an address of IPv4, a /64 of IPv6: whoever has one address of it has them all. Where
//! a proxy tells the client's address as the connection begins, that one's source is counted too.
//!
//! A connection is closed abortively by its own task: cancelling `Live`'s abort token makes the
//! task drop the socket, which then sends RST (see `stream`). [`Closed::done`] waits for that. At the
//! end of a drain, all are closed in order (see `farewell`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use ipnet::{IpNet, Ipv6Net};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use super::announcements::Announced;
use super::announcements::Announcements;
use super::framing::Violation;
use super::tunnel::Tunnel;
use super::unread::Responses;
use crate::engine::decision::BanProposal;
use crate::words::address::{canonical, host_network};
use crate::words::clock::Monotonic;

/// All live connections of the edge.
#[derive(Debug, Default)]
pub struct Connections {
    peers: Mutex<HashMap<IpAddr, HashMap<u64, Arc<Live>>>>,
    next: AtomicU64,
    /// Connections by source; none is kept at zero.
    sources: Mutex<HashMap<IpNet, usize>>,
    announcements: Announcements,
    over: CancellationToken,
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

    /// Closes every connection from `network`, abortively, and announces it.
    pub fn close(&self, network: &IpNet) -> Closed {
        self.announce(*network);
        self.close_unless(network, |_peer| false)
    }

    /// Tells whoever listens that connections from `network` are to be closed.
    pub fn announce(&self, network: IpNet) {
        self.announcements.announce(network, Monotonic::read());
    }

    /// What was announced a moment ago, and what is from now on.
    #[must_use]
    pub fn announcements(&self) -> Announced {
        self.announcements.listen(Monotonic::read())
    }

    /// Closes every connection from one address, abortively.
    pub fn close_peer(&self, ip: IpAddr) -> Closed {
        self.close(&host_network(ip))
    }

    /// Has all end in order, those as well that begin from here on; for the end of a drain. How many
    /// there are.
    pub fn end_all(&self) -> usize {
        self.over.cancel();
        self.count()
    }

    /// Cancelled when all are to end in order.
    pub(super) const fn over(&self) -> &CancellationToken {
        &self.over
    }

    /// Closes all, abortively.
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

    /// Enters a new connection, unless its peer's source has `limit` already.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr, limit: usize) -> Option<Registration> {
        let peer = canonical(peer);
        let source = self.count_source(peer, limit)?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let live = Arc::new(Live::default());
        let mut peers = self.peers.lock();
        let connections = peers.entry(peer).or_default();
        connections.insert(number, Arc::clone(&live));
        drop(peers);
        Some(Registration {
            connections: Arc::clone(self),
            live,
            peer,
            number,
            _source: source,
        })
    }

    /// Counts a connection for the source of `ip` while the place is kept, unless it has `limit`
    /// already.
    pub(super) fn count_source(self: &Arc<Self>, ip: IpAddr, limit: usize) -> Option<SourcePlace> {
        let source = source(ip);
        let mut sources = self.sources.lock();
        let count = sources.entry(source).or_default();
        if *count >= limit {
            if *count == 0 {
                sources.remove(&source);
            }
            return None;
        }
        *count += 1;
        drop(sources);
        Some(SourcePlace {
            connections: Arc::clone(self),
            source,
        })
    }
}

/// What counts as one source: an address of IPv4, a /64 of IPv6.
fn source(ip: IpAddr) -> IpNet {
    match canonical(ip) {
        IpAddr::V6(ip) => {
            IpNet::V6(Ipv6Net::new(ip, 64).map_or_else(|_| ip.into(), |net| net.trunc()))
        }
        v4 @ IpAddr::V4(_) => host_network(v4),
    }
}

/// A connection that counts for a source. Given back when dropped.
#[derive(Debug)]
pub(super) struct SourcePlace {
    connections: Arc<Connections>,
    source: IpNet,
}

impl Drop for SourcePlace {
    fn drop(&mut self) {
        let mut sources = self.connections.sources.lock();
        if let Some(count) = sources.get_mut(&self.source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                sources.remove(&self.source);
            }
        }
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
    _source: SourcePlace,
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
    /// The one request that its stand-in asks to refuse, and why. The last of its connection.
    refusal: Mutex<Option<(u64, Violation)>>,
    switched: AtomicBool,
    unframed: AtomicBool,
    tunnel: Mutex<Option<Tunnel>>,
    responses: Responses,
}

impl Live {
    /// Cancelled when the connection is to be closed abortively.
    pub(super) const fn abort(&self) -> &CancellationToken {
        &self.abort
    }

    /// Those that have not ended.
    pub(super) const fn responses(&self) -> &Responses {
        &self.responses
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

    /// The request's number: how many began before it.
    pub(super) fn request_begins(&self) -> u64 {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether there ever was a request.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed) > 0
    }

    pub(super) fn request_ends(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// What the connection becomes once its HTTP has ended: the running request is answered with
    /// 101, and from here on, the bytes are another protocol's.
    pub(super) fn becomes(&self, tunnel: Tunnel) {
        *self.tunnel.lock() = Some(tunnel);
        self.switches();
    }

    pub(super) fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel.lock().take()
    }

    /// The request of this number is a stand-in for one that is to be refused.
    pub(super) fn refuse(&self, request: u64, violation: Violation) {
        *self.refusal.lock() = Some((request, violation));
    }

    /// Why the request of this number is to be refused.
    pub(super) fn refusal_of(&self, request: u64) -> Option<Violation> {
        let refusal = *self.refusal.lock();
        refusal.and_then(|(refused, violation)| (refused == request).then_some(violation))
    }

    /// The bytes that come next are no HTTP. To be called before the request that says so ends.
    pub(super) fn switches(&self) {
        self.switched.store(true, Ordering::Relaxed);
    }

    /// Whether it was.
    pub(super) fn has_switched(&self) -> bool {
        self.switched.load(Ordering::Relaxed)
    }

    /// The client may take the connection's end for the end of a response (HTTP/1.0).
    pub(super) fn answers_unframed(&self) {
        self.unframed.store(true, Ordering::Relaxed);
    }

    /// Whether it may.
    pub(super) fn is_unframed(&self) -> bool {
        self.unframed.load(Ordering::Relaxed)
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
    fn a_source_has_at_most_its_limit_and_leaves_nothing_behind() {
        let check = |[one, same, another]: [&str; 3]| {
            let connections = Arc::new(Connections::default());
            let first = connections.enter(ip(one), 2).unwrap();
            let second = connections.enter(ip(same), 2).unwrap();
            assert!(connections.enter(ip(one), 2).is_none());
            assert!(connections.count_source(ip(same), 2).is_none());
            assert!(connections.enter(ip(another), 2).is_some());
            drop(first);
            let told = connections.count_source(ip(one), 2).unwrap();
            assert!(connections.enter(ip(same), 2).is_none());
            drop(told);
            assert!(connections.enter(ip(one), 2).is_some());
            drop(second);
            assert!(connections.enter(ip(one), 0).is_none());
            assert_eq!(connections.count(), 0);
            assert!(connections.peers.lock().is_empty());
            assert!(connections.sources.lock().is_empty());
        };
        check(["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"]);
        check(["2001:db8::1", "2001:db8::ffff:0:0:1", "2001:db8:0:1::1"]);
    }
}
