//! The plan: what the lists come to in the kernel's tables. Pure but for the tables it writes.
//!
//! **Overlap.** A lookup finds the most specific policy, so each carries what all blocks that cover
//! its network come to: one term for each effect and scope, with the latest end among them (never
//! wins over any end). Drop beats count and host beats listeners at every instant, because the
//! terms are judged separately and none hides another that lasts longer. Compiled so, tables stay
//! right however much time passes without anyone collecting.
//!
//! **Allow beats block** by construction: what an allow covers is cut out. (And the kernel asks
//! the allow list again on a hit.)
//!
//! One walk over the sorted networks of a range does it, `sweep`: of the whole address space for
//! a new generation of tables ([`fill`]), of one network for a single change ([`refresh`]).

mod needs;
mod sweep;

use botguard_common::entry::{Entry, Term};
use botguard_common::lookup::network_v4;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::kernel_clock::KernelClock;
use super::list::BlockList;
use super::network_map::canonical_network;
use super::rules::RuleNumbers;
use super::tables::{Full, HostV6, Memory, Painter, Policy, Segment, Tables, Tries, WriteError};
use crate::words::block::{Block, Effect, Scope};
use crate::words::clock::Wall;
use crate::words::network_set::Prefix;
use crate::words::rule::Rule;

pub use needs::needs;

use sweep::{Event, sweep};

/// What the lists are compiled with.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// Blocks, layers and allows.
    pub list: &'a BlockList,
    /// The kernel's clock beside the wall clock's.
    pub clock: &'a KernelClock,
    /// Numbers of every rule in the list.
    pub rules: &'a RuleNumbers,
}

impl Plan<'_> {
    /// What a block comes to by itself; `None` once it has ended.
    fn entry(
        &self,
        rule: &Rule,
        effect: Effect,
        scope: Scope,
        expires: Option<Wall>,
    ) -> Option<Entry> {
        if expires.is_some_and(|end| end <= self.clock.wall) {
            return None;
        }
        let term = Term::until(self.clock.end(expires), self.rules.number(rule));
        let mut entry = Entry::default();
        *match (effect, scope) {
            (Effect::Drop, Scope::Host) => &mut entry.drop_host,
            (Effect::Drop, Scope::Listeners) => &mut entry.drop_listeners,
            (Effect::Count, Scope::Host) => &mut entry.count_host,
            (Effect::Count, Scope::Listeners) => &mut entry.count_listeners,
        } = term;
        Some(entry)
    }

    fn entry_of(&self, block: &Block) -> Option<Entry> {
        let rule = Rule::Single(block.origin);
        self.entry(&rule, block.effect, block.scope, block.expires)
    }
}

/// Writes everything that the lists come to into empty tables.
///
/// Errors: a table is too small for it, or the kernel refuses a prefix.
pub fn fill<M: Memory, T: Tries>(
    plan: Plan<'_>,
    tables: &mut Tables<M, T>,
) -> Result<(), WriteError<T::Error>> {
    for allow in plan.list.allows() {
        tables.allow(allow.network).map_err(WriteError::Trie)?;
    }
    let mut painter = Painter::default();
    let mut hosts = Hosts::default();
    sweep::<u32, M, T>(
        plan,
        Prefix { address: 0, len: 0 },
        tables,
        |tables, event| {
            match event {
                Event::Host { prefix, policy } if policy != Policy::NONE => {
                    hosts.put(tables, prefix.address, policy)?;
                }
                // The tables are empty: what is not blocked needs no painting.
                Event::Segment {
                    first,
                    last,
                    policy,
                } if policy != Policy::NONE => {
                    let segment = Segment {
                        first,
                        last,
                        policy,
                    };
                    painter.paint(tables, segment)?;
                }
                Event::Host { .. } | Event::Segment { .. } | Event::Network { .. } => {}
            }
            Ok(())
        },
    )?;
    hosts.finish(tables)?;
    painter.finish(tables)?;
    sweep::<u128, M, T>(plan, Prefix { address: 0, len: 0 }, tables, put_v6)
}

