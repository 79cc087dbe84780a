//! The listeners as the kernel's table wants them: local addresses, no wildcards.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, Release};

use botguard_common::hash::buckets_v6;
use botguard_common::lookup::{SLOTS_V6, WORDS_V6, low, meta_v6};
use botguard_common::maps::{LISTENER_BUCKETS, LISTENER_SEED, LISTENERS, Listener};
use botguard_common::packet::{Source, TCP, UDP};

use crate::enforcement::tables::Full;
use crate::words::address::canonical;

/// Something that listens.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LocalListener {
    /// Local address, not a wildcard, and port.
    pub address: SocketAddr,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// The protocols that have ports to listen on.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Writes each wildcard bind (`0.0.0.0`, `[::]`) out as the local addresses it stands for. `[::]`
/// stands for those of IPv4 too, as Linux has it unless told otherwise: at worst an IPv4 source is
/// kept from a port where nothing of botguard's listens.
#[must_use]
pub fn expand_wildcards(
    binds: &[SocketAddr],
    protocol: Protocol,
    local: &[IpAddr],
) -> Vec<LocalListener> {
    let expanded = binds.iter().flat_map(|bind| {
        let addresses: Vec<IpAddr> = match canonical(bind.ip()) {
            IpAddr::V4(any) if any.is_unspecified() => {
                local.iter().copied().filter(IpAddr::is_ipv4).collect()
            }
            IpAddr::V6(any) if any.is_unspecified() => local.to_vec(),
            address => vec![address],
        };
        let port = bind.port();
        addresses.into_iter().map(move |address| LocalListener {
            address: SocketAddr::new(address, port),
            protocol,
        })
    });
    expanded.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The keys of the kernel's table: each listener, and for each of their addresses the key that
/// stands for all of them.
pub(super) fn keys(listeners: &[LocalListener]) -> BTreeSet<Listener> {
    let keys = listeners.iter().flat_map(|listener| {
        let address = match canonical(listener.address.ip()) {
            IpAddr::V4(v4) => Source::v4(v4.octets()),
            IpAddr::V6(v6) => Source::v6(v6.octets()),
        };
        let (high, low) = (address.high(), address.low());
        let protocol = match listener.protocol {
            Protocol::Tcp => TCP,
            Protocol::Udp => UDP,
        };
        let port_be = listener.address.port().to_be_bytes();
        [
            Listener::new(high, low, port_be, protocol),
            Listener::any_of(high, low),
        ]
    });
    keys.collect()
}

/// Brings the table to the keys: what is new first, so that none is missing meanwhile.
///
/// Errors: the table is full; what was there before stays.
pub(super) fn write(table: &[AtomicU64], wanted: &BTreeSet<Listener>) -> Result<(), Full> {
    let buckets = table.as_chunks::<WORDS_V6>().0;
    for listener in wanted {
        put(buckets, listener)?;
    }
    for slot in buckets.iter().flat_map(slots) {
        if slot.is_taken() && !wanted.contains(&slot.listener()) {
            slot.meta.store(0, Release);
        }
    }
    Ok(())
}

fn put(buckets: &[[AtomicU64; WORDS_V6]], listener: &Listener) -> Result<(), Full> {
    let Listener { high, low, tag } = *listener;
    let homes = buckets_v6(high, low, tag, LISTENER_SEED, LISTENER_BUCKETS - 1);
    // The table has as many buckets as the mask says.
    let homes = homes.map(|index| &buckets[index as usize]);
    let mut all = homes.into_iter().flat_map(slots);
    if all.any(|slot| slot.is_taken() && slot.listener() == *listener) {
        return Ok(());
    }
    let free = |home: &&[AtomicU64; WORDS_V6]| slots(home).filter(|slot| !slot.is_taken()).count();
    let emptier = homes.into_iter().max_by_key(free);
    let slot = emptier.and_then(|home| slots(home).find(|slot| !slot.is_taken()));
    let slot = slot.ok_or(Full(LISTENERS))?;
    slot.high.store(high, Release);
    slot.low.store(low, Release);
    slot.meta.store(meta_v6(PRESENT, tag), Release);
    Ok(())
}

/// In place of a policy.
const PRESENT: u32 = 1;

struct Slot<'a> {
    high: &'a AtomicU64,
    low: &'a AtomicU64,
    meta: &'a AtomicU64,
}

impl Slot<'_> {
    fn is_taken(&self) -> bool {
        self.meta.load(Relaxed) != 0
    }

    fn listener(&self) -> Listener {
        Listener {
            high: self.high.load(Relaxed),
            low: self.low.load(Relaxed),
            tag: low(self.meta.load(Relaxed)),
        }
    }
}

fn slots(bucket: &[AtomicU64; WORDS_V6]) -> impl Iterator<Item = Slot<'_>> {
    let (highs, rest) = bucket.split_at(SLOTS_V6);
    let (lows, metas) = rest.split_at(SLOTS_V6);
    let words = highs.iter().zip(lows).zip(metas);
    words.map(|((high, low), meta)| Slot { high, low, meta })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_become_local_addresses() {
        let local: Vec<IpAddr> = ["127.0.0.1", "192.0.2.1", "2001:db8::1"]
            .map(|address| address.parse().unwrap())
            .to_vec();
        let check = |bind: &str, expected: &[&str]| {
            let binds = [bind.parse().unwrap()];
            let found = expand_wildcards(&binds, Protocol::Tcp, &local);
            let found: Vec<_> = found
                .iter()
                .map(|found| found.address.to_string())
                .collect();
            assert_eq!(found, expected);
        };
        check("192.0.2.1:443", &["192.0.2.1:443"]);
        check("[::ffff:192.0.2.1]:443", &["192.0.2.1:443"]);
        check("0.0.0.0:443", &["127.0.0.1:443", "192.0.2.1:443"]);
        check(
            "[::]:443",
            &["127.0.0.1:443", "192.0.2.1:443", "[2001:db8::1]:443"],
        );
    }

    #[test]
    fn an_address_has_one_key_for_all_its_listeners() {
        let listener = |text: &str| LocalListener {
            address: text.parse().unwrap(),
            protocol: Protocol::Tcp,
        };
        let keys = keys(&[listener("192.0.2.1:443"), listener("192.0.2.1:80")]);
        assert_eq!(keys.len(), 3);
        let address = Source::v4([192, 0, 2, 1]);
        assert!(keys.contains(&Listener::any_of(address.high(), address.low())));
    }
    #[test]
    fn the_table_holds_the_listeners_and_no_others() {
        let words = LISTENER_BUCKETS as usize * WORDS_V6;
        let table: Vec<_> = (0..words).map(|_| AtomicU64::new(0)).collect();
        let keys = |numbers: std::ops::Range<u16>| -> BTreeSet<Listener> {
            let listener = |port: u16| Listener::new(0, 7, port.to_be_bytes(), TCP);
            numbers.map(listener).collect()
        };
        let held = || -> BTreeSet<Listener> {
            let slots = table.as_chunks().0.iter().flat_map(slots);
            let taken = slots.filter(Slot::is_taken);
            taken.map(|slot| slot.listener()).collect()
        };
        for wanted in [keys(0..1_000), keys(500..2_500), keys(1..2), keys(0..0)] {
            write(&table, &wanted).unwrap();
            assert_eq!(held(), wanted);
        }
        assert!(
            write(&table, &keys(0..6_000)).is_err(),
            "more than its slots"
        );
    }
}
