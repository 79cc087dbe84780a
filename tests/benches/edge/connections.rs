//! What connections cost: new handshakes, full and resumed, memory of idle ones, and gigabytes
//! carried by one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use botguard_tests::bench::report::{Goal, Report};
use botguard_tests::wait;

use crate::bulk::{self, Way};
use crate::client::{self, Shake};
use crate::process::as_f64;
use crate::proxies::{BULK_PORT, Kind, Proxy};
use crate::samples::{Samples, a_second};
use crate::stage::Stage;
use crate::{Scale, progress};

/// Measures handshakes of TLS 1.3, all proxies in turn.
pub(crate) fn measure_handshakes(
    stage: &Stage,
    proxies: &[Proxy],
    scale: &Scale,
    report: &mut Report,
) -> Result<()> {
    let kinds = [
        (Shake::Full, "full", Some(1.8)),
        (Shake::Resumed, "resumed", None),
    ];
    for (kind, name, goal) in kinds {
        progress(&format!("handshakes, {name}"));
        let mut cost = Samples::default();
        for round in 0..=scale.rounds {
            for proxy in proxies {
                let before = proxy.process.settled_cpu_s()?;
                let (port, tls) = (proxy.port, stage.certificate.client(&["http/1.1"]));
                let n_handshakes = scale.handshakes;
                stage
                    .run(move || client::shake(port, tls, kind, n_handshakes))
                    .with_context(|| format!("{}: {name}", proxy.kind.name()))?;
                let cpu_s = proxy.process.settled_cpu_s()? - before;
                if round > 0 {
                    let n_all = n_handshakes + client::preliminary(kind);
                    cost.add(proxy.kind, cpu_s * 1e6 / as_f64(n_all.into()));
                }
            }
        }
        let section = "New connections, TLS 1.3, P-256";
        cost.report(report, section, &format!("{name}, CPU"), "µs");
        cost.report_as(
            report,
            section,
            &format!("{name}, a second and core"),
            "/s",
            a_second,
        );
        cost.report_ratio(report, section, name, Kind::Nginx, goal.map(Goal::AtLeast));
        cost.report_ratio(report, section, name, Kind::Haproxy, None);
    }
    Ok(())
}

/// Measures what a proxy that has just started grows by while idle connections come.
pub(crate) fn measure_idle(
    stage: &Stage,
    kinds: &[Kind],
    start: impl Fn(Kind) -> Result<Proxy>,
    scale: &Scale,
    report: &mut Report,
) -> Result<()> {
    progress("idle connections");
    let mut grown = Samples::default();
    for _round in 0..scale.rounds {
        for &kind in kinds {
            let proxy = start(kind)?;
            let (port, tls) = (proxy.port, stage.certificate.client(&["http/1.1"]));
            let (n_warm, n_held) = (scale.held / 20, scale.held);
            let process = Arc::new(proxy);
            let asked = Arc::clone(&process);
            let kib = stage.run(move || async move {
                // What the first connections make it fetch is no connection's.
                drop(client::hold(port, Arc::clone(&tls), n_warm).await?);
                let before = asked.process.resident_kib()?;
                let held = client::hold(port, tls, n_held).await?;
                let after = asked.process.resident_kib()?;
                drop(held);
                Ok(after - before)
            });
            let kib = kib.with_context(|| kind.name())?;
            grown.add(kind, kib / as_f64(n_held.into()));
        }
    }
    let section = "Memory of idle TLS connections";
    let ours = grown.of(Kind::Botguard).to_vec();
    let name = format!("resident, a connection of {}", scale.held);
    grown.report(report, section, &name, "KiB");
    report.judged(section, "botguard", "KiB", &ours, Goal::AtMost(14.0));
    Ok(())
}

/// Measures CPU and high-water marks while one connection carries gigabytes.
pub(crate) fn measure_bulk(
    stage: &Stage,
    proxies: &[Proxy],
    scale: &Scale,
    report: &mut Report,
) -> Result<()> {
    let _application = stage.spawn(|| bulk::serve(BULK_PORT));
    for (way, name) in [(Way::Up, "upload"), (Way::Down, "download")] {
        let what = format!("{name} of {} GiB", scale.bulk_gib);
        progress(&what);
        let (mut cpu, mut over_before) = (Samples::default(), Samples::default());
        let mut later = Samples::default();
        // Each is long, so few of them say as much as many short ones.
        for _round in 0..scale.rounds.min(3) {
            for proxy in proxies {
                let before = proxy.process.settled_cpu_s()?;
                let resident_kib = proxy.process.resident_kib()?;
                let peaks = carry(stage, proxy, way, scale.bulk_gib << 30)
                    .with_context(|| format!("{}: {what}", proxy.kind.name()))?;
                let cpu_s = proxy.process.settled_cpu_s()? - before;
                cpu.add(proxy.kind, cpu_s / as_f64(scale.bulk_gib));
                let most_kib = peaks.first_half_kib.max(peaks.second_half_kib);
                over_before.add(proxy.kind, (most_kib - resident_kib) / 1024.0);
                let later_kib = peaks.second_half_kib - peaks.first_half_kib;
                later.add(proxy.kind, later_kib / 1024.0);
            }
        }
        let section = "Gigabytes over one connection";
        cpu.report(report, section, &format!("{what}, CPU a GiB"), "s");
        let name = format!("{what}, high-water mark over before");
        over_before.report(report, section, &name, "MiB");
        let name = format!("{what}, high-water mark of its second half over that of its first");
        later.report(report, section, &name, "MiB");
        // A byte kept of a thousand would be half a MiB for each GiB.
        let ours = later.of(Kind::Botguard);
        report.judged(section, name, "MiB", ours, Goal::AtMost(0.5));
    }
    Ok(())
}

/// The most that was resident in each half of a transfer: the same if memory is flat, whatever the
/// transfer made the proxy fetch at its beginning.
struct Peaks {
    first_half_kib: f64,
    second_half_kib: f64,
}

fn carry(stage: &Stage, proxy: &Proxy, way: Way, n_bytes: u64) -> Result<Peaks> {
    let (port, tls) = (
        proxy.kind.bulk_port(),
        stage.certificate.client(&["http/1.1"]),
    );
    let carried = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&carried);
    proxy.process.forget_peak()?;
    let transfer = stage.spawn(move || bulk::carry(port, tls, way, n_bytes, counted));
    wait::until("half is carried", Duration::from_secs(3_600), || {
        let is_half = carried.load(Ordering::Relaxed) >= n_bytes / 2;
        (is_half || transfer.is_finished()).then_some(())
    })?;
    let first_half_kib = proxy.process.peak_kib()?;
    proxy.process.forget_peak()?;
    (transfer.join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let second_half_kib = proxy.process.peak_kib()?;
    Ok(Peaks {
        first_half_kib,
        second_half_kib,
    })
}
