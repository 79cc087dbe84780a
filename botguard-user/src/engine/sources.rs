//! When an address, or the network around it, has earned a ban.
//!
//! Counts the requests of one address that were actually denied for their score or for a ban of
//! their pair, and remembers the good principals behind it. Proposes; whether the kernel follows is
//! decided elsewhere.
//!
//! IPv6 is counted by the /64, which one subscriber holds all of: whoever was denied from several
//! addresses of it is banned by the /64, else by the address. An IPv4 network follows its addresses:
//! where several of one /24 earned bans of their own within an hour, and nobody good was seen in it,
//! the next ban is of the network. Nothing wider than the policy's `widest` is ever proposed.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::ban_history::LastBan;
use super::decision::BanProposal;
use super::features::churn::{Arrival, Churn, Turnover};
use super::features::window::Window;
use super::fresh::Fresh;
use super::good_company::{GoodCompany, Newcomers, Sighting};
use super::policy::ban::BanPolicy;
use super::principals::{PrincipalId, Realm, subscriber};
use super::table::{ClockTable, Slot};
use crate::words::address::{ClientAddress, host_network};
use crate::words::clock::{Monotonic, Now, WallOffset};
use crate::words::memo::SourceMemo;

/// All sources, at most as many as the capacity, and all networks, likewise.
pub(crate) struct Sources {
    /// IPv6 by the /64.
    hosts: ClockTable<IpAddr, Source>,
    /// Of IPv4.
    networks: ClockTable<IpNet, Network>,
    /// What changed and is worth remembering, since the last call of [`Sources::drain`].
    fresh: Fresh<IpNet>,
}

/// What one address did to deserve a ban, and who would suffer from it.
#[derive(Clone, Copy, Debug, Default)]
struct Source {
    denials: Window<{ DENIAL_BUCKETS as usize + 1 }>,
    /// Bucket width of `denials`; a reload may change it.
    denial_width: Duration,
    /// Where the last denial was, and whether one before it was elsewhere.
    seen_at: Option<IpAddr>,
    is_spread: bool,
    good: GoodCompany,
    newcomers: Newcomers,
    churn: Churn,
    /// The same with what came on watched routes, and only for them.
    churn_watched: Churn,
    /// The ban that was proposed last.
    last: Option<LastBan>,
}

/// The same of a network: which of its addresses were banned lately.
#[derive(Clone, Copy, Debug, Default)]
struct Network {
    banned: [Option<(u64, Monotonic)>; MOST_NEIGHBOURS],
    good: GoodCompany,
    last: Option<LastBan>,
}

const DENIAL_BUCKETS: u32 = 10;
const MOST_NEIGHBOURS: usize = 5;
const _: () = assert!(size_of::<Slot<IpAddr, Source>>() <= 512);
const _: () = assert!(size_of::<Slot<IpNet, Network>>() <= 512);

/// Addresses of one IPv4 network that must have earned bans within [`NEIGHBOURS_WITHIN`] before the
/// network does: a /24 may be 256 customers.
const NEIGHBOURS: usize = MOST_NEIGHBOURS;
const NEIGHBOURS_WITHIN: Duration = Duration::from_secs(3_600);

impl Sources {
    pub(crate) fn new(capacity: u32) -> Self {
        Self {
            hosts: ClockTable::new(capacity),
            networks: ClockTable::new(capacity),
            fresh: Fresh::new(capacity.saturating_mul(2)),
        }
    }

    /// Notes that `id` behaves behind `address`.
    pub(crate) fn note_good(
        &mut self,
        now: Monotonic,
        address: IpAddr,
        id: PrincipalId,
        policy: &BanPolicy,
    ) {
        let sighting = self
            .hosts
            .entry(subscriber(address))
            .good
            .note(now, id.tag());
        if let Some(network) = around(address, policy) {
            self.networks.entry(network).good.note(now, id.tag());
        }
        if sighting == Sighting::News {
            self.note_fresh(host_network(subscriber(address)));
        }
    }

