//! A veth between the generator and an engine that drops, the engine's end polled by a kernel
//! thread of its own on core 1, whose time is the engine's cost.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use botguard_tests::namespace::Namespace;
use botguard_tests::wait;
use nix::unistd::Pid;

use crate::packets::LISTENER_V4;
use crate::pin_to;

/// The core that drops.
pub(crate) const RECEIVING_CORE: usize = 1;

/// A veth from the namespace that sends to one of its own.
pub(crate) struct Link {
    /// Where packets arrive.
    pub(crate) namespace: Namespace,
    number: usize,
    poller: Pid,
}

impl Link {
    /// Makes the veth. Packets are not polled by a thread before [`Self::poll_by_thread`].
    pub(crate) fn create(source: &Namespace, number: usize) -> Result<Self> {
        let namespace = Namespace::create(&format!("target-{number}"))?;
        let link = Self {
            namespace,
            number,
            poller: Pid::from_raw(0),
        };
        let (here, there) = (link.source_interface(), link.interface());
        let queues = ["numtxqueues", "1", "numrxqueues", "1"];
        let peer = ["type", "veth", "peer", "name", &there];
        let target = ["netns", link.namespace.name()];
        let arguments = [
            &["link", "add", &here][..],
            &queues,
            &peer,
            &queues,
            &target,
        ]
        .concat();
        source.ip(&arguments)?;
        link.namespace
            .ip(&["addr", "add", &format!("{LISTENER_V4}/24"), "dev", &there])?;
        link.namespace
            .ip(&["link", "set", &there, "address", MAC_TEXT])?;
        link.namespace.ip(&["link", "set", &there, "up"])?;
        source.ip(&["link", "set", &here, "up"])?;
        Ok(link)
    }

    /// The end that sends.
    pub(crate) fn source_interface(&self) -> String {
        format!("s{}", self.number)
    }

    /// The end that drops.
    pub(crate) fn interface(&self) -> String {
        format!("t{}", self.number)
    }

    /// Has the receiving end polled by a thread on [`RECEIVING_CORE`]; after the engine is there.
    pub(crate) fn poll_by_thread(&mut self) -> Result<()> {
        let interface = self.interface();
        // Without an XDP program, it is GRO that makes a veth poll instead of queueing.
        self.run("ethtool", &["-K", &interface, "gro", "on"])?;
        let file = format!("/sys/class/net/{interface}/threaded");
        // `ip netns exec`, since sysfs shows the interfaces of the namespace that mounted it.
        let output = Command::new("ip")
            .args(["netns", "exec", self.namespace.name()])
            .args(["sh", "-c", &format!("echo 1 > {file}")])
            .output()?;
        ensure!(
            output.status.success(),
            "{file}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let name = format!("napi/{interface}-");
        self.poller = wait::until("a polling thread", Duration::from_secs(5), || thread(&name))?;
        pin_to(RECEIVING_CORE, self.poller)
    }

    /// Nanoseconds that the polling thread has run.
    pub(crate) fn busy_ns(&self) -> Result<u64> {
        let path = format!("/proc/{}/schedstat", self.poller);
        let text = std::fs::read_to_string(&path).context(path)?;
        let first = text.split_whitespace().next().context("schedstat")?;
        Ok(first.parse()?)
    }

    /// The driver's counters of the receiving end.
    pub(crate) fn counters(&self) -> Result<BTreeMap<String, u64>> {
        let text = self.run("ethtool", &["-S", &self.interface()])?;
        Ok(text
            .lines()
            .filter_map(|line| {
                let (name, count) = line.split_once(':')?;
                Some((name.trim().to_owned(), count.trim().parse().ok()?))
            })
            .collect())
    }

    /// Packets that the receiving end has polled.
    pub(crate) fn received(&self) -> Result<u64> {
        let counters = self.counters()?;
        counters
            .get("rx_queue_0_xdp_packets")
            .copied()
            .context("the driver counts no packets")
    }

    /// Runs a command where packets arrive; what it wrote.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = self.namespace.command(program).args(arguments).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{program} {}: {}",
            arguments.join(" "),
            said.trim()
        );
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// The process of this name's beginning.
fn thread(name: &str) -> Option<Pid> {
    std::fs::read_dir("/proc")
        .ok()?
        .flatten()
        .find_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let comm = std::fs::read_to_string(entry.path().join("comm")).ok()?;
            comm.starts_with(name).then(|| Pid::from_raw(pid))
        })
}

/// Ethernet address of each receiving end.
pub(crate) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const MAC_TEXT: &str = "02:00:00:00:00:02";
