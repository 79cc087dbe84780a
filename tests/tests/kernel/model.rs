//! The filter on the host: the shared rules on collections that mirror the maps.

use std::collections::BTreeSet;
use std::net::IpAddr;

use botguard::enforcement::plan::Entries;
use botguard_common::corpus::{LISTENER_PORT, LISTENER_V4, LISTENER_V6};
use botguard_common::entry::Entry;
use botguard_common::maps::{Listener, Mode};
use botguard_common::packet::{Source, TCP, UDP, mapped};
use botguard_common::verdict::Tables;
use ipnet::IpNet;

pub(crate) struct Model {
    entries: Entries,
    listeners: BTreeSet<Listener>,
    now: u32,
    mode: Mode,
}

impl Model {
    pub(crate) fn new(entries: Entries, now: u32, mode: Mode) -> Self {
        let addresses = [mapped(LISTENER_V4), LISTENER_V6];
        let port_be = LISTENER_PORT.to_be_bytes();
        let listeners = addresses.into_iter().flat_map(|address| {
            [
                Listener::new(address, port_be, TCP),
                Listener::new(address, port_be, UDP),
                Listener::any_of(address),
            ]
        });
        Self {
            entries,
            listeners: listeners.collect(),
            now,
            mode,
        }
    }
}

fn host(source: &Source) -> IpNet {
    IpNet::from(IpAddr::from(source.as_v6()).to_canonical())
}

impl Tables for Model {
    fn host(&self, source: &Source) -> Option<&Entry> {
        self.entries.blocks.get(&host(source))
    }

    fn prefix(&self, source: &Source) -> Option<&Entry> {
        let host = host(source);
        let holding = self.entries.blocks.iter().filter(|(network, _)| {
            network.contains(&host) && network.prefix_len() < host.prefix_len()
        });
        holding
            .max_by_key(|(network, _)| network.prefix_len())
            .map(|(_, entry)| entry)
    }

    fn is_allowed(&self, source: &Source) -> bool {
        let host = host(source);
        self.entries
            .allows
            .iter()
            .any(|network| network.contains(&host))
    }

    fn has_listener(&self, listener: &Listener) -> bool {
        self.listeners.contains(listener)
    }

    fn now(&self) -> u32 {
        self.now
    }

    fn mode(&self) -> Mode {
        self.mode
    }
}
