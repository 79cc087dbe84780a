//! One list, in the filter's tables and in the kernel's own maps beside them, and the traffic that
//! meets it.

use anyhow::{Context as _, Result, ensure};
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{HashMap, MapData};
use botguard_tests::bench::random::Random;
use botguard_tests::bench::workload::{ALLOCATIONS, Blocked, LISTED_ALLOCATIONS};

use crate::object::{Keys, Object, Setup, XDP_DROP, run};
use crate::ours::Ours;
use crate::packets::{syn_v4, syn_v6};
use crate::place::Place;
use crate::progress;

/// A loaded list.
pub(crate) struct Scene {
    /// For the rows.
    pub(crate) name: String,
    /// The filter.
    pub(crate) ours: Ours,
    /// The programs beside it.
    pub(crate) object: Object,
    /// What is sent.
    pub(crate) traffic: Vec<Traffic>,
    /// Names of the programs that are run, of the object.
    pub(crate) programs: Vec<&'static str>,
}

/// Sources of one kind.
pub(crate) struct Traffic {
    /// For the rows.
    pub(crate) name: &'static str,
    /// The sources, shuffled.
    pub(crate) keys: Keys,
    /// Whether the filter drops them.
    pub(crate) is_blocked: bool,
}

impl Traffic {
    /// A packet of the first source.
    pub(crate) fn packet(&self) -> Vec<u8> {
        match &self.keys {
            Keys::V4(keys) => syn_v4(keys.first().copied().unwrap_or(0), [2; 6]),
            Keys::V6(keys) => syn_v6(keys.first().copied().unwrap_or(0)),
        }
    }

    /// What the programs with a prelude for this family end in.
    pub(crate) const fn suffix(&self) -> &'static str {
        match self.keys {
            Keys::V4(_) => "_cold_v4",
            Keys::V6(_) => "_cold_v6",
        }
    }
}

/// The kernel's own maps to measure beside the filter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Peers {
    /// None: the list is too large to be worth the time.
    None,
    /// Single sources in a hash.
    Hash,
    /// Single sources in a hash, the rest in a trie; each alone as well.
    HashAndTrie,
}

impl Scene {
    /// Loads `blocked` into everything.
    pub(crate) fn set(
        place: &Place,
        object: &[u8],
        name: &str,
        blocked: &Blocked,
        peers: Peers,
        n_keys: usize,
    ) -> Result<Self> {
        progress(&format!("loading {name}"));
        let mut ours = Ours::start(&place.pins(&name.replace(' ', "-")), &[])?;
        ours.load(blocked)?;
        let with_hash = peers != Peers::None;
        let with_trie = peers == Peers::HashAndTrie;
        let sizes = PeerEntries::of(blocked);
        let mut setup = Setup {
            pins: ours.map_pins(),
            ..Setup::default()
        };
        setup.sizes = sizes.of_maps(with_hash, with_trie)?;
        let mut object = Object::load(object, &setup)?;
        if with_hash {
            sizes.fill_hashes(&mut object)?;
        }
        if with_trie {
            sizes.fill_tries(&mut object)?;
        }
        let mut programs = vec!["empty", "parse", "filter"];
        if with_hash {
            programs.push("hash");
        }
        if with_trie {
            programs.extend(["lpm", "hash_lpm"]);
        }
        let traffic = traffic(blocked, n_keys);
        for traffic in &traffic {
            for program in &programs {
                let cold = format!("{program}{}", traffic.suffix());
                object.prepare(&[program_name(program), &cold])?;
            }
        }
        let scene = Self {
            name: name.to_owned(),
            ours,
            object,
            traffic,
            programs,
        };
        scene.check()?;
        Ok(scene)
    }

    /// A fast wrong answer is worth nothing.
    fn check(&self) -> Result<()> {
        for traffic in &self.traffic {
            let (_ns, action) = run(self.ours.program(), &traffic.packet(), 1)?;
            ensure!(
                (action == XDP_DROP) == traffic.is_blocked,
                "{}: a packet that is {} came out as {action}",
                self.name,
                traffic.name
            );
        }
        Ok(())
    }
}

/// The name of a warm program in the object.
pub(crate) fn program_name(program: &str) -> &str {
    match program {
        "filter" => "filter_warm",
        other => other,
    }
}