/// Hosts on their way into the table, a batch at a time: their places are all over it.
#[derive(Default)]
struct Hosts(Vec<(u32, Policy)>);

impl Hosts {
    /// Some cache lines each; the caches' queues hold a few dozen.
    const BATCH: usize = 64;

    fn put<M: Memory, T: Tries>(
        &mut self,
        tables: &mut Tables<M, T>,
        address: u32,
        policy: Policy,
    ) -> Result<(), Full> {
        self.0.push((address, policy));
        if self.0.len() < Self::BATCH {
            return Ok(());
        }
        self.finish(tables)
    }

    fn finish<M: Memory, T: Tries>(&mut self, tables: &mut Tables<M, T>) -> Result<(), Full> {
        tables.fetch_hosts_v4(self.0.iter().map(|(address, _)| *address));
        let mut hosts = self.0.drain(..);
        hosts.try_for_each(|(address, policy)| tables.put_host_v4(address, policy))
    }
}

/// [`refresh`] of many networks: in order, so that each finds in the caches what the one before
/// looked at.
///
/// Errors: as [`refresh`].
pub fn refresh_all<M: Memory, T: Tries>(
    plan: Plan<'_>,
    tables: &mut Tables<M, T>,
    networks: &[IpNet],
) -> Result<(), WriteError<T::Error>> {
    if let [network] = networks {
        return refresh(plan, tables, network);
    }
    let mut sorted = networks.to_vec();
    sorted.sort_unstable();
    for batch in sorted.chunks(Hosts::BATCH) {
        tables.fetch_hosts_v4(batch.iter().filter_map(|network| match network {
            IpNet::V4(network) => Some(u32::from(network.addr())),
            IpNet::V6(_) => None,
        }));
        for network in batch {
            refresh(plan, tables, network)?;
        }
    }
    Ok(())
}

/// Follows a block or allow of `network` that was added, changed or removed.
///
/// Cost: one lookup for each listed network within `network`; one for a host.
///
/// Errors: as [`fill`]; the tables are left with part of the change, marked.
pub fn refresh<M: Memory, T: Tries>(
    plan: Plan<'_>,
    tables: &mut Tables<M, T>,
    network: &IpNet,
) -> Result<(), WriteError<T::Error>> {
    let network = canonical_network(*network);
    let is_allowed = plan.list.has_allow(&network);
    // An allow is there before anything is cut out for it, and gone after everything is back.
    if is_allowed {
        tables.allow(network).map_err(WriteError::Trie)?;
    }
    match network {
        IpNet::V4(network) if network.prefix_len() == 32 && !tables.is_allowed(&network.into()) => {
            refresh_host_v4(plan, tables, network)?;
        }
        IpNet::V4(network) => refresh_v4(plan, tables, network)?,
        IpNet::V6(network) => refresh_v6(plan, tables, network)?,
    }
    if !is_allowed {
        tables.unallow(&network).map_err(WriteError::Trie)?;
    }
    Ok(())
}

/// A ban, or its end: the path that is taken thousands of times a second. What networks come to at
/// the address does not change by it.
fn refresh_host_v4<M: Memory, T: Tries>(
    plan: Plan<'_>,
    tables: &mut Tables<M, T>,
    network: Ipv4Net,
) -> Result<(), Full> {
    let host = Prefix::from(network);
    let network = IpNet::V4(network);
    let mut layers = plan.list.layer_index().covering(host).peekable();
    let is_listed =
        plan.list.has_block(&network) || layers.peek().is_some_and(|(prefix, _)| *prefix == host);
    let mut entry = Entry::default();
    if is_listed && !plan.list.is_allowed_around(&network) {
        let single = plan.list.blocks_covering(&network);
        entry = single
            .filter_map(|block| plan.entry_of(block))
            .fold(entry, Entry::joined);
        for (_prefix, layer) in layers {
            let terms = &layer.terms;
            let own = plan.entry(&layer.rule, terms.effect, terms.scope, layer.expires);
            entry = entry.joined(own.unwrap_or_default());
        }
    }
    let policy = tables.intern(entry)?;
    put_host_v4(plan, tables, host.address, policy)
}

