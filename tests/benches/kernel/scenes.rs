//! ns a packet: every program on every kind of traffic in every scene, in turn, round after round.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use botguard_tests::bench::report::{Goal, Report};
use botguard_tests::bench::statistics::paired;
use botguard_tests::bench::systems::{largest_hosting, made_up};
use botguard_tests::bench::workload::{
    Blocked, clustered_hosts, networks_v6, prefixes, uniform_hosts,
};

use crate::object::run;
use crate::place::Place;
use crate::scene::{Peers, Scene, program_name};
use crate::xdp_filter::XdpFilter;
use crate::{Scale, progress};

const POLICY: &str = "1 M hosts, 500 k prefixes, 500 systems";
const SMALL: &str = "10 k hosts, clustered";
const LARGE: &str = "10 M hosts, clustered";
const SIX: &str = "200 k entries of IPv6";

/// Sets all scenes, measures, and adds the rows.
pub(crate) fn measure(
    place: &Place,
    object: &[u8],
    asn: Option<&Path>,
    scale: Scale,
    report: &mut Report,
) -> Result<()> {
    let mut scenes = vec![];
    for (name, blocked, peers) in lists(asn, scale)? {
        scenes.push(Scene::set(
            place, object, name, &blocked, peers, scale.keys,
        )?);
    }
    let xdp_filter = match XdpFilter::load(place) {
        Ok(xdp_filter) => Some(xdp_filter),
        Err(error) => {
            report.note(format!("xdp-filter was left out: {error:#}"));
            None
        }
    };
    let mut samples = Samples::default();
    for round in 0..scale.rounds {
        progress(&format!("packets, round {} of {}", round + 1, scale.rounds));
        for scene in &mut scenes {
            round_of(scene, xdp_filter.as_ref(), scale, &mut samples)?;
        }
    }
    rows(&samples, report);
    judge(&samples, report);
    Ok(())
}

fn lists(asn: Option<&Path>, scale: Scale) -> Result<Vec<(&'static str, Blocked, Peers)>> {
    let systems = match asn {
        Some(table) => largest_hosting(table, scale.size(500))?,
        None => made_up(scale.size(500), 5),
    };
    let uniform = |n| Blocked {
        hosts: uniform_hosts(scale.size(n), 1),
        ..Blocked::default()
    };
    let clustered = |n| Blocked {
        hosts: clustered_hosts(scale.size(n), 2),
        ..Blocked::default()
    };
    Ok(vec![
        ("nothing", Blocked::default(), Peers::None),
        ("10 k hosts, uniform", uniform(10_000), Peers::Hash),
        ("1 M hosts, uniform", uniform(1_000_000), Peers::Hash),
        ("10 M hosts, uniform", uniform(10_000_000), Peers::None),
        (SMALL, clustered(10_000), Peers::Hash),
        ("1 M hosts, clustered", clustered(1_000_000), Peers::Hash),
        (LARGE, clustered(10_000_000), Peers::None),
        (
            POLICY,
            Blocked {
                prefixes: prefixes(scale.size(500_000), 3),
                systems,
                ..uniform(1_000_000)
            },
            Peers::HashAndTrie,
        ),
        (
            SIX,
            Blocked {
                v6: networks_v6(scale.size(200_000), 4),
                ..Blocked::default()
            },
            Peers::HashAndTrie,
        ),
    ])
}

/// Whether a packet's source is in a cache.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Heat {
    Warm,
    Cold,
}

type Id = (String, &'static str, Heat, &'static str);

#[derive(Default)]
struct Samples {
    ns: BTreeMap<Id, Vec<f64>>,
    /// In the order in which they came first, which is the order of the rows.
    order: Vec<Id>,
}

impl Samples {
    fn add(&mut self, id: Id, ns: f64) {
        self.ns
            .entry(id)
            .or_insert_with_key(|id| {
                self.order.push(id.clone());
                vec![]
            })
            .push(ns);
    }

    fn of(&self, scene: &str, traffic: &'static str, heat: Heat, program: &'static str) -> &[f64] {
        let id = (scene.to_owned(), traffic, heat, program);
        self.ns.get(&id).map_or(&[], Vec::as_slice)
    }
}