    /// Notes that `id` behaves behind `address`, and has not done so for long.
    pub(crate) fn note_newcomer(&mut self, now: Monotonic, address: IpAddr, id: PrincipalId) {
        (self.hosts.entry(subscriber(address)).newcomers).note(now, id.tag());
    }

    /// Notes an accepted request with a credential.
    pub(crate) fn note_arrival(
        &mut self,
        now: Monotonic,
        (address, realm): (IpAddr, Realm),
        arrival: Arrival,
        fingerprint: u64,
    ) -> Turnover {
        let source = self.hosts.entry(subscriber(address));
        let everywhere = (source.churn_watched).note(now, arrival, fingerprint);
        match realm {
            Realm::Enforced => source.churn.note(now, arrival, fingerprint),
            Realm::Watched => everywhere,
        }
    }

    /// How many new credentials came from an address lately, where hardly any came back.
    pub(crate) fn churning(&self, now: Monotonic, address: IpAddr, realm: Realm) -> Option<u32> {
        let source = self.hosts.find(&subscriber(address))?;
        match realm {
            Realm::Enforced => source.churn.churning(now),
            Realm::Watched => source.churn_watched.churning(now),
        }
    }

    /// Notes that `id` no longer does.
    pub(crate) fn note_suspect(&mut self, address: IpAddr, id: PrincipalId, policy: &BanPolicy) {
        if let Some(source) = self.hosts.find_mut(&subscriber(address)) {
            source.good.forget(id.tag());
            source.newcomers.forget(id.tag());
        }
        if let Some(network) = around(address, policy)
            && let Some(network) = self.networks.find_mut(&network)
        {
            network.good.forget(id.tag());
        }
    }

    /// How many good principals were seen behind `address` lately.
    pub(crate) fn good_behind(&self, now: Monotonic, address: IpAddr, policy: &BanPolicy) -> u32 {
        let source = self.hosts.find(&subscriber(address));
        source.map_or(0, |source| source.good_behind(now, policy))
    }

    /// Counts one request of `client` that was denied, and proposes a ban if that was one too many,
    /// the address is the client's own, and few enough would suffer.
    pub(crate) fn denied(
        &mut self,
        now: Monotonic,
        client: &ClientAddress,
        policy: &BanPolicy,
        why: impl Fn(u32) -> String,
    ) -> Option<BanProposal> {
        let target = client.own_peer()?;
        let address = target.ip();
        let source = self.hosts.entry(subscriber(address));
        let n_denials = source.count_denial(now, address, policy);
        let earned = n_denials >= policy.denied
            && source.good_behind(now, policy) <= policy.good_principals
            && source.last.is_none_or(|last| !last.is_live(now));
        if !earned {
            return None;
        }
        let ban = LastBan::after(source.last, now, policy);
        source.last = Some(ban);
        source.denials = Window::default();
        let is_spread = std::mem::take(&mut source.is_spread);
        self.note_fresh(host_network(subscriber(address)));
        let reason = why(n_denials);
        if let (IpAddr::V6(_), true, Some(network)) = (address, is_spread, around(address, policy))
        {
            return Some(BanProposal {
                target,
                network,
                ttl: ban.ttl(),
                reason: format!("{reason}, from several addresses of {network}"),
            });
        }
        Some(match self.widened(now, address, policy) {
            Some((network, ban, n_neighbours)) => BanProposal {
                target,
                network,
                ttl: ban.ttl(),
                reason: format!(
                    "{n_neighbours} addresses of {network} earned bans within an hour; the last: {reason}"
                ),
            },
            None => BanProposal {
                target,
                network: host_network(address),
                ttl: ban.ttl(),
                reason,
            },
        })
    }

