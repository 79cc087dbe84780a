//! botguard's filter as the bench drives it: the one file that knows how a list gets into it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use aya::programs::Xdp;
use aya_obj::programs::XdpAttachType;
use botguard::enforcement::kernel::{KernelFilter, LocalListener, Protocol};
use botguard::enforcement::layer::{AsnBlock, Group, NamedList, Terms};
use botguard::enforcement::list::BlockList;
use botguard::enforcement::network_set::{NetworkSet, Prefix};
use botguard::enforcement::settings::{AttachMode, KernelSettings};
use botguard::words::block::{Block, Effect, Origin, Scope};
use botguard::words::clock::Wall;
use botguard::words::mode::Mode;
use botguard_common::maps::{LAYOUT, SHAPES};
use botguard_tests::bench::workload::{Blocked, NetworkV4, NetworkV6};
use ipnet::{IpNet, Ipv4Net};

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

    /// Blocks what a scene blocks, and nothing else.
    pub(crate) fn load(&mut self, blocked: &Blocked) -> Result<()> {
        self.set_list(list(blocked)?);
        self.enforce()
    }

    /// Takes a list, without telling the kernel.
    pub(crate) fn set_list(&mut self, list: BlockList) {
        self.list = list;
    }

    /// From the list in memory to what the kernel enforces.
    pub(crate) fn enforce(&mut self) -> Result<()> {
        self.filter.fill(&self.list, Wall::read())?;
        // Tables made anew have a program of their own.
        self.program = pinned_program(&self.directory)?;
        Ok(())
    }

    /// Blocks hosts, as decisions of the engine do.
    pub(crate) fn ban(&mut self, hosts: &[u32]) -> Result<()> {
        let networks: Vec<_> = hosts.iter().copied().map(host_network).collect();
        for network in &networks {
            self.list.insert(ban_of(*network));
        }
        Ok(self.filter.refresh(&self.list, &networks, Wall::read())?)
    }

    /// Takes a ban out again.
    pub(crate) fn unban(&mut self, host: u32) -> Result<()> {
        let network = host_network(host);
        self.list.remove(&network, None);
        Ok(self.filter.refresh(&self.list, &[network], Wall::read())?)
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
    pub(crate) fn map_pins(&self) -> Vec<(&'static str, PathBuf)> {
        let pins = SHAPES.iter().map(|shape| {
            let path = self.directory.join(format!("map_{}", shape.name));
            (shape.name, path)
        });
        pins.collect()
    }
}

fn pinned_program(directory: &Path) -> Result<Xdp> {
    let path = directory.join("prog");
    Xdp::from_pin(&path, XdpAttachType::Interface).with_context(|| path.display().to_string())
}

/// The list in memory: hosts and prefixes as imported lists, systems as blocked systems.
pub(crate) fn list(blocked: &Blocked) -> Result<BlockList> {
    let hosts = blocked.hosts.iter().copied().map(Prefix::host).collect();
    let lists = [
        ("hosts", NetworkSet::new(hosts, vec![])),
        ("prefixes", set(&blocked.prefixes, &blocked.v6)),
    ];
    let mut list = BlockList::default();
    list.edit_layers(|layers| {
        for (name, networks) in lists {
            let named = NamedList {
                name: name.parse()?,
                terms: terms(),
                groups: vec![Group {
                    expires: None,
                    networks: Arc::new(networks),
                }],
            };
            if !named.is_empty() {
                layers.lists.insert(named.name.clone(), named);
            }
        }
        for (number, networks) in &blocked.systems {
            let block = AsnBlock {
                number: *number,
                terms: terms(),
                expires: None,
            };
            let networks = Arc::new(set(networks, &[]));
            layers.asns.insert(*number, (block, networks));
        }
        anyhow::Ok(())
    })?;
    Ok(list)
}

fn set(v4: &[NetworkV4], v6: &[NetworkV6]) -> NetworkSet {
    NetworkSet::new(
        v4.iter()
            .map(|&(address, len)| Prefix { address, len })
            .collect(),
        v6.iter()
            .map(|&(address, len)| Prefix { address, len })
            .collect(),
    )
}

fn terms() -> Terms {
    Terms {
        scope: Scope::Listeners,
        effect: Effect::Drop,
        created: Wall::from_unix_ms(0),
        reason: String::new(),
    }
}

fn host_network(address: u32) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from(address), 32))
}

/// An hour, as decisions of the engine give.
fn ban_of(network: IpNet) -> Block {
    let now = Wall::read();
    Block {
        network,
        origin: Origin::Automatic,
        scope: Scope::Listeners,
        effect: Effect::Drop,
        created: now,
        expires: Some(now.after(std::time::Duration::from_secs(3_600))),
        reason: "score 1.00".to_owned(),
    }
}
