//! One walk over the sorted networks of a range: single blocks, layers and allows together. Says of
//! each host and network what the blocks that cover it come to, and of the range, piece by piece,
//! what holds for it by networks alone.

use std::iter::Peekable;

use botguard_common::entry::Entry;
use hashbrown::HashMap;

use super::Plan;
use crate::enforcement::layer_index::{Family, Node};
use crate::enforcement::tables::{Memory, Policy, Tables, Tries, WriteError};
use crate::words::block::Block;
use crate::words::network_set::Prefix;

/// What a sweep says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Event<A> {
    /// What a listed host comes to: none where it is allowed, or every block of it has ended.
    Host {
        /// Which.
        prefix: Prefix<A>,
        /// What it comes to.
        policy: Policy,
    },
    /// What a listed network comes to.
    Network {
        /// Which.
        prefix: Prefix<A>,
        /// What it comes to.
        policy: Policy,
        /// Whether it comes to nothing, and a network that holds it to something.
        is_cut_out: bool,
    },
    /// What the networks come to from one address to another; segments ascend without a gap.
    Segment {
        /// First address.
        first: A,
        /// Last address.
        last: A,
        /// What they come to.
        policy: Policy,
    },
}

/// A network that holds the place where the walk is.
#[derive(Clone, Copy)]
struct Open<A> {
    prefix: Prefix<A>,
    policy: Policy,
    is_allowed: bool,
}

/// Walks over a range.
///
/// Errors: those of `visit`, and a full table of policies.
pub(super) fn sweep<A: Family, M: Memory, T: Tries>(
    plan: Plan<'_>,
    range: Prefix<A>,
    tables: &mut Tables<M, T>,
    mut visit: impl FnMut(&mut Tables<M, T>, Event<A>) -> Result<(), WriteError<T::Error>>,
) -> Result<(), WriteError<T::Error>> {
    let mut open = vec![outside(plan, range, tables)?];
    let mut join = Joins::new(plan);
    // First address that no segment was said of yet; `None` behind the last address of all.
    let mut next = Some(range.address);
    let mut members = Members::new(plan, range);
    while let Some(member) = members.next() {
        close(&mut open, &member.prefix, &mut next, |event| {
            visit(tables, event)
        })?;
        // The range's own is never closed before the end.
        let Some(around) = open.last().copied() else {
            break;
        };
        let is_allowed = around.is_allowed || member.is_allowed;
        let policy = if is_allowed {
            Policy::NONE
        } else {
            join.policy(around.policy, &member, tables)?
        };
        let prefix = member.prefix;
        let is_cut_out = policy == Policy::NONE && around.policy != Policy::NONE;
        if prefix.len < A::BITS {
            let event = Event::Network {
                prefix,
                policy,
                is_cut_out,
            };
            visit(tables, event)?;
        } else {
            visit(tables, Event::Host { prefix, policy })?;
            if !is_cut_out {
                continue;
            }
            // One that is allowed inside a network that is not is a hole in the segment.
            let event = Event::Network {
                prefix,
                policy,
                is_cut_out,
            };
            visit(tables, event)?;
        }
        segment(&mut next, prefix.address.before(), around.policy, |event| {
            visit(tables, event)
        })?;
        open.push(Open {
            prefix,
            policy,
            is_allowed,
        });
    }
    while let Some(top) = open.pop() {
        segment(&mut next, Some(top.prefix.last()), top.policy, |event| {
            visit(tables, event)
        })?;
    }
    Ok(())
}

/// What wider networks come to in the range.
fn outside<A: Family, M: Memory, T: Tries>(
    plan: Plan<'_>,
    range: Prefix<A>,
    tables: &mut Tables<M, T>,
) -> Result<Open<A>, WriteError<T::Error>> {
    let network = range.network();
    let is_allowed = plan.list.is_allowed_around(&network);
    let mut entry = Entry::default();
    if !is_allowed {
        let single = plan.list.blocks_around(&network);
        entry = single
            .filter_map(|block| plan.entry_of(block))
            .fold(entry, Entry::joined);
        for (prefix, layer) in plan.list.layer_index().covering(range) {
            if prefix.len < range.len {
                let terms = &layer.terms;
                let own = plan.entry(&layer.rule, terms.effect, terms.scope, layer.expires);
                entry = entry.joined(own.unwrap_or_default());
            }
        }
    }
    Ok(Open {
        prefix: range,
        policy: tables.intern(entry)?,
        is_allowed,
    })
}

/// Leaves the networks that do not hold `prefix`.
fn close<A: Family, E>(
    open: &mut Vec<Open<A>>,
    prefix: &Prefix<A>,
    next: &mut Option<A>,
    mut say: impl FnMut(Event<A>) -> Result<(), E>,
) -> Result<(), E> {
    while let Some(top) = open.pop_if(|top| !top.prefix.contains(prefix)) {
        segment(next, Some(top.prefix.last()), top.policy, &mut say)?;
    }
    Ok(())
}

