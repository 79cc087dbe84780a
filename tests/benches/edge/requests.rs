//! What a request costs: HTTP/1.1 and HTTP/2 over kept connections, small and large answers; and
//! what inspection adds, beside nginx with ModSecurity and the Core Rule Set.

use anyhow::Result;
use botguard_tests::bench::report::{Goal, Report};
use botguard_tests::bench::statistics::paired;

use crate::load::{Load, Protocol, send};
use crate::proxies::{Kind, Proxy};
use crate::samples::{Samples, a_second};
use crate::stage::Stage;
use crate::{Scale, progress};

/// One kind of load, and what it is to show.
struct Scene {
    name: &'static str,
    target: &'static str,
    protocol: Protocol,
    n_requests: fn(&Scale) -> u32,
    /// Peer, and how many times botguard's cost its is to be.
    goals: &'static [(Kind, Option<f64>)],
}

const SCENES: [Scene; 4] = [
    Scene {
        name: "HTTP/1.1, 1 KiB",
        target: "/1k",
        protocol: Protocol::Http1,
        n_requests: |scale| scale.requests,
        goals: &[(Kind::Nginx, Some(1.0)), (Kind::Haproxy, None)],
    },
    Scene {
        name: "HTTP/1.1, 100 KiB",
        target: "/100k",
        protocol: Protocol::Http1,
        n_requests: |scale| scale.requests / 6,
        goals: &[(Kind::Nginx, Some(1.5)), (Kind::Haproxy, None)],
    },
    Scene {
        name: "HTTP/2, 1 KiB",
        target: "/1k",
        protocol: Protocol::Http2,
        n_requests: |scale| scale.requests,
        goals: &[(Kind::Nginx, None), (Kind::Haproxy, Some(1.0))],
    },
    Scene {
        name: "HTTP/2, 100 KiB",
        target: "/100k",
        protocol: Protocol::Http2,
        n_requests: |scale| scale.requests / 6,
        goals: &[(Kind::Nginx, None), (Kind::Haproxy, None)],
    },
];

/// Measures every scene, all proxies in turn.
pub(crate) fn measure(
    stage: &Stage,
    proxies: &[Proxy],
    scale: &Scale,
    report: &mut Report,
) -> Result<()> {
    for scene in &SCENES {
        progress(scene.name);
        let load = Load {
            target: scene.target,
            protocol: scene.protocol,
            headers: &[],
            n_requests: (scene.n_requests)(scale),
        };
        let (mut cost, mut busy) = (Samples::default(), Samples::default());
        for round in 0..=scale.rounds {
            for proxy in proxies {
                let sample = send(stage, proxy, &load)?;
                // The first one warms up.
                if round > 0 {
                    cost.add(proxy.kind, sample.us);
                    busy.add(proxy.kind, sample.busy_percent);
                }
            }
        }
        let section = "Requests over TLS, kept connections";
        cost.report(report, section, &format!("{}, CPU", scene.name), "µs");
        let a_core = format!("{}, a second and core", scene.name);
        cost.report_as(report, section, &a_core, "/s", a_second);
        busy.report(report, section, &format!("{}, core busy", scene.name), "%");
        for &(peer, goal) in scene.goals {
            let goal = goal.map(Goal::AtLeast);
            cost.report_ratio(report, section, scene.name, peer, goal);
        }
    }
    Ok(())
}

/// Fields of Chrome on Linux, in its order.
const BROWSER: [&str; 8] = [
    "sec-ch-ua: \"Chromium\";v=\"142\", \"Not_A Brand\";v=\"99\"",
    "sec-ch-ua-mobile: ?0",
    "user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
     Chrome/142.0.0.0 Safari/537.36",
    "accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "sec-fetch-site: same-origin",
    "sec-fetch-mode: navigate",
    "accept-language: en-GB,en;q=0.9",
    "cookie: session=6f1d0c9b2f7a4c3e; theme=dark",
];

/// Measures one load like a browser's on proxies that inspect and the same ones that do not.
pub(crate) fn measure_inspection(
    stage: &Stage,
    proxies: &[Proxy],
    scale: &Scale,
    report: &mut Report,
) -> Result<()> {
    let mut cost = Samples::default();
    progress("inspection");
    for round in 0..=scale.rounds {
        for proxy in proxies {
            let load = Load {
                target: "/1k?page=3&sort=name&query=blue%20shoes",
                protocol: Protocol::Http1,
                headers: &BROWSER,
                n_requests: match proxy.kind {
                    // Some fifty times slower.
                    Kind::NginxCrs => scale.requests / 40,
                    _ => scale.requests,
                },
            };
            let sample = send(stage, proxy, &load)?;
            if round > 0 {
                cost.add(proxy.kind, sample.us);
            }
        }
    }
    let section = "A browser's GET with three arguments, HTTP/1.1, 1 KiB";
    cost.report(report, section, "CPU", "µs");
    cost.report_ratio(report, section, "whole request", Kind::NginxCrs, None);
    let added = |with: Kind, without: Kind| {
        let (with, without) = (cost.of(with), cost.of(without));
        paired(with, without, |with, without| with - without)
    };
    let theirs = added(Kind::NginxCrs, Kind::Nginx);
    let name = "added to nginx by ModSecurity and the rules";
    report.figure(section, name, "µs", &theirs);
    // All that is more than what a proxy without any of it costs. botguard has no such mode of its
    // own: `off` scores and records as well.
    let name = "botguard over nginx alone";
    let ours = added(Kind::Botguard, Kind::Nginx);
    report.figure(section, name, "µs", &ours);
    let shares = paired(&ours, &theirs, |ours, theirs| 1_000.0 * ours / theirs);
    let name = format!("{name}, of what ModSecurity and the rules add");
    report.judged(section, name, "‰", &shares, Goal::AtMost(1_000.0 / 300.0));
    Ok(())
}
