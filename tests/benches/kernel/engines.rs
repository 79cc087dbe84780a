//! What drops on a veth: a program that does nothing else, botguard, nftables and ipset, each with
//! the same list.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use aya::programs::XdpMode;
use botguard_tests::bench::workload::Blocked;
use serde_json::Value;

use crate::link::Link;
use crate::object::{Object, Setup};
use crate::ours::Ours;
use crate::place::Place;

/// Something that drops.
pub(crate) enum Engine {
    /// A program that only returns XDP_DROP. Holds its attachment.
    Floor { _object: Object },
    /// The filter.
    Ours(Box<Ours>),
    /// A set in an ingress chain of the netdev family.
    Nftables,
    /// An ipset in iptables' raw table.
    Ipset,
}

impl Engine {
    /// Its names, in the order of the rows.
    pub(crate) const NAMES: [&'static str; 4] = [
        "XDP_DROP and nothing else",
        "botguard, native XDP",
        "nftables, netdev ingress, set",
        "iptables raw, ipset hash:ip",
    ];

    /// Sets one up on a link, to drop `sources`.
    pub(crate) fn set_up(
        name: &str,
        link: &Link,
        sources: &[u32],
        place: &Place,
        object: &[u8],
    ) -> Result<Self> {
        match Self::NAMES.iter().position(|known| *known == name) {
            Some(0) => floor(link, object),
            Some(1) => ours(link, sources, place),
            Some(2) => nftables(link, sources, place.directory()),
            Some(3) => ipset(link, sources, place.directory()),
            _ => anyhow::bail!("no engine {name}"),
        }
    }

    /// Packets that it has dropped, by its own count.
    pub(crate) fn dropped(&self, link: &Link) -> Result<u64> {
        match self {
            Self::Floor { .. } => {
                let counters = link.counters()?;
                counters
                    .get("rx_queue_0_xdp_drops")
                    .copied()
                    .context("no xdp_drops")
            }
            Self::Ours(ours) => ours.dropped(),
            Self::Nftables => {
                let text = link.run("nft", &["-j", "list", "chain", "netdev", TABLE, "ingress"])?;
                counter(&serde_json::from_str(&text)?).context("no counter in the chain")
            }
            Self::Ipset => {
                let text = link.run("iptables", &["-t", "raw", "-vxnL", "PREROUTING"])?;
                let rule = text.lines().find(|line| line.contains("DROP"));
                let packets = rule.and_then(|rule| rule.split_whitespace().next());
                Ok(packets.context("no rule")?.parse()?)
            }
        }
    }
}

fn floor(link: &Link, object: &[u8]) -> Result<Engine> {
    let mut object = Object::load(object, &Setup::default())?;
    object.prepare(&["empty"])?;
    let interface = link.interface();
    let program = object.xdp_mut("empty")?;
    link.namespace.inside(|| {
        program.attach(&interface, XdpMode::Driver)?;
        Ok(())
    })?;
    Ok(Engine::Floor { _object: object })
}

fn ours(link: &Link, sources: &[u32], place: &Place) -> Result<Engine> {
    let pins = place.pins(&format!("engine-{}", sources.len()));
    let interface = link.interface();
    let mut ours = link
        .namespace
        .inside(|| Ours::start(&pins, &[&interface]))?;
    ours.load(&Blocked {
        hosts: sources.to_vec(),
        ..Blocked::default()
    })?;
    Ok(Engine::Ours(Box::new(ours)))
}

fn nftables(link: &Link, sources: &[u32], directory: &Path) -> Result<Engine> {
    let mut rules =
        format!("table netdev {TABLE} {{\n set blocked {{ type ipv4_addr; elements = {{\n");
    for source in sources {
        writeln!(rules, "{},", Ipv4Addr::from(*source))?;
    }
    writeln!(
        rules,
        "}} }}\n chain ingress {{ type filter hook ingress device {} priority 0; \
         ip saddr @blocked counter drop; }}\n}}",
        link.interface()
    )?;
    let file = directory.join("rules.nft");
    std::fs::write(&file, rules)?;
    link.run("nft", &["-f", &file.to_string_lossy()])?;
    Ok(Engine::Nftables)
}

fn ipset(link: &Link, sources: &[u32], directory: &Path) -> Result<Engine> {
    let mut set = format!(
        "create {TABLE} hash:ip maxelem {}\n",
        sources.len().max(1_024)
    );
    for source in sources {
        writeln!(set, "add {TABLE} {}", Ipv4Addr::from(*source))?;
    }
    let file = directory.join("set.ipset");
    std::fs::write(&file, set)?;
    let mut restore: Command = link.namespace.command("ipset");
    let output = restore
        .arg("restore")
        .stdin(Stdio::from(std::fs::File::open(&file)?))
        .output()
        .context("ipset")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let rule = [
        "-t",
        "raw",
        "-A",
        "PREROUTING",
        "-m",
        "set",
        "--match-set",
        TABLE,
        "src",
    ];
    link.run("iptables", &[&rule[..], &["-j", "DROP"]].concat())?;
    Ok(Engine::Ipset)
}

/// The first rule's counter in what `nft -j list` says.
fn counter(listing: &Value) -> Option<u64> {
    listing["nftables"].as_array()?.iter().find_map(|object| {
        let statements = object["rule"]["expr"].as_array()?;
        statements
            .iter()
            .find_map(|statement| statement["counter"]["packets"].as_u64())
    })
}

const TABLE: &str = "bench";
