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
//! One walk over the sorted networks of a range does it, [`sweep`]: of the whole address space for
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
    sweep::<u32, M, T>(
        plan,
        Prefix { address: 0, len: 0 },
        tables,
        |tables, event| {
            match event {
                Event::Host { prefix, policy } if policy != Policy::NONE => {
                    tables.put_host_v4(prefix.address, policy)?;
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
    painter.finish(tables)?;
    sweep::<u128, M, T>(plan, Prefix { address: 0, len: 0 }, tables, put_v6)
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
        IpNet::V4(network) => refresh_v4(plan, tables, network)?,
        IpNet::V6(network) => refresh_v6(plan, tables, network)?,
    }
    if !is_allowed {
        tables.unallow(&network).map_err(WriteError::Trie)?;
    }
    Ok(())
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