/// Says what holds up to `last`, if anything is left to be said.
fn segment<A: Family, E>(
    next: &mut Option<A>,
    last: Option<A>,
    policy: Policy,
    say: impl FnOnce(Event<A>) -> Result<(), E>,
) -> Result<(), E> {
    let (Some(first), Some(last)) = (*next, last) else {
        return Ok(());
    };
    if last < first {
        return Ok(());
    }
    *next = last.after();
    say(Event::Segment {
        first,
        last,
        policy,
    })
}

/// A listed network with everything that is listed of exactly it.
struct Member<'a, A> {
    prefix: Prefix<A>,
    single: &'a [Block],
    layers: &'a [Node<A>],
    is_allowed: bool,
}

/// The listed networks of a range in order.
struct Members<'a, A> {
    single: Peekable<Items<'a, (Prefix<A>, &'a [Block])>>,
    allows: Peekable<Items<'a, Prefix<A>>>,
    layers: &'a [Node<A>],
}

type Items<'a, T> = Box<dyn Iterator<Item = T> + 'a>;

impl<'a, A: Family> Members<'a, A> {
    fn new(plan: Plan<'a>, range: Prefix<A>) -> Self {
        let network = range.network();
        let single = plan.list.blocks_within(network);
        let single: Items<'_, _> =
            Box::new(single.filter_map(|(network, blocks)| Some((A::prefix_of(network)?, blocks))));
        let allows: Items<'_, _> =
            Box::new(plan.list.allows_within(network).filter_map(A::prefix_of));
        Self {
            single: single.peekable(),
            allows: allows.peekable(),
            layers: plan.list.layer_index().within(range),
        }
    }

    fn next(&mut self) -> Option<Member<'a, A>> {
        let single = self.single.peek().map(|(prefix, _)| *prefix);
        let layer = self.layers.first().map(Node::prefix);
        let allow = self.allows.peek().copied();
        let prefix = [single, layer, allow].into_iter().flatten().min()?;
        let n_layers = self
            .layers
            .iter()
            .take_while(|node| node.prefix() == prefix);
        let (layers, rest) = self.layers.split_at(n_layers.count());
        self.layers = rest;
        let single = self.single.next_if(|(of, _)| *of == prefix);
        Some(Member {
            prefix,
            single: single.map_or(&[], |(_, blocks)| blocks),
            layers,
            is_allowed: self.allows.next_if(|of| *of == prefix).is_some(),
        })
    }
}

/// What blocks come to, with a memory: a list's networks come to the same thing a million times.
struct Joins<'a> {
    plan: Plan<'a>,
    last: Option<((Policy, usize), Policy)>,
    known: HashMap<(Policy, usize), Policy>,
    layers: Vec<Option<Option<Entry>>>,
}

impl<'a> Joins<'a> {
    fn new(plan: Plan<'a>) -> Self {
        Self {
            plan,
            last: None,
            known: HashMap::new(),
            layers: vec![None; plan.list.layer_index().layers().len()],
        }
    }

    fn policy<A: Family, M: Memory, T: Tries>(
        &mut self,
        around: Policy,
        member: &Member<'_, A>,
        tables: &mut Tables<M, T>,
    ) -> Result<Policy, WriteError<T::Error>> {
        if let ([], [node]) = (member.single, member.layers) {
            let key = (around, node.layer());
            if let Some((of, policy)) = self.last
                && of == key
            {
                return Ok(policy);
            }
            let policy = match self.known.get(&key).copied() {
                Some(policy) => policy,
                None => self.joined(around, member, tables)?,
            };
            self.known.insert(key, policy);
            self.last = Some((key, policy));
            return Ok(policy);
        }
        self.joined(around, member, tables)
    }

    fn joined<A: Family, M: Memory, T: Tries>(
        &mut self,
        around: Policy,
        member: &Member<'_, A>,
        tables: &mut Tables<M, T>,
    ) -> Result<Policy, WriteError<T::Error>> {
        let mut entry = *tables.entry(around);
        for block in member.single {
            entry = entry.joined(self.plan.entry_of(block).unwrap_or_default());
        }
        for node in member.layers {
            entry = entry.joined(self.layer(node.layer()).unwrap_or_default());
        }
        Ok(tables.intern(entry)?)
    }

    fn layer(&mut self, number: usize) -> Option<Entry> {
        let plan = self.plan;
        let layer = &plan.list.layer_index().layers()[number];
        *self.layers[number].get_or_insert_with(|| {
            let terms = &layer.terms;
            plan.entry(&layer.rule, terms.effect, terms.scope, layer.expires)
        })
    }
}
