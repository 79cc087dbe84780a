//! botguard's filter as the bench drives it: the one file that knows how a list gets into it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use aya::programs::Xdp;
use aya_obj::programs::XdpAttachType;
use botguard::enforcement::kernel::{KernelFilter, LocalListener, Protocol};
use botguard::enforcement::list::BlockList;
use botguard::enforcement::plan::{compile, diff, refresh};
use botguard::enforcement::settings::{AttachMode, KernelSettings};
use botguard::words::block::{Block, Effect, Origin, Scope};
use botguard::words::clock::Wall;
use botguard::words::mode::Mode;
use botguard_common::maps::{LAYOUT, SHAPES};
use botguard_tests::bench::workload::Blocked;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::packets::{LISTENER_V4, LISTENER_V6, PORT};

/// A filter in enforce mode that protects the bench's listener.
pub(crate) struct Ours {
    filter: KernelFilter,
    list: BlockList,
    program: Xdp,
    directory: PathBuf,
}

impl Ours {
    /// Pins it below `pin_dir` and attaches it to interfaces of this thread's network namespace.
    pub(crate) fn start(pin_dir: &Path, interfaces: &[&str]) -> Result<Self> {
        let mut filter = KernelFilter::attach(&KernelSettings {
            interfaces: interfaces.iter().map(|&name| name.to_owned()).collect(),
            mode: AttachMode::Native,
            pin_dir: pin_dir.to_owned(),
            ..KernelSettings::default()
        })?;
        filter.set_mode(Mode::Enforce)?;
        let listener = |address| LocalListener {
            address: SocketAddr::new(address, PORT),
            protocol: Protocol::Tcp,
        };
        filter.set_listeners(&[
            listener(IpAddr::V4(LISTENER_V4)),
            listener(IpAddr::V6(LISTENER_V6)),
        ])?;
        let directory = pin_dir.join(format!("v{LAYOUT}"));
        Ok(Self {
            program: pinned_program(&directory)?,
            filter,
            list: BlockList::default(),
            directory,
        })
    }

    /// Blocks what a scene blocks, and nothing else: from the list to what the kernel enforces.
    pub(crate) fn load(&mut self, blocked: &Blocked) -> Result<()> {
        self.set_list(list(blocked));
        self.enforce()
    }

    /// Takes a list, without telling the kernel.
    pub(crate) fn set_list(&mut self, list: BlockList) {
        self.list = list;
    }

    /// Puts the list as it stands into the kernel.
    pub(crate) fn enforce(&mut self) -> Result<()> {
        let clock = self.filter.clock(Wall::read())?;
        let operations = diff(&compile(&self.list, &clock), &self.filter.entries()?);
        self.filter.apply(&operations)?;
        // Growing puts another program in its place.
        self.program = pinned_program(&self.directory)?;
        Ok(())
    }

    /// Blocks one more network, as a decision of the engine does.
    pub(crate) fn ban(&mut self, network: IpNet) -> Result<()> {
        let clock = self.filter.clock(Wall::read())?;
        self.list.insert(block(network, Origin::Automatic));
        let operations = refresh(&self.list, &network, &clock);
        Ok(self.filter.apply(&operations)?)
    }

    /// Takes a block out again.
    pub(crate) fn unban(&mut self, network: IpNet) -> Result<()> {
        let clock = self.filter.clock(Wall::read())?;
        self.list.remove(&network, None);
        let operations = refresh(&self.list, &network, &clock);
        Ok(self.filter.apply(&operations)?)
    }

    /// Blocks many more hosts at once.
    pub(crate) fn ban_all(&mut self, hosts: &[u32]) -> Result<()> {
        let clock = self.filter.clock(Wall::read())?;
        let mut operations = vec![];
        for host in hosts {
            let network = host_network(*host);
            self.list.insert(block(network, Origin::Automatic));
            operations.extend(refresh(&self.list, &network, &clock));
        }
        Ok(self.filter.apply(&operations)?)
    }

    /// The program itself, to run it without an interface.
    pub(crate) const fn program(&self) -> &Xdp {
        &self.program
    }

    /// Another handle of it, for another thread.
    pub(crate) fn program_again(&self) -> Result<Xdp> {
        pinned_program(&self.directory)
    }

    /// Packets dropped, by its own counters.
    pub(crate) fn dropped(&self) -> Result<u64> {
        Ok(self.filter.stats()?.dropped())
    }

    /// Names and pins of its maps.
    pub(crate) fn map_pins(&self) -> Result<Vec<(&'static str, PathBuf)>> {
        let pins = SHAPES.iter().map(|shape| {
            let path = self.directory.join(format!("map_{}", shape.name));
            (shape.name, path)
        });
        Ok(pins.collect())
    }
}

fn pinned_program(directory: &Path) -> Result<Xdp> {
    let path = directory.join("prog");
    Xdp::from_pin(&path, XdpAttachType::Interface).with_context(|| path.display().to_string())
}

/// The network of one IPv4 address.
pub(crate) fn host_network(address: u32) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from(address), 32))
}

/// The list in memory.
pub(crate) fn list(blocked: &Blocked) -> BlockList {
    let mut list = BlockList::default();
    let v4 = |(address, len)| IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from(address), len));
    let v6 = |&(address, len)| IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from(address), len));
    let networks = (blocked.hosts.iter().copied().map(host_network))
        .chain(blocked.networks_v4().map(v4))
        .chain(blocked.v6.iter().map(v6));
    for network in networks {
        list.insert(block(network, Origin::Operator));
    }
    list
}

fn block(network: IpNet, origin: Origin) -> Block {
    Block {
        network,
        origin,
        scope: Scope::Listeners,
        effect: Effect::Drop,
        created: Wall::from_unix_ms(0),
        expires: None,
        reason: String::new(),
    }
}