    /// The ban of the network around an address that has just earned its own, if it is time.
    fn widened(
        &mut self,
        now: Monotonic,
        address: IpAddr,
        policy: &BanPolicy,
    ) -> Option<(IpNet, LastBan, usize)> {
        let around = around(address, policy).filter(|_| address.is_ipv4())?;
        let network = self.networks.entry(around);
        let n_neighbours = network.note_banned(now, PrincipalId::address_tag(address));
        let earned = n_neighbours >= NEIGHBOURS
            && network.good.count(now, policy.good_window) <= policy.good_principals
            && network.last.is_none_or(|last| !last.is_live(now));
        if !earned {
            return None;
        }
        let ban = LastBan::after(network.last, now, policy);
        network.last = Some(ban);
        self.note_fresh(around);
        Some((around, ban, n_neighbours))
    }

    fn note_fresh(&mut self, network: IpNet) {
        let (hosts, networks) = (&self.hosts, &self.networks);
        self.fresh.push(network, |it| {
            hosts.find(&it.addr()).is_some() || networks.find(it).is_some()
        });
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.fresh.len()
    }

    /// What changed since the last call.
    pub(crate) fn drain(&mut self, offset: WallOffset) -> Vec<SourceMemo> {
        let mut fresh = self.fresh.take();
        fresh.sort_unstable();
        fresh.dedup();
        fresh
            .into_iter()
            .filter_map(|network| {
                let (good, last) = match self.networks.find(&network) {
                    Some(of) if network.prefix_len() != network.max_prefix_len() => {
                        (of.good, of.last)
                    }
                    _ => {
                        let source = self.hosts.find(&network.addr())?;
                        (source.good, source.last)
                    }
                };
                Some(SourceMemo {
                    network,
                    ban: last.map(|last| last.memo(offset)),
                    good: good.memo(offset),
                })
            })
            .collect()
    }

    pub(crate) fn recall(&mut self, now: Now, memo: &SourceMemo, policy: &BanPolicy) {
        let last = memo
            .ban
            .as_ref()
            .map(|ban| LastBan::recalled(ban, now, policy));
        let good = GoodCompany::recalled(&memo.good, now);
        if memo.network.prefix_len() == memo.network.max_prefix_len() {
            let address = subscriber(memo.network.addr());
            let source = self.hosts.entry(address);
            (source.last, source.good) = (last, good);
            if let Some(network) = around(address, policy) {
                self.networks.entry(network).good.join(&good);
            }
        } else {
            let network = self.networks.entry(memo.network);
            network.last = last;
            network.good.join(&good);
        }
    }
}

impl Source {
    fn good_behind(&self, now: Monotonic, policy: &BanPolicy) -> u32 {
        self.good.count(now, policy.good_window) + self.newcomers.count(now)
    }

    fn count_denial(&mut self, now: Monotonic, at: IpAddr, policy: &BanPolicy) -> u32 {
        let width = policy.within / DENIAL_BUCKETS;
        if self.denial_width != width {
            self.denials = Window::default();
            self.denial_width = width;
        }
        if self.denials.count(now, width) == 0 {
            self.is_spread = false;
        } else if self.seen_at != Some(at) {
            self.is_spread = true;
        }
        self.seen_at = Some(at);
        self.denials.add(now, width);
        self.denials.count(now, width)
    }
}

impl Network {
    /// Notes that an address of it was banned, and counts those that were lately.
    fn note_banned(&mut self, now: Monotonic, tag: u64) -> usize {
        let oldest = |banned: &[Option<(u64, Monotonic)>]| {
            (0..banned.len()).min_by_key(|place| banned[*place].map(|(_, at)| at))
        };
        let known = (self.banned.iter()).position(|it| it.is_some_and(|(known, _)| known == tag));
        if let Some(place) = known.or_else(|| oldest(&self.banned)) {
            self.banned[place] = Some((tag, now));
        }
        let lately = self.banned.iter().flatten();
        lately
            .filter(|(_, at)| now.since(*at) < NEIGHBOURS_WITHIN)
            .count()
    }
}

/// The network that a ban may be widened to.
fn around(address: IpAddr, policy: &BanPolicy) -> Option<IpNet> {
    let [v4, v6] = policy.widest;
    let len = if address.is_ipv4() { v4 } else { v6 };
    let network = IpNet::new(address, len).ok()?.trunc();
    (network.prefix_len() < network.max_prefix_len()).then_some(network)
}
