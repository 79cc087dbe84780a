//! How long a change of the list takes to be enforced: a large list, many bans at once, and one ban
//! as a packet on another core sees it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use aya::programs::Xdp;
use botguard_tests::bench::report::{Goal, Report};
use botguard_tests::bench::statistics::quantile;
use botguard_tests::bench::workload::{Blocked, uniform_hosts};
use botguard_tests::wait::now;
use nix::unistd::Pid;

use crate::object::{XDP_DROP, run};
use crate::ours::{Ours, list};
use crate::packets::syn_v4;
use crate::place::Place;
use crate::{Scale, pin_to, progress};

const SECTION: &str = "from a decision to its enforcement";

/// Measures all three and adds the rows.
pub(crate) fn measure(place: &Place, scale: Scale, report: &mut Report) -> Result<()> {
    let n_hosts = scale.size(1_000_000);
    let hosts = Blocked {
        hosts: uniform_hosts(n_hosts, 1),
        ..Blocked::default()
    };
    let banned = free_hosts(&hosts, scale.size(10_000) + scale.bans);
    let (one_by_one, at_once) = banned.split_at(scale.bans);

    let (mut loads, mut deltas) = (vec![], vec![]);
    let mut loaded = None;
    for round in 0..scale.rounds {
        progress(&format!("latency, round {} of {}", round + 1, scale.rounds));
        let mut ours = Ours::start(&place.pins(&format!("latency-{round}")), &[])?;
        ours.set_list(list(&hosts)?);
        let start = now();
        ours.enforce()?;
        loads.push(ms_since(start));
        let first = hosts.hosts.first().context("no hosts")?;
        check(ours.program(), *first, true)?;
        let start = now();
        ours.ban(at_once)?;
        deltas.push(ms_since(start));
        let last = at_once.last().context("no bans")?;
        check(ours.program(), *last, true)?;
        loaded = Some(ours);
    }
    let mut ours = loaded.context("no rounds")?;
    let (mut calls, mut drops) = single_bans(&mut ours, one_by_one)?;

    let name = format!("cold load of {n_hosts} random hosts, from the list in memory");
    report.judged(SECTION, name, "ms", &loads, Goal::AtMost(100.0));
    let name = format!("{} bans at once beside them", at_once.len());
    report.judged(SECTION, name, "ms", &deltas, Goal::AtMost(5.0));
    let name = "one ban: from the call to the first drop on another core";
    report.judged(SECTION, name, "µs", &drops, Goal::AtMost(10.0));
    drops.sort_by(f64::total_cmp);
    let p99 = quantile(&drops, 99).context("no bans")?;
    report.judged(
        SECTION,
        "one ban: the same, 99th percentile",
        "µs",
        &[p99],
        Goal::AtMost(1_000.0),
    );
    calls.sort_by(f64::total_cmp);
    report.figure(SECTION, "one ban: the call alone", "µs", &calls);
    Ok(())
}

/// Hosts that are not in the list.
fn free_hosts(hosts: &Blocked, n: usize) -> Vec<u32> {
    let mut free = hosts.clean_v4(n, 0xba4);
    free.sort_unstable();
    free.dedup();
    free
}

/// What the core that watches is asked, and what it has seen.
struct Watch {
    /// The source that it sends from.
    source: AtomicU32,
    /// Nanoseconds from [`Self::start`] to the end of the first run that dropped, or 0.
    dropped: AtomicU64,
    /// Runs that passed since it was reset.
    passed: AtomicU32,
    is_over: AtomicBool,
    start: Instant,
}

/// Microseconds of each call, and from each call to the first drop that the other core saw.
fn single_bans(ours: &mut Ours, hosts: &[u32]) -> Result<(Vec<f64>, Vec<f64>)> {
    let watch = Watch {
        source: AtomicU32::new(0),
        dropped: AtomicU64::new(0),
        passed: AtomicU32::new(0),
        is_over: AtomicBool::new(false),
        start: now(),
    };
    let program = ours.program_again()?;
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch.run(&program));
        let result = hosts
            .iter()
            .map(|host| watch.ban(ours, *host))
            .collect::<Result<Vec<_>>>();
        watch.is_over.store(true, Ordering::Relaxed);
        let watched = watcher.join();
        watched.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(result?.into_iter().unzip())
    })
}

impl Watch {
    /// Sends packet after packet until it is told to stop.
    fn run(&self, program: &Xdp) -> Result<()> {
        pin_to(1, Pid::from_raw(0))?;
        let mut source = 0;
        let mut packet = syn_v4(source, [2; 6]);
        while !self.is_over.load(Ordering::Relaxed) {
            let asked = self.source.load(Ordering::Acquire);
            if asked != source {
                source = asked;
                packet = syn_v4(source, [2; 6]);
            }
            // One run at a time is not the case in which the kernel changes its dispatcher.
            let (_ns, action) = run(program, &packet, 1)?;
            let at = self.elapsed();
            if action != XDP_DROP {
                self.passed.fetch_add(1, Ordering::Release);
            } else if self.dropped.load(Ordering::Relaxed) == 0 {
                self.dropped.store(at, Ordering::Release);
            }
        }
        Ok(())
    }

    /// Bans a host that the other core is sending from, and lifts it again.
    fn ban(&self, ours: &mut Ours, host: u32) -> Result<(f64, f64)> {
        self.source.store(host, Ordering::Release);
        self.dropped.store(0, Ordering::Release);
        self.passed.store(0, Ordering::Release);
        // The first may still be of the source before.
        self.wait(|| self.passed.load(Ordering::Acquire) > 2)?;
        let start = self.elapsed();
        ours.ban(&[host])?;
        let called = self.elapsed();
        self.wait(|| self.dropped.load(Ordering::Acquire) != 0)?;
        let dropped = self.dropped.load(Ordering::Acquire);
        ours.unban(host)?;
        Ok((us(called - start), us(dropped.saturating_sub(start))))
    }

    /// Spins, since anything else would measure the scheduler.
    fn wait(&self, is_done: impl Fn() -> bool) -> Result<()> {
        let start = now();
        while !is_done() {
            ensure!(
                start.elapsed().as_secs() < 5,
                "the other core sees no change"
            );
            std::hint::spin_loop();
        }
        Ok(())
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

fn check(program: &Xdp, source: u32, is_blocked: bool) -> Result<()> {
    let (_ns, action) = run(program, &syn_v4(source, [2; 6]), 1)?;
    ensure!((action == XDP_DROP) == is_blocked, "not enforced");
    Ok(())
}

fn ms_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

fn us(ns: u64) -> f64 {
    std::time::Duration::from_nanos(ns).as_secs_f64() * 1e6
}
