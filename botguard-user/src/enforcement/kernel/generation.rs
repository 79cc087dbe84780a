//! A generation of tables in the kernel: maps made for it, with a program of their own that reads
//! them. Filled aside, it takes the place of the one before between two packets; until then, and
//! if anything goes wrong, that one goes on.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64};

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Map, MapData};
use aya::{Ebpf, Pod};
use botguard_common::entry::Entry;
use botguard_common::lookup::{SLOTS_V4, WORDS_V6};
use botguard_common::mapping::{Mapping, Word};
use botguard_common::maps::{
    ALLOW_V4, ALLOW_V6, FILTER_V4, FILTER_V6_32, FILTER_V6_48, HEADER, HOSTS_V4, HOSTS_V6, Header,
    NETS_V4, NETS_V6, POLICIES,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::error::KernelError;
use super::lasting::{PRESENT, gone, of_map};
use super::pins::Pins;
use crate::enforcement::tables::{Contents, Memory, Tables, Tries, contents};

/// The tables of a generation, to be written.
pub(super) type KernelTables = Tables<MappedMemory, KernelTries>;

/// The tables of a fresh object. Its maps stay open, in it or in them, until its programs are
/// loaded, which name them by their descriptors.
pub(super) fn tables_of(object: &mut Ebpf, seed: u64) -> Result<KernelTables, KernelError> {
    let missing = |name| KernelError::Load(format!("no map {name}").into());
    let memory = MappedMemory::of(|name, words| {
        let map = object.map(name).ok_or_else(|| missing(name))?;
        n_words(name, map, words)
    })?;
    let tries = KernelTries::of(|name| object.take_map(name).ok_or_else(|| missing(name)))?;
    Ok(Tables::new(memory, tries, seed))
}

/// The tables whose maps are pinned aside.
pub(super) fn tables_aside(pins: &Pins, seed: u64) -> Result<KernelTables, KernelError> {
    let open = |name: &'static str| {
        let path = pins.aside(&pins.map(name));
        of_map(name, MapData::from_pin(path).and_then(Map::from_map_data))
    };
    let memory = MappedMemory::of(|name, words| n_words(name, &open(name)?, words))?;
    Ok(Tables::new(memory, KernelTries::of(open)?, seed))
}

/// What is pinned, whoever wrote it.
pub(super) fn pinned_contents(pins: &Pins) -> Result<Contents, KernelError> {
    let open = |name: &'static str| {
        let map = MapData::from_pin(pins.map(name)).and_then(Map::from_map_data);
        of_map(name, map)
    };
    let memory = MappedMemory::of(|name, words| n_words(name, &open(name)?, words))?;
    let tries = KernelTries::of(open)?;
    let policies = open(POLICIES)?;
    let policies: aya::maps::Array<_, Entry> = of_map(POLICIES, policies.try_into())?;
    let entry = |policy| policies.get(&policy, 0).unwrap_or_default();
    contents(&memory, &tries, entry)
}

/// How many hosts, networks and allows are pinned.
pub(super) fn pinned_header(pins: &Pins) -> Result<Header, KernelError> {
    let map = MapData::from_pin(pins.map(HEADER)).and_then(Map::from_map_data);
    let header: aya::maps::Array<_, Header> = of_map(HEADER, map.and_then(TryInto::try_into))?;
    of_map(HEADER, header.get(&0, 0))
}

/// A map's file descriptor, duplicated, and how many words it holds.
fn n_words(name: &'static str, map: &Map, words: usize) -> Result<(OwnedFd, usize), KernelError> {
    let Map::Array(data) = map else {
        return Err(KernelError::Load(format!("map {name} is no array").into()));
    };
    let info = of_map(name, data.info())?;
    let fd = data.fd().as_fd().try_clone_to_owned();
    let fd = fd.map_err(|source| KernelError::pin(name, source))?;
    Ok((fd, info.max_entries() as usize * words))
}

/// The mapped memory of a generation's maps.
#[derive(Debug)]
pub(super) struct MappedMemory {
    filter_v4: Mapping<AtomicU64>,
    hosts_v4: Mapping<AtomicU64>,
    nets_v4: Mapping<AtomicU32>,
    filter_v6_32: Mapping<AtomicU64>,
    filter_v6_48: Mapping<AtomicU64>,
    hosts_v6: Mapping<AtomicU64>,
    policies: Mapping<AtomicU64>,
    header: Mapping<AtomicU64>,
}

impl MappedMemory {
    /// Maps what `open` finds by name, given the words of an entry.
    fn of(
        open: impl Fn(&'static str, usize) -> Result<(OwnedFd, usize), KernelError>,
    ) -> Result<Self, KernelError> {
        fn mapped<W: Word>(
            name: &'static str,
            (fd, n_words): (OwnedFd, usize),
        ) -> Result<Mapping<W>, KernelError> {
            Mapping::of(fd, n_words).map_err(|source| KernelError::pin(name, source))
        }
        Ok(Self {
            filter_v4: mapped(FILTER_V4, open(FILTER_V4, 1)?)?,
            hosts_v4: mapped(HOSTS_V4, open(HOSTS_V4, SLOTS_V4)?)?,
            nets_v4: mapped(NETS_V4, open(NETS_V4, 256)?)?,
            filter_v6_32: mapped(FILTER_V6_32, open(FILTER_V6_32, 1)?)?,
            filter_v6_48: mapped(FILTER_V6_48, open(FILTER_V6_48, 1)?)?,
            hosts_v6: mapped(HOSTS_V6, open(HOSTS_V6, WORDS_V6)?)?,
            policies: mapped(POLICIES, open(POLICIES, 4)?)?,
            header: mapped(HEADER, open(HEADER, 4)?)?,
        })
    }
}

impl Memory for MappedMemory {
    fn filter_v4(&self) -> &[AtomicU64] {
        &self.filter_v4
    }

