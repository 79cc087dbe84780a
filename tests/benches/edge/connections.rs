//! What connections cost: new handshakes, full and resumed, memory of idle ones, and gigabytes
//! carried by one.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use botguard_tests::bench::report::{Goal, Report};

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

/// Measures CPU and the high-water mark while one connection carries gigabytes.
pub(crate) fn measure_bulk(
    stage: &Stage,
    proxies: &[Proxy],
    scale: &Scale,
    report: &mut Report,
) -> Result<()> {
    let _application = stage.spawn(|| bulk::serve(BULK_PORT));
    for (way, name) in [(Way::Up, "upload"), (Way::Down, "download")] {
        let n_bytes = scale.bulk_gib << 30;
        let what = format!("{name} of {} GiB", scale.bulk_gib);
        progress(&what);
        let (mut cpu, mut grown) = (Samples::default(), Samples::default());
        for proxy in proxies {
            let (port, tls) = (
                proxy.kind.bulk_port(),
                stage.certificate.client(&["http/1.1"]),
            );
            let before = proxy.process.settled_cpu_s()?;
            proxy.process.forget_peak()?;
            let resident_kib = proxy.process.resident_kib()?;
            stage
                .run(move || bulk::carry(port, tls, way, n_bytes))
                .with_context(|| format!("{}: {what}", proxy.kind.name()))?;
            let cpu_s = proxy.process.settled_cpu_s()? - before;
            cpu.add(proxy.kind, cpu_s / as_f64(scale.bulk_gib));
            grown.add(
                proxy.kind,
                (proxy.process.peak_kib()? - resident_kib) / 1024.0,
            );
        }
        let section = "Gigabytes over one connection";
        cpu.report(report, section, &format!("{what}, CPU a GiB"), "s");
        let name = format!("{what}, high-water mark over before");
        grown.report(report, section, &name, "MiB");
    }
    Ok(())
}
