//! The filter on the host: the shared rules on tables in this process's own memory, and, as a
//! check on both, the lists read block by block.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;

use botguard::enforcement::kernel_clock::KernelClock;
use botguard::enforcement::list::BlockList;
use botguard::enforcement::plan::{self, Plan};
use botguard::enforcement::rules::RuleNumbers;
use botguard::enforcement::tables::memory::{OwnMemory, OwnTries};
use botguard::enforcement::tables::{Sizes, Tables};
use botguard::words::block::{Effect, Scope};
use botguard::words::clock::Wall;
use botguard_common::corpus::{LISTENER_PORT, LISTENER_V4, LISTENER_V6};
use botguard_common::entry::Entry;
use botguard_common::lookup::{BucketV4, BucketV6, Memory};
use botguard_common::maps::{Header, Listener, Mode};
use botguard_common::packet::{Source, TCP, Transport, UDP, mapped, network};
use botguard_common::verdict::Tables as Asked;
use ipnet::IpNet;

pub(crate) struct Model {
    tables: Tables<OwnMemory, OwnTries>,
    listeners: BTreeSet<Listener>,
    now: u32,
    mode: Mode,
}

impl Model {
    /// The tables that a list comes to, with other places for the hashed than the kernel's.
    pub(crate) fn new(list: &BlockList, clock: &KernelClock, mode: Mode) -> Self {
        let mut rules = RuleNumbers::default();
        rules.follow(list.layer_rules()).unwrap();
        let sizes = Sizes::of(&plan::needs(list)).unwrap();
        let mut tables = Tables::new(OwnMemory::new(&sizes), OwnTries::default(), 77);
        let plan = Plan {
            list,
            clock,
            rules: &rules,
        };
        plan::fill(plan, &mut tables).unwrap();
        let addresses = [mapped(LISTENER_V4), LISTENER_V6];
        let port_be = LISTENER_PORT.to_be_bytes();
        let listeners = addresses.into_iter().flat_map(|address| {
            let address = Source::v6(address);
            let (high, low) = (address.high(), address.low());
            [
                Listener::new(high, low, port_be, TCP),
                Listener::new(high, low, port_be, UDP),
                Listener::any_of(high, low),
            ]
        });
        Self {
            tables,
            listeners: listeners.collect(),
            now: clock.now(),
            mode,
        }
    }
}

impl Memory for Model {
    type Word = AtomicU64;

    fn header(&self) -> Header {
        self.tables.header()
    }

    fn filter_v4(&self, word: u32) -> u64 {
        Memory::filter_v4(&self.tables, word)
    }

    fn hosts_v4(&self, bucket: u32) -> Option<&BucketV4<AtomicU64>> {
        Memory::hosts_v4(&self.tables, bucket)
    }

    fn page_v4(&self, page: u32, cell: u8) -> u32 {
        self.tables.page_v4(page, cell)
    }

    fn filter_v6_32(&self, word: u32) -> u64 {
        Memory::filter_v6_32(&self.tables, word)
    }

    fn filter_v6_48(&self, word: u32) -> u64 {
        Memory::filter_v6_48(&self.tables, word)
    }

    fn hosts_v6(&self, bucket: u32) -> Option<&BucketV6<AtomicU64>> {
        Memory::hosts_v6(&self.tables, bucket)
    }

    fn net_v6(&self, source: &Source) -> u32 {
        self.tables.net_v6(source)
    }

    fn policy(&self, number: u32) -> Option<&Entry> {
        self.tables.policy(number)
    }
}

impl Asked for Model {
    fn is_allowed(&self, source: &Source) -> bool {
        let source = IpAddr::from(source.as_v6()).to_canonical();
        let mut allows = self.tables.tries().allows.iter();
        allows.any(|network| network.contains(&source))
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

/// What a list says of a packet, read block by block: no tables, no joins, no order.
pub(crate) fn drops(list: &BlockList, packet: &[u8], now: Wall) -> bool {
    let Ok(ip) = network(packet) else {
        return false;
    };
    let source = IpAddr::from(ip.source.as_v6()).to_canonical();
    let covers = |network: &IpNet| network.contains(&source);
    if list.allows().any(|allow| covers(&allow.network)) {
        return false;
    }
    let listener =
        [mapped(LISTENER_V4), LISTENER_V6].contains(&ip.destination(packet).unwrap_or_default());
    let is_meant = listener
        && match ip.transport(packet) {
            Transport::Ports { destination_be, .. } => {
                destination_be == LISTENER_PORT.to_be_bytes()
            }
            Transport::Hidden => true,
            Transport::Other => false,
        };
    let is_live = |end: Option<Wall>| end.is_none_or(|end| now < end);
    let drops = |effect, scope| effect == Effect::Drop && (scope == Scope::Host || is_meant);
    let single = list.blocks().any(|block| {
        covers(&block.network) && is_live(block.expires) && drops(block.effect, block.scope)
    });
    let layers = list.layers().compile();
    single
        || layers.iter().any(|layer| {
            is_live(layer.expires)
                && drops(layer.terms.effect, layer.terms.scope)
                && layer.networks.iter().any(|network| covers(&network))
        })
}
