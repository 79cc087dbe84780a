//! xdp-filter of xdp-tools, loaded on a veth by its own command, as the peer that people know.
//!
//! Without libxdp's dispatcher, which would add to it. Its pins live in a mount namespace that ends
//! with the commands; the program lives as long as the veth.

use anyhow::{Context as _, Result, bail};
use aya::maps::{Map, MapData, PerCpuHashMap, PerCpuValues};
use aya::programs::Xdp;
use aya::util::nr_cpus;
use aya_obj::programs::XdpAttachType;
use botguard_tests::bench::workload::uniform_hosts;
use botguard_tests::namespace::Namespace;
use serde_json::Value;

use crate::packets::syn_v4;
use crate::place::Place;

/// A loaded xdp-filter that denies as many sources as it can hold.
pub(crate) struct XdpFilter {
    program: Xdp,
    denied: Vec<u32>,
    _namespace: Namespace,
}

impl XdpFilter {
    /// Errors: no such command, or the kernel refuses it.
    pub(crate) fn load(place: &Place) -> Result<Self> {
        let namespace = Namespace::create("xdp-filter")?;
        namespace.ip(&["link", "add", "xf0", "type", "veth", "peer", "name", "xf1"])?;
        namespace.ip(&["link", "set", "xf0", "up"])?;
        namespace.ip(&["link", "set", "xf1", "up"])?;
        let denied = uniform_hosts(MOST, 9);
        let pin = place.pins("xdp-filter");
        let script = format!(
            "mount -t bpf bpf /sys/fs/bpf && xdp-filter load xf0 --mode native --features ipv4 \
             --policy allow && xdp-filter ip --mode src {} && \
             bpftool prog pin id $(bpftool -j net show dev xf0 | \
             sed -E 's/.*\"id\":([0-9]+).*/\\1/') {}",
            std::net::Ipv4Addr::from(denied[0]),
            pin.display()
        );
        let output = namespace
            .command("unshare")
            .args(["--mount", "sh", "-c", &script])
            .env("LIBXDP_SKIP_DISPATCHER", "1")
            .output()
            .context("unshare")?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let program = Xdp::from_pin(&pin, XdpAttachType::Interface)?;
        fill(&program, &denied)?;
        Ok(Self {
            program,
            denied,
            _namespace: namespace,
        })
    }

    /// The program.
    pub(crate) const fn program(&self) -> &Xdp {
        &self.program
    }

    /// A packet that it drops, or one that it passes.
    pub(crate) fn packet(&self, is_blocked: bool) -> Vec<u8> {
        let source = if is_blocked {
            self.denied[0]
        } else {
            u32::from_be_bytes([198, 51, 100, 7])
        };
        syn_v4(source, [2; 6])
    }
}

/// Copies what the command has written for the first source.
fn fill(program: &Xdp, denied: &[u32]) -> Result<()> {
    let id = program.info()?.id().to_string();
    for map in map_ids(&id)? {
        let data = MapData::from_id(map)?;
        let is_addresses = data.info()?.name_as_str() == Some("filter_ipv4");
        if !is_addresses {
            continue;
        }
        let mut map: PerCpuHashMap<_, [u8; 4], u64> = Map::PerCpuHashMap(data).try_into()?;
        let (first, rest) = denied.split_first().context("sources")?;
        let flags = map.get(&first.to_be_bytes(), 0)?;
        let flags = flags.first().copied().context("a CPU")?;
        let n_cpus = nr_cpus().map_err(|(path, error)| anyhow::anyhow!("{path}: {error}"))?;
        for source in rest {
            let values = PerCpuValues::try_from(vec![flags; n_cpus])?;
            map.insert(source.to_be_bytes(), values, 0)?;
        }
        return Ok(());
    }
    bail!("no map `filter_ipv4`")
}

fn map_ids(program: &str) -> Result<Vec<u32>> {
    let output = std::process::Command::new("bpftool")
        .args(["-j", "prog", "show", "id", program])
        .output()
        .context("bpftool")?;
    let program: Value = serde_json::from_slice(&output.stdout)?;
    let ids = program["map_ids"].as_array().context("map_ids")?;
    Ok(ids
        .iter()
        .filter_map(|id| u32::try_from(id.as_u64()?).ok())
        .collect())
}

/// Its map takes 10,000.
const MOST: usize = 9_990;