    fn hosts_v4(&self) -> &[AtomicU64] {
        &self.hosts_v4
    }

    fn nets_v4(&self) -> &[AtomicU32] {
        &self.nets_v4
    }

    fn filter_v6_32(&self) -> &[AtomicU64] {
        &self.filter_v6_32
    }

    fn filter_v6_48(&self) -> &[AtomicU64] {
        &self.filter_v6_48
    }

    fn hosts_v6(&self) -> &[AtomicU64] {
        &self.hosts_v6
    }

    fn policies(&self) -> &[AtomicU64] {
        &self.policies
    }

    fn header(&self) -> &[AtomicU64] {
        &self.header
    }
}

/// The tries of a generation.
pub(super) struct KernelTries {
    nets_v6: LpmTrie<MapData, [u8; 16], u32>,
    allow_v4: LpmTrie<MapData, [u8; 4], u32>,
    allow_v6: LpmTrie<MapData, [u8; 16], u32>,
}

impl KernelTries {
    fn of(
        mut open: impl FnMut(&'static str) -> Result<Map, KernelError>,
    ) -> Result<Self, KernelError> {
        Ok(Self {
            nets_v6: of_map(NETS_V6, open(NETS_V6)?.try_into())?,
            allow_v4: of_map(ALLOW_V4, open(ALLOW_V4)?.try_into())?,
            allow_v6: of_map(ALLOW_V6, open(ALLOW_V6)?.try_into())?,
        })
    }
}

impl std::fmt::Debug for KernelTries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelTries").finish_non_exhaustive()
    }
}

impl Tries for KernelTries {
    type Error = KernelError;

    fn put_net_v6(&mut self, network: Ipv6Net, policy: u32) -> Result<(), KernelError> {
        of_map(NETS_V6, self.nets_v6.insert(&key_v6(network), policy, 0))
    }

    fn delete_net_v6(&mut self, network: Ipv6Net) -> Result<(), KernelError> {
        of_map(NETS_V6, gone(self.nets_v6.remove(&key_v6(network))))
    }

    fn allow(&mut self, network: IpNet) -> Result<(), KernelError> {
        match network {
            IpNet::V4(net) => of_map(ALLOW_V4, self.allow_v4.insert(&key_v4(net), PRESENT, 0)),
            IpNet::V6(net) => of_map(ALLOW_V6, self.allow_v6.insert(&key_v6(net), PRESENT, 0)),
        }
    }

    fn unallow(&mut self, network: IpNet) -> Result<(), KernelError> {
        match network {
            IpNet::V4(net) => of_map(ALLOW_V4, gone(self.allow_v4.remove(&key_v4(net)))),
            IpNet::V6(net) => of_map(ALLOW_V6, gone(self.allow_v6.remove(&key_v6(net)))),
        }
    }

    fn nets_v6(&self) -> Result<Vec<(Ipv6Net, u32)>, KernelError> {
        let mut nets = vec![];
        for pair in self.nets_v6.iter() {
            let (key, policy) = of_map(NETS_V6, pair)?;
            if let Some(len) = len_of(&key, 128) {
                nets.push((Ipv6Net::new_assert(key.data().into(), len), policy));
            }
        }
        Ok(nets)
    }

    fn allows(&self) -> Result<Vec<IpNet>, KernelError> {
        let mut allows = vec![];
        for key in self.allow_v4.keys() {
            let key = of_map(ALLOW_V4, key)?;
            let len = len_of(&key, 32);
            allows.extend(len.map(|len| IpNet::V4(Ipv4Net::new_assert(key.data().into(), len))));
        }
        for key in self.allow_v6.keys() {
            let key = of_map(ALLOW_V6, key)?;
            let len = len_of(&key, 128);
            allows.extend(len.map(|len| IpNet::V6(Ipv6Net::new_assert(key.data().into(), len))));
        }
        Ok(allows)
    }
}

fn key_v4(network: Ipv4Net) -> Key<[u8; 4]> {
    Key::new(u32::from(network.prefix_len()), network.addr().octets())
}

fn key_v6(network: Ipv6Net) -> Key<[u8; 16]> {
    Key::new(u32::from(network.prefix_len()), network.addr().octets())
}

/// `None` for a prefix length that the address has not, which the kernel never stores.
fn len_of<K: Pod>(key: &Key<K>, most: u8) -> Option<u8> {
    u8::try_from(key.prefix_len())
        .ok()
        .filter(|len| *len <= most)
}