fn refresh_v4<M: Memory, T: Tries>(
    plan: Plan<'_>,
    tables: &mut Tables<M, T>,
    network: Ipv4Net,
) -> Result<(), WriteError<T::Error>> {
    let range = Prefix::from(network);
    let mut painter = Painter::default();
    let mut is_listed = false;
    sweep::<u32, M, T>(plan, range, tables, |tables, event| {
        match event {
            Event::Host { prefix, policy } => {
                is_listed |= prefix == range;
                put_host_v4(plan, tables, prefix.address, policy)?;
            }
            Event::Segment {
                first,
                last,
                policy,
            } => {
                // A ban of a host paints nothing, nearly always.
                if first != last || Policy(network_v4(tables, first)) != policy {
                    let segment = Segment {
                        first,
                        last,
                        policy,
                    };
                    painter.paint(tables, segment)?;
                }
            }
            Event::Network { .. } => {}
        }
        Ok(())
    })?;
    painter.finish(tables)?;
    if range.len == 32 && !is_listed {
        put_host_v4(plan, tables, range.address, Policy::NONE)?;
    }
    Ok(())
}

fn put_host_v4<M: Memory, T: Tries>(
    plan: Plan<'_>,
    tables: &mut Tables<M, T>,
    address: u32,
    policy: Policy,
) -> Result<(), Full> {
    if policy == Policy::NONE {
        tables.delete_host_v4(address, || !plan.list.has_host_in_24(address));
        return Ok(());
    }
    tables.put_host_v4(address, policy)
}

fn refresh_v6<M: Memory, T: Tries>(
    plan: Plan<'_>,
    tables: &mut Tables<M, T>,
    network: Ipv6Net,
) -> Result<(), WriteError<T::Error>> {
    let range = Prefix::from(network);
    let mut is_listed = false;
    sweep::<u128, M, T>(plan, range, tables, |tables, event| {
        is_listed |= matches!(event, Event::Host { prefix, .. } | Event::Network { prefix, .. }
            if prefix == range);
        put_v6(tables, event)
    })?;
    if !is_listed {
        // Not listed any more: neither as a host or /64 nor, cut out of a wider one, as a prefix.
        if let Some(host) = HostV6::of(range.address, range.len) {
            tables.delete_host_v6(host);
        }
        tables.delete_net_v6(network).map_err(WriteError::Trie)?;
    }
    Ok(())
}

/// Hosts and /64s stand in buckets; every other length, and what is cut out of a wider network, in
/// the trie.
fn put_v6<M: Memory, T: Tries>(
    tables: &mut Tables<M, T>,
    event: Event<u128>,
) -> Result<(), WriteError<T::Error>> {
    let (prefix, policy, is_cut_out) = match event {
        Event::Segment { .. } => return Ok(()),
        Event::Host { prefix, policy } => (prefix, policy, false),
        Event::Network {
            prefix,
            policy,
            is_cut_out,
        } => (prefix, policy, is_cut_out),
    };
    let network = Ipv6Net::new_assert(prefix.address.into(), prefix.len);
    match HostV6::of(prefix.address, prefix.len) {
        Some(host) if policy == Policy::NONE => tables.delete_host_v6(host),
        Some(host) => {
            tables.put_host_v6(host, policy)?;
            return Ok(());
        }
        None => {}
    }
    let put = if policy != Policy::NONE || is_cut_out {
        tables.put_net_v6(network, policy)
    } else {
        tables.delete_net_v6(network)
    };
    put.map_err(WriteError::Trie)
}

#[cfg(test)]
mod tests;
