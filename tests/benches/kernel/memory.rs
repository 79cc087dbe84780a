//! What the tables weigh in the kernel, by map.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use botguard_tests::bench::report::{Goal, Report};
use botguard_tests::bench::workload::{Blocked, uniform_hosts};
use serde_json::Value;

use crate::ours::Ours;
use crate::place::Place;
use crate::{Scale, progress};

const SECTION: &str = "memory in the kernel";
const MIB: f64 = 1_048_576.0;

/// Loads 1 k and 1 M random hosts and adds the rows.
pub(crate) fn measure(place: &Place, scale: Scale, report: &mut Report) -> Result<()> {
    for (name, n_hosts, bound) in [
        ("1 k random hosts", 1_000, 8.0),
        ("1 M random hosts", scale.size(1_000_000), 110.0),
    ] {
        progress(&format!("memory, {name}"));
        let mut ours = Ours::start(&place.pins(&format!("memory-{n_hosts}")), &[])?;
        ours.load(&Blocked {
            hosts: uniform_hosts(n_hosts, 1),
            ..Blocked::default()
        })?;
        let mut sum = 0.0;
        let mut maps = vec![];
        for (map, pin) in ours.map_pins() {
            let mib = locked_bytes(&pin)? / MIB;
            sum += mib;
            maps.push((map, mib));
        }
        report.judged(
            SECTION,
            format!("{name}: all maps"),
            "MiB",
            &[sum],
            Goal::AtMost(bound),
        );
        for (map, mib) in maps {
            report.figure(SECTION, format!("{name}: {map}"), "MiB", &[mib]);
        }
    }
    report.note(
        "memory is the kernel's own `memlock` of each map; for tries it leaves out the inner \
         nodes, up to one for each entry",
    );
    Ok(())
}

fn locked_bytes(pin: &Path) -> Result<f64> {
    let output = Command::new("bpftool")
        .args(["-j", "map", "show", "pinned"])
        .arg(pin)
        .output()
        .context("bpftool")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{}: {said}", pin.display());
    let map: Value = serde_json::from_slice(&output.stdout)?;
    let bytes = map["bytes_memlock"].as_f64();
    bytes.with_context(|| format!("{}: no bytes_memlock", pin.display()))
}
