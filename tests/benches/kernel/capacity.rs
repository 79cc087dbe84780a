//! Drops a second of one core on a veth, each engine on a link of its own, in turn. The generator
//! has core 0; each receiving end is polled by a thread on core 1.

use anyhow::{Context as _, Result};
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp};
use botguard_tests::bench::random::Random;
use botguard_tests::bench::report::{Goal, Report};
use botguard_tests::bench::statistics::paired;
use botguard_tests::bench::workload::uniform_hosts;
use botguard_tests::namespace::Namespace;
use botguard_tests::wait;
use nix::net::if_::if_nametoindex;
use nix::unistd::Pid;

use crate::engines::Engine;
use crate::layout::generator::{HEADER_SUM, INTERFACE, INTERVAL_NS, N, SENT};
use crate::link::{Link, MAC};
use crate::object::{Keys, Object, Setup};
use crate::packets::{header_sum_v4, syn_v4};
use crate::place::Place;
use crate::{Scale, pin_to, progress};

const SECTION: &str = "drops on a veth, one core";

/// Measures with many sources and with few, and adds the rows.
pub(crate) fn measure(
    place: &Place,
    object: &[u8],
    scale: Scale,
    report: &mut Report,
) -> Result<()> {
    for (n_sources, bound) in [(scale.size(100_000), 3.0), (100, 6.0)] {
        let sources = uniform_hosts(n_sources, 6);
        let mut field = Field::set_up(place, object, &sources, report)?;
        field.measure(scale, report)?;
        field.rows(n_sources, Goal::AtLeast(bound), report);
    }
    Ok(())
}

/// The generator and the links with their engines.
struct Field {
    source: Namespace,
    generator: Object,
    lanes: Vec<Lane>,
}

/// An engine at the end of a link, and its samples by the round.
struct Lane {
    name: &'static str,
    engine: Engine,
    link: Link,
    /// Million packets a second, as fast as they come.
    rate: Vec<f64>,
    /// Nanoseconds of the core's time a packet, as fast as they come.
    cost: Vec<f64>,
    /// Percent of the time in which the core was busy with it.
    busy: Vec<f64>,
    /// Nanoseconds of the core's time a packet, at [`MODERATE`].
    moderate: Vec<f64>,
}

/// A load that every engine keeps up with, in nanoseconds from packet to packet: 0.5 M a second.
const MODERATE: u64 = 2_000;

impl Field {
    fn set_up(place: &Place, object: &[u8], sources: &[u32], report: &mut Report) -> Result<Self> {
        progress(&format!("setting up links for {} sources", sources.len()));
        let source = Namespace::create(&format!("source-{}", sources.len()))?;
        let mut lanes = vec![];
        for (number, name) in Engine::NAMES.into_iter().enumerate() {
            let mut link = Link::create(&source, number)?;
            match Engine::set_up(name, &link, sources, place, object) {
                Ok(engine) => {
                    link.poll_by_thread()?;
                    lanes.push(Lane {
                        name,
                        engine,
                        link,
                        rate: vec![],
                        cost: vec![],
                        busy: vec![],
                        moderate: vec![],
                    });
                }
                Err(error) => report.note(format!("{name} was left out: {error:#}")),
            }
        }
        let mut generator = Object::load(object, &Setup::default())?;
        generator.prepare(&["generate"])?;
        let mut keys = sources.to_vec();
        Random::seeded(8).shuffle(&mut keys);
        generator.fill(&Keys::V4(keys))?;
        Ok(Self {
            source,
            generator,
            lanes,
        })
    }

    fn measure(&mut self, scale: Scale, report: &mut Report) -> Result<()> {
        let Self {
            source,
            generator,
            lanes,
        } = self;
        source.inside(|| {
            pin_to(0, Pid::from_raw(0))?;
            for round in 0..scale.rounds {
                progress(&format!("veth, round {} of {}", round + 1, scale.rounds));
                for lane in &mut *lanes {
                    lane.sample(generator, scale, report)
                        .with_context(|| lane.name.to_owned())?;
                }
            }
            Ok(())
        })
    }

    fn rows(&self, n_sources: usize, over_nftables: Goal, report: &mut Report) {
        let of = |index: usize| {
            self.lanes
                .iter()
                .find(|lane| lane.name == Engine::NAMES[index])
        };
        for lane in &self.lanes {
            let name = |what| format!("{n_sources} sources: {}: {what}", lane.name);
            report.figure(SECTION, name("drops"), "M/s", &lane.rate);
            report.figure(SECTION, name("share of the core"), "%", &lane.busy);
            report.figure(SECTION, name("a packet, saturated"), "ns", &lane.cost);
            report.figure(
                SECTION,
                name("a packet, 0.5 M/s offered"),
                "ns",
                &lane.moderate,
            );
        }
        let Some(ours) = of(1) else {
            return;
        };
        for (index, goal) in [(2, Some(over_nftables)), (3, None)] {
            let Some(peer) = of(index) else {
                continue;
            };
            let name = format!(
                "{n_sources} sources: botguard's drops to those of {}",
                peer.name
            );
            let ratios = paired(&ours.rate, &peer.rate, |a, b| a / b);
            match goal {
                Some(goal) => report.judged(SECTION, name, "×", &ratios, goal),
                None => report.figure(SECTION, name, "×", &ratios),
            }
            let name = format!(
                "{n_sources} sources: {}'s time a packet to botguard's",
                peer.name
            );
            let ratios = paired(&peer.cost, &ours.cost, |a, b| a / b);
            report.figure(SECTION, name, "×", &ratios);
        }
    }
}

