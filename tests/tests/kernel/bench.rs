//! A filter on a test bench: loaded and pinned, attached to nothing, fed by BPF_PROG_TEST_RUN.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aya::maps::{Array, Map, MapData};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use aya_obj::programs::XdpAttachType;
use botguard::enforcement::kernel::{KernelFilter, LocalListener, Protocol};
use botguard::enforcement::list::BlockList;
use botguard::enforcement::settings::KernelSettings;
use botguard::words::block::{Allow, Block, Effect, Origin, Scope};
use botguard::words::clock::Wall;
use botguard::words::mode::Mode;
use botguard_common::corpus::{LISTENER_PORT, LISTENER_V4, LISTENER_V6};
use botguard_common::exit::Exit;
use botguard_common::maps::Config;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

/// A bpffs of its own.
pub(crate) struct Bpffs {
    directory: TempDir,
}

impl Bpffs {
    pub(crate) fn mount() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mounted = mount(
            Some("bpf"),
            directory.path(),
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        );
        if let Err(error) = mounted {
            panic!("these tests need root (CAP_SYS_ADMIN) and a kernel with bpffs: {error}");
        }
        Self { directory }
    }

    pub(crate) fn pin_dir(&self) -> PathBuf {
        self.directory.path().join("botguard")
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        umount2(self.directory.path(), MntFlags::MNT_DETACH).unwrap();
    }
}

/// The filter, in enforce mode, with the corpus's listeners.
pub(crate) struct Bench {
    pub(crate) filter: KernelFilter,
    program: Xdp,
    pin_dir: PathBuf,
    // Last, so that the mount goes last.
    _bpffs: Bpffs,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let bpffs = Bpffs::mount();
        let settings = settings(&bpffs.pin_dir(), &[]);
        let mut filter = KernelFilter::attach(&settings).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            filter.mode().unwrap(),
            Mode::Log,
            "a new filter drops nothing"
        );
        filter.set_mode(Mode::Enforce).unwrap();
        filter.set_listeners(&listeners()).unwrap();
        let pin_dir = bpffs.pin_dir();
        Self {
            filter,
            program: program(&pin_dir),
            pin_dir,
            _bpffs: bpffs,
        }
    }

    pub(crate) fn pin_dir(&self) -> &Path {
        &self.pin_dir
    }

    /// Puts a list into the kernel.
    pub(crate) fn load(&mut self, list: &BlockList) {
        self.filter.fill(list, Wall::read()).unwrap();
        // The generation before is gone, program and all.
        self.program = program(&self.pin_dir);
    }

    /// Lets the kernel's clock advance, with nobody there to collect anything.
    pub(crate) fn advance(&self, time: Duration) {
        let path = self.pin_dir.join("v2/map_config");
        let map = MapData::from_pin(path)
            .and_then(Map::from_map_data)
            .unwrap();
        let mut map: Array<_, Config> = map.try_into().unwrap();
        let config = map.get(&0, 0).unwrap();
        let jiffies =
            u64::try_from(time.as_millis()).unwrap() * u64::from(config.jiffies_per_second) / 1_000;
        let anchor_jiffies = config.anchor_jiffies.checked_sub(jiffies).unwrap();
        let config = Config {
            anchor_jiffies,
            ..config
        };
        map.set(0, config, 0).unwrap();
    }

    /// Whether the program drops the packet.
    pub(crate) fn drops(&self, packet: &[u8]) -> bool {
        const XDP_DROP: u32 = 1;
        const XDP_PASS: u32 = 2;
        let mut options = TestRunOptions::new();
        options.data_in = Some(packet);
        match self.program.test_run(options).unwrap().return_value {
            XDP_DROP => true,
            XDP_PASS => false,
            other => panic!("neither XDP_DROP nor XDP_PASS: {other}"),
        }
    }

    /// As [`Self::drops`]; what has no Ethernet header, the kernel takes no test packet of.
    pub(crate) fn drops_if_long(&self, packet: &[u8]) -> bool {
        packet.len() >= 14 && self.drops(packet)
    }

    /// The way out of each packet, by the counters: exactly one moves, by one.
    pub(crate) fn exit(&self, packet: &[u8]) -> Exit {
        let before = self.counters();
        let drops = self.drops(packet);
        let moved = difference(&self.counters(), &before);
        let [(exit, 1)] = moved.as_slice() else {
            panic!("not one counter by one: {moved:?}");
        };
        assert_eq!(exit.is_drop(), drops);
        *exit
    }

    pub(crate) fn counters(&self) -> BTreeMap<Exit, u64> {
        self.filter.stats().unwrap().exits.into_iter().collect()
    }
}

/// The counters that moved, and how far.
pub(crate) fn difference(
    after: &BTreeMap<Exit, u64>,
    before: &BTreeMap<Exit, u64>,
) -> Vec<(Exit, u64)> {
    let moved = after.iter().map(|(exit, n)| (*exit, n - before[exit]));
    moved.filter(|(_, n)| *n > 0).collect()
}

pub(crate) fn settings(pin_dir: &Path, interfaces: &[&str]) -> KernelSettings {
    KernelSettings {
        pin_dir: pin_dir.to_owned(),
        interfaces: interfaces.iter().map(ToString::to_string).collect(),
        ..KernelSettings::default()
    }
}

/// The listeners that the corpus's packets are addressed to.
pub(crate) fn listeners() -> Vec<LocalListener> {
    let addresses = [LISTENER_V4.into(), std::net::IpAddr::from(LISTENER_V6)];
    let listeners = addresses.into_iter().flat_map(|address| {
        [Protocol::Tcp, Protocol::Udp].map(|protocol| LocalListener {
            address: (address, LISTENER_PORT).into(),
            protocol,
        })
    });
    listeners.collect()
}

fn program(pin_dir: &Path) -> Xdp {
    Xdp::from_pin(pin_dir.join("v2/prog"), XdpAttachType::Interface).unwrap()
}

/// A block that drops for the listeners, for ever.
pub(crate) fn block(network: &str) -> Block {
    Block {
        network: network.parse().unwrap(),
        origin: Origin::Operator,
        scope: Scope::Listeners,
        effect: Effect::Drop,
        created: Wall::from_unix_ms(0),
        expires: None,
        reason: "test".to_owned(),
    }
}

pub(crate) fn list(blocks: &[Block], allows: &[&str]) -> BlockList {
    let mut list = BlockList::default();
    for block in blocks {
        list.insert(block.clone());
    }
    for network in allows {
        list.allow(Allow {
            network: network.parse().unwrap(),
            created: Wall::from_unix_ms(0),
            reason: "test".to_owned(),
        });
    }
    list
}