fn round_of(
    scene: &mut Scene,
    xdp_filter: Option<&XdpFilter>,
    scale: Scale,
    samples: &mut Samples,
) -> Result<()> {
    for traffic in &scene.traffic {
        let packet = traffic.packet();
        let mut add = |heat, program, ns| {
            samples.add((scene.name.clone(), traffic.name, heat, program), ns);
        };
        for program in &scene.programs {
            // The product's own program, where it needs no prelude.
            let loaded = match *program {
                "filter" => scene.ours.program(),
                other => scene.object.program(program_name(other))?,
            };
            add(Heat::Warm, program, run(loaded, &packet, scale.warm)?.0);
        }
        if let Some(xdp_filter) = xdp_filter.filter(|_| scene.name == POLICY) {
            let packet = xdp_filter.packet(traffic.is_blocked);
            let (ns, _action) = run(xdp_filter.program(), &packet, scale.warm)?;
            add(Heat::Warm, "xdp-filter", ns);
        }
        scene.object.fill(&traffic.keys)?;
        for program in &scene.programs {
            let name = format!("{program}{}", traffic.suffix());
            let ns = run(scene.object.program(&name)?, &packet, scale.cold)?.0;
            add(Heat::Cold, program, ns);
        }
    }
    Ok(())
}

fn rows(samples: &Samples, report: &mut Report) {
    for id in &samples.order {
        let (scene, traffic, heat, program) = id;
        let heat = match heat {
            Heat::Warm => "warm",
            Heat::Cold => "cold",
        };
        let section = format!("ns a packet: {scene}");
        let name = format!("{traffic}, {heat}: {program}");
        report.figure(section, name, "ns", &samples.ns[id]);
    }
}

/// The goals of DESIGN, each from samples of the same rounds.
fn judge(samples: &Samples, report: &mut Report) {
    const SECTION: &str = "ns a packet: goals";
    let over_empty = |scene, traffic, program| {
        let of = |program| samples.of(scene, traffic, Heat::Warm, program);
        paired(of(program), of("empty"), |a, b| a - b)
    };
    for (scene, traffic, bound) in [
        (POLICY, "clean", 4.0),
        (POLICY, "blocked host", 4.0),
        (POLICY, "blocked prefix", 4.0),
        (POLICY, "blocked system", 4.0),
        (SIX, "clean", 8.0),
        (SIX, "blocked", 8.0),
    ] {
        let name = format!("{scene}: {traffic}, warm: filter over an empty program");
        let samples = over_empty(scene, traffic, "filter");
        report.judged(SECTION, name, "ns", &samples, Goal::AtMost(bound));
    }
    for traffic in ["clean", "blocked host"] {
        let ours = over_empty(POLICY, traffic, "filter");
        let theirs = over_empty(POLICY, traffic, "xdp-filter");
        let ratios = paired(&theirs, &ours, |theirs, ours| theirs / ours.max(0.5));
        let name = format!("{POLICY}: {traffic}, warm: xdp-filter's increment to the filter's");
        report.judged(SECTION, name, "×", &ratios, Goal::AtLeast(12.0));
    }
    for (scene, traffic, bound) in [
        (POLICY, "clean", 2.3),
        (SIX, "clean", 3.0),
        (SIX, "clean, of listed /32s", 3.0),
    ] {
        let of = |program| samples.of(scene, traffic, Heat::Cold, program);
        let ratios = paired(of("filter"), of("parse"), |a, b| a / b);
        let name = format!("{scene}: {traffic}, cold: filter to parse-and-return");
        report.judged(SECTION, name, "×", &ratios, Goal::AtMost(bound));
        let ratios = paired(of("hash_lpm"), of("filter"), |a, b| a / b);
        let name = format!("{scene}: {traffic}, cold: hash + trie to the filter");
        report.figure(SECTION, name, "×", &ratios);
    }
    let of = |scene| samples.of(scene, "clean", Heat::Cold, "filter");
    let ratios = paired(of(LARGE), of(SMALL), |a, b| a / b);
    let name = "clean, cold: filter with 10 M clustered hosts to one with 10 k";
    report.judged(SECTION, name, "×", &ratios, Goal::AtMost(1.2));
    report.note(
        "the kernel counts whole nanoseconds a run, so that an increment over the floor is exact \
         to 1 ns",
    );
}
