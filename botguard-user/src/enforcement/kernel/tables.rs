//! Typed handles on the pinned maps. The only place that knows how networks become keys.

use std::net::IpAddr;

use aya::Pod;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray};
use botguard_common::entry::Entry;
use botguard_common::maps::{
    ALLOW_V4, ALLOW_V6, BLOCK_HOST_V4, BLOCK_HOST_V6, BLOCK_NET_V4, BLOCK_NET_V6, CLOCK, CONFIG,
    ClockReading, Config, EXITS, LISTENERS, Listener, ORIGIN_COUNTERS, OriginCounters,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::error::KernelError;
use super::pins::Pins;
use crate::enforcement::plan::Entries;

/// Every map of the filter.
pub(super) struct Tables {
    host_v4: HashMap<MapData, [u8; 4], Entry>,
    host_v6: HashMap<MapData, [u8; 16], Entry>,
    net_v4: LpmTrie<MapData, [u8; 4], Entry>,
    net_v6: LpmTrie<MapData, [u8; 16], Entry>,
    allow_v4: LpmTrie<MapData, [u8; 4], u32>,
    allow_v6: LpmTrie<MapData, [u8; 16], u32>,
    pub(super) listeners: HashMap<MapData, Listener, u32>,
    pub(super) config: Array<MapData, Config>,
    pub(super) exits: PerCpuArray<MapData, u64>,
    pub(super) origins: PerCpuArray<MapData, OriginCounters>,
    pub(super) clock: Array<MapData, ClockReading>,
}

/// The value of keys that only need to be there.
pub(super) const PRESENT: u32 = 1;

impl Tables {
    pub(super) fn open(pins: &Pins) -> Result<Self, KernelError> {
        Ok(Self {
            host_v4: open(pins, BLOCK_HOST_V4)?,
            host_v6: open(pins, BLOCK_HOST_V6)?,
            net_v4: open(pins, BLOCK_NET_V4)?,
            net_v6: open(pins, BLOCK_NET_V6)?,
            allow_v4: open(pins, ALLOW_V4)?,
            allow_v6: open(pins, ALLOW_V6)?,
            listeners: open(pins, LISTENERS)?,
            config: open(pins, CONFIG)?,
            exits: open(pins, EXITS)?,
            origins: open(pins, ORIGIN_COUNTERS)?,
            clock: open(pins, CLOCK)?,
        })
    }

    pub(super) fn put(&mut self, network: IpNet, entry: Entry) -> Result<(), KernelError> {
        match Place::of(network) {
            Place::HostV4(key) => of_map(BLOCK_HOST_V4, self.host_v4.insert(key, entry, 0)),
            Place::HostV6(key) => of_map(BLOCK_HOST_V6, self.host_v6.insert(key, entry, 0)),
            Place::NetV4(key) => of_map(BLOCK_NET_V4, self.net_v4.insert(&key, entry, 0)),
            Place::NetV6(key) => of_map(BLOCK_NET_V6, self.net_v6.insert(&key, entry, 0)),
        }
    }

    pub(super) fn delete(&mut self, network: IpNet) -> Result<(), KernelError> {
        match Place::of(network) {
            Place::HostV4(key) => of_map(BLOCK_HOST_V4, gone(self.host_v4.remove(&key))),
            Place::HostV6(key) => of_map(BLOCK_HOST_V6, gone(self.host_v6.remove(&key))),
            Place::NetV4(key) => of_map(BLOCK_NET_V4, gone(self.net_v4.remove(&key))),
            Place::NetV6(key) => of_map(BLOCK_NET_V6, gone(self.net_v6.remove(&key))),
        }
    }

    pub(super) fn allow(&mut self, network: IpNet) -> Result<(), KernelError> {
        match network {
            IpNet::V4(net) => of_map(ALLOW_V4, self.allow_v4.insert(&key_v4(net), PRESENT, 0)),
            IpNet::V6(net) => of_map(ALLOW_V6, self.allow_v6.insert(&key_v6(net), PRESENT, 0)),
        }
    }

    pub(super) fn unallow(&mut self, network: IpNet) -> Result<(), KernelError> {
        match network {
            IpNet::V4(net) => of_map(ALLOW_V4, gone(self.allow_v4.remove(&key_v4(net)))),
            IpNet::V6(net) => of_map(ALLOW_V6, gone(self.allow_v6.remove(&key_v6(net)))),
        }
    }

    /// Everything that is blocked and allowed. Entries that change meanwhile may be missed.
    pub(super) fn entries(&self) -> Result<Entries, KernelError> {
        let mut entries = Entries::default();
        for pair in self.host_v4.iter() {
            let (key, entry) = of_map(BLOCK_HOST_V4, pair)?;
            entries.blocks.insert(IpNet::from(IpAddr::from(key)), entry);
        }
        for pair in self.host_v6.iter() {
            let (key, entry) = of_map(BLOCK_HOST_V6, pair)?;
            entries.blocks.insert(IpNet::from(IpAddr::from(key)), entry);
        }
        for pair in self.net_v4.iter() {
            let (key, entry) = of_map(BLOCK_NET_V4, pair)?;
            entries
                .blocks
                .extend(network(key.data(), &key).map(|net| (net, entry)));
        }
        for pair in self.net_v6.iter() {
            let (key, entry) = of_map(BLOCK_NET_V6, pair)?;
            entries
                .blocks
                .extend(network(key.data(), &key).map(|net| (net, entry)));
        }
        for key in self.allow_v4.keys() {
            let key = of_map(ALLOW_V4, key)?;
            entries.allows.extend(network(key.data(), &key));
        }
        for key in self.allow_v6.keys() {
            let key = of_map(ALLOW_V6, key)?;
            entries.allows.extend(network(key.data(), &key));
        }
        Ok(entries)
    }
}

/// Names the map in an error.
pub(super) fn of_map<T>(map: &'static str, result: Result<T, MapError>) -> Result<T, KernelError> {
    result.map_err(|source| KernelError::Map { map, source })
}

/// Taking out what is not there is in order.
pub(super) fn gone(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error))
            if error.io_error.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(())
        }
        result => result,
    }
}