/// Shuffled sources of each kind.
fn traffic(blocked: &Blocked, n_keys: usize) -> Vec<Traffic> {
    let mut random = Random::seeded(0xb07);
    let mut all = vec![];
    let mut add = |name, keys, is_blocked| {
        all.push(Traffic {
            name,
            keys,
            is_blocked,
        });
    };
    if blocked.v6.is_empty() {
        add("clean", Keys::V4(blocked.clean_v4(n_keys, 0xc1ea)), false);
    } else {
        for (name, n_allocations) in [
            ("clean", ALLOCATIONS),
            ("clean, of listed /32s", LISTED_ALLOCATIONS),
        ] {
            let keys = blocked.clean_v6(n_keys, n_allocations, 0xc1ea);
            add(name, Keys::V6(keys), false);
        }
        let keys = (0..n_keys).map(|_| {
            let (address, len) = *random.choose(&blocked.v6);
            let rest = u128::MAX.checked_shr(u32::from(len)).unwrap_or(0);
            address | (u128::from(random.bits()) << 64 | u128::from(random.bits())) & rest
        });
        add("blocked", Keys::V6(keys.collect()), true);
    }
    if !blocked.hosts.is_empty() {
        let mut keys = blocked.hosts.clone();
        random.shuffle(&mut keys);
        keys.truncate(n_keys);
        add("blocked host", Keys::V4(keys), true);
    }
    let systems: Vec<_> = blocked
        .systems
        .iter()
        .flat_map(|(_, all)| all)
        .copied()
        .collect();
    for (name, networks) in [
        ("blocked prefix", &blocked.prefixes),
        ("blocked system", &systems),
    ] {
        if !networks.is_empty() {
            let keys = (0..n_keys).map(|_| {
                let (address, len) = *random.choose(networks);
                address | random.below(u32::MAX) & u32::MAX.checked_shr(len.into()).unwrap_or(0)
            });
            add(name, Keys::V4(keys.collect()), true);
        }
    }
    all
}

/// The list as the kernel's own maps take it.
struct PeerEntries {
    hosts_v4: Vec<u32>,
    hosts_v6: Vec<u128>,
    networks_v4: Vec<(u32, u8)>,
    networks_v6: Vec<(u128, u8)>,
}

impl PeerEntries {
    fn of(blocked: &Blocked) -> Self {
        let (hosts_v6, networks_v6): (Vec<_>, Vec<_>) =
            blocked.v6.iter().partition(|(_address, len)| *len == 128);
        Self {
            hosts_v4: blocked.hosts.clone(),
            hosts_v6: hosts_v6
                .into_iter()
                .map(|(address, _len)| address)
                .collect(),
            networks_v4: blocked.networks_v4().collect(),
            networks_v6,
        }
    }

    fn of_maps(&self, with_hash: bool, with_trie: bool) -> Result<Vec<(&'static str, u32)>> {
        let size = |n: usize, is_wanted: bool| u32::try_from(if is_wanted { n.max(1) } else { 1 });
        Ok(vec![
            ("peer_hash_v4", size(self.hosts_v4.len(), with_hash)?),
            ("peer_hash_v6", size(self.hosts_v6.len(), with_hash)?),
            ("peer_lpm_v4", size(self.networks_v4.len(), with_trie)?),
            ("peer_lpm_v6", size(self.networks_v6.len(), with_trie)?),
        ])
    }

    fn fill_hashes(&self, object: &mut Object) -> Result<()> {
        let mut v4: HashMap<&mut MapData, [u8; 4], u64> =
            map(object, "peer_hash_v4")?.try_into()?;
        for address in &self.hosts_v4 {
            v4.insert(address.to_be_bytes(), 1, 0)?;
        }
        let mut v6: HashMap<&mut MapData, [u8; 16], u64> =
            map(object, "peer_hash_v6")?.try_into()?;
        for address in &self.hosts_v6 {
            v6.insert(address.to_be_bytes(), 1, 0)?;
        }
        Ok(())
    }

    fn fill_tries(&self, object: &mut Object) -> Result<()> {
        let mut v4: LpmTrie<&mut MapData, [u8; 4], u64> = map(object, "peer_lpm_v4")?.try_into()?;
        for (address, len) in &self.networks_v4 {
            v4.insert(&Key::new((*len).into(), address.to_be_bytes()), 1, 0)?;
        }
        let mut v6: LpmTrie<&mut MapData, [u8; 16], u64> =
            map(object, "peer_lpm_v6")?.try_into()?;
        for (address, len) in &self.networks_v6 {
            v6.insert(&Key::new((*len).into(), address.to_be_bytes()), 1, 0)?;
        }
        Ok(())
    }
}

fn map<'a>(object: &'a mut Object, name: &str) -> Result<&'a mut aya::maps::Map> {
    object.ebpf().map_mut(name).with_context(|| name.to_owned())
}