/// What happened while packets were sent.
struct Passage {
    dropped: f64,
    busy_ns: f64,
    elapsed_ns: f64,
}

impl Lane {
    fn sample(&mut self, generator: &mut Object, scale: Scale, report: &mut Report) -> Result<()> {
        // How many packets fill the time differs from engine to engine.
        let probe = self.send(generator, PROBE, 0, report)?;
        let traffic_ns = f64::from(u32::try_from(scale.traffic_ms * 1_000_000)?);
        let repeat = whole(traffic_ns / probe.elapsed_ns * f64::from(PROBE));
        let passage = self.send(generator, repeat, 0, report)?;
        self.rate.push(passage.dropped / passage.elapsed_ns * 1e3);
        self.cost.push(passage.busy_ns / passage.dropped);
        self.busy.push(passage.busy_ns / passage.elapsed_ns * 100.0);
        let repeat = u32::try_from(scale.traffic_ms * 1_000_000 / MODERATE)?;
        let passage = self.send(generator, repeat, MODERATE, report)?;
        self.moderate.push(passage.busy_ns / passage.dropped);
        Ok(())
    }

    /// Runs the generator `repeat` times in one call, and waits until what it sent is gone.
    fn send(
        &self,
        generator: &mut Object,
        repeat: u32,
        interval_ns: u64,
        report: &mut Report,
    ) -> Result<Passage> {
        let mut told = [0; N];
        told[INTERFACE] = if_nametoindex(self.link.source_interface().as_str())?.into();
        told[HEADER_SUM] = header_sum_v4().into();
        told[INTERVAL_NS] = interval_ns;
        generator.array::<[u64; N]>("generator")?.set(0, told, 0)?;
        let dropped = self.engine.dropped(&self.link)?;
        let received = self.link.received()?;
        let busy_ns = self.link.busy_ns()?;
        let elapsed_ns = generate(generator.program("generate")?, repeat)?;
        let busy_ns = self.settled()? - busy_ns;
        let received = self.link.received()? - received;
        let dropped = self.engine.dropped(&self.link)? - dropped;
        let sent = generator.array::<[u64; N]>("generator")?.get(&0, 0)?[SENT];
        if received.abs_diff(dropped) > TOLERATED + received / 1_000 {
            report.note(format!(
                "{}: {sent} sent, {received} arrived, {dropped} counted as dropped",
                self.name
            ));
        }
        Ok(Passage {
            dropped: float(dropped).max(1.0),
            busy_ns: float(busy_ns),
            elapsed_ns,
        })
    }

    /// The polling thread's time, once it no longer grows.
    fn settled(&self) -> Result<u64> {
        let mut last = None;
        wait::until("the last packet", std::time::Duration::from_secs(5), || {
            let busy_ns = self.link.busy_ns().ok();
            let is_settled = busy_ns == last;
            last = busy_ns;
            busy_ns.filter(|_| is_settled)
        })
    }
}

/// Sends; nanoseconds that it took, by the kernel's own count.
fn generate(program: &Xdp, repeat: u32) -> Result<f64> {
    let packet = syn_v4(0, MAC);
    let mut options = TestRunOptions::new();
    options.data_in = Some(&packet);
    options.repeat = repeat;
    options.attrs = TestRunAttrs::new().xdp_live_frames(BATCH);
    let each = program.test_run(options)?.duration;
    Ok(float(u64::try_from(each.as_nanos())?) * f64::from(repeat))
}

/// Runs of a probe.
const PROBE: u32 = 1 << 16;
/// Frames that are sent together; the kernel's most is 256.
const BATCH: u32 = 64;
/// Neighbour discovery and the like.
const TOLERATED: u64 = 32;

fn float(count: u64) -> f64 {
    // Counts of minutes at most, far below 2^53.
    std::time::Duration::from_nanos(count).as_secs_f64() * 1e9
}

fn whole(count: f64) -> u32 {
    std::time::Duration::try_from_secs_f64(count / 1e9)
        .ok()
        .and_then(|count| u32::try_from(count.as_nanos()).ok())
        .unwrap_or(u32::MAX)
}
