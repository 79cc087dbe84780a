//! The filter itself: one packet and the tables in, one exit out.
//!
//! Order: parse → tables → allowed? → meant for a listener? → mode. Cheap and decisive first: a
//! clean packet is done after one read of a filter, and expiry, allow list, listeners and mode are
//! read for a blocked source only.

use crate::entry::{Entry, Term};
use crate::exit::Exit;
use crate::lookup::{Found, Memory, find};
use crate::maps::{Listener, Mode};
use crate::packet::{Network, PacketBytes, Source, Transport, Unfiltered, network};

/// What the filter asks: maps in the kernel, collections in tests.
pub trait Tables: Memory {
    /// Whether an allowed prefix holds this source.
    fn is_allowed(&self, source: &Source) -> bool;
    /// Whether something listens there.
    fn has_listener(&self, listener: &Listener) -> bool;
    /// Present time in [`crate::entry::ticks`].
    fn now(&self) -> u32;
    /// Whether drops are carried out.
    fn mode(&self) -> Mode;
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// Its way out; the one counter that it moves.
    pub exit: Exit,
    /// On whose account, where the packet was dropped or would have been; else [`NO_RULE`].
    ///
    /// Not an option: of one without a value the compiler copies what happens to be in the
    /// register, and the verifier rejects arithmetic on what may be a pointer.
    pub rule: u32,
}

/// [`Verdict::rule`] of a packet that is on no account.
pub const NO_RULE: u32 = u32::MAX;

/// Judges a packet.
#[inline(always)]
pub fn judge<P, T>(packet: &P, tables: &T) -> Verdict
where
    P: PacketBytes + ?Sized,
    T: Tables + ?Sized,
{
    match network(packet) {
        Ok(network) => judge_source(packet, &network, tables),
        Err(reason) => passed(match reason {
            Unfiltered::NotIp => Exit::NotIp,
            Unfiltered::Truncated => Exit::Truncated,
            Unfiltered::BadHeader => Exit::BadHeader,
            Unfiltered::TooManyTags => Exit::TooManyTags,
        }),
    }
}

#[inline(always)]
fn judge_source<P, T>(packet: &P, network: &Network, tables: &T) -> Verdict
where
    P: PacketBytes + ?Sized,
    T: Tables + ?Sized,
{
    match find(tables, &network.source, || tables.now()) {
        Found::Nothing => passed(Exit::Clean),
        Found::Ended => passed(Exit::Expired),
        Found::Live(entry) => judge_hit(packet, network, tables, entry),
    }
}

#[inline(always)]
fn judge_hit<P, T>(packet: &P, network: &Network, tables: &T, entry: &Entry) -> Verdict
where
    P: PacketBytes + ?Sized,
    T: Tables + ?Sized,
{
    if tables.is_allowed(&network.source) {
        return passed(Exit::Allowed);
    }
    let now = tables.now();
    if entry.drop_host.is_live(now) {
        return dropped(Exit::DropHost, &entry.drop_host, tables.mode());
    }
    let target = target(packet, network, tables);
    if entry.drop_listeners.is_live(now) {
        match target {
            Target::Listener => {
                return dropped(Exit::DropListener, &entry.drop_listeners, tables.mode());
            }
            Target::Hidden => {
                return dropped(Exit::DropHidden, &entry.drop_listeners, tables.mode());
            }
            Target::Elsewhere => {}
        }
    }
    if entry.count_host.is_live(now) {
        return counted(&entry.count_host);
    }
    if entry.count_listeners.is_live(now) && target != Target::Elsewhere {
        return counted(&entry.count_listeners);
    }
    passed(Exit::OutOfScope)
}

/// Whom a packet is meant for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Target {
    /// A listener's port at its local address.
    Listener,
    /// A listener's local address, and nobody can tell the port.
    Hidden,
    /// Something else here, or another host behind this one.
    Elsewhere,
}

#[inline(always)]
fn target<P, T>(packet: &P, network: &Network, tables: &T) -> Target
where
    P: PacketBytes + ?Sized,
    T: Tables + ?Sized,
{
    let Some((high, low)) = network.destination_halves(packet) else {
        return Target::Elsewhere;
    };
    let (listener, meant) = match network.transport(packet) {
        Transport::Other => return Target::Elsewhere,
        Transport::Ports {
            protocol,
            destination_be,
        } => (
            Listener::new(high, low, destination_be, protocol),
            Target::Listener,
        ),
        Transport::Hidden => (Listener::any_of(high, low), Target::Hidden),
    };
    if tables.has_listener(&listener) {
        meant
    } else {
        Target::Elsewhere
    }
}

#[inline(always)]
const fn passed(exit: Exit) -> Verdict {
    Verdict {
        exit,
        rule: NO_RULE,
    }
}

#[inline(always)]
const fn counted(term: &Term) -> Verdict {
    Verdict {
        exit: Exit::Counted,
        rule: term.rule as u32,
    }
}

#[inline(always)]
const fn dropped(exit: Exit, term: &Term, mode: Mode) -> Verdict {
    Verdict {
        exit: match mode {
            Mode::Enforce => exit,
            Mode::Log => Exit::LogMode,
        },
        rule: term.rule as u32,
    }
}

#[cfg(test)]
mod tests;