/// The key of a network, and in which table it stands.
enum Place {
    HostV4([u8; 4]),
    HostV6([u8; 16]),
    NetV4(Key<[u8; 4]>),
    NetV6(Key<[u8; 16]>),
}

impl Place {
    fn of(network: IpNet) -> Self {
        match network {
            IpNet::V4(net) if net.prefix_len() == 32 => Self::HostV4(net.addr().octets()),
            IpNet::V6(net) if net.prefix_len() == 128 => Self::HostV6(net.addr().octets()),
            IpNet::V4(net) => Self::NetV4(key_v4(net)),
            IpNet::V6(net) => Self::NetV6(key_v6(net)),
        }
    }
}

fn key_v4(network: Ipv4Net) -> Key<[u8; 4]> {
    Key::new(u32::from(network.prefix_len()), network.addr().octets())
}

fn key_v6(network: Ipv6Net) -> Key<[u8; 16]> {
    Key::new(u32::from(network.prefix_len()), network.addr().octets())
}

/// `None` for a prefix length that the address has not, which the kernel never stores.
fn network<K: Pod>(address: impl Into<IpAddr>, key: &Key<K>) -> Option<IpNet> {
    let len = u8::try_from(key.prefix_len()).ok()?;
    IpNet::new(address.into(), len).ok()
}

fn open<T: TryFrom<Map, Error = MapError>>(
    pins: &Pins,
    name: &'static str,
) -> Result<T, KernelError> {
    let map = MapData::from_pin(pins.map(name)).and_then(Map::from_map_data);
    of_map(name, map.and_then(T::try_from))
}
