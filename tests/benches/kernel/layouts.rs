//! Layouts of the table of hosts that were weighed, on tables of their own: what a lookup costs,
//! and how full a table gets.

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, ArrayOfMaps, MapData};
use botguard_tests::bench::report::Report;
use botguard_tests::bench::statistics::paired;
use botguard_tests::bench::workload::{Blocked, uniform_hosts};

use crate::layout::{BUCKETS_OF_4, BUCKETS_OF_8, SLOTS, buckets};
use crate::object::{Keys, Object, Setup, XDP_DROP, run};
use crate::packets::syn_v4;
use crate::{Scale, progress};

const SECTION: &str = "layouts that were weighed, 1 M random hosts";
const PROGRAMS: [&str; 5] = ["empty", "parse", "slots8", "inner8", "slots16"];

/// Fills the tables, measures, and adds the rows.
pub(crate) fn measure(object: &[u8], scale: Scale, report: &mut Report) -> Result<()> {
    progress("loading layouts");
    let blocked = Blocked {
        hosts: uniform_hosts(scale.size(1_000_000), 1),
        ..Blocked::default()
    };
    let mut object = Object::load(object, &Setup::default())?;
    for program in PROGRAMS {
        object.prepare(&[program, &format!("{program}_cold_v4")])?;
    }
    fill(&mut object, &blocked.hosts)?;
    let n_keys = scale.keys;
    let traffic = [
        (
            "miss",
            Keys::V4(blocked.clean_v4(n_keys, 1)),
            blocked.clean_v4(1, 1)[0],
        ),
        ("hit", Keys::V4(shuffled(&blocked.hosts)), blocked.hosts[0]),
    ];
    let mut samples = vec![vec![]; PROGRAMS.len() * 2 * traffic.len()];
    for round in 0..scale.rounds {
        progress(&format!("layouts, round {} of {}", round + 1, scale.rounds));
        let mut samples = samples.iter_mut();
        let mut add = |ns| samples.by_ref().take(1).for_each(|all| all.push(ns));
        for (name, keys, first) in &traffic {
            let packet = syn_v4(*first, [2; 6]);
            object.fill(keys)?;
            for program in PROGRAMS {
                let (ns, action) = run(object.program(program)?, &packet, scale.warm)?;
                let is_floor = matches!(program, "empty" | "parse");
                let is_right = (action == XDP_DROP) == (*name == "hit");
                ensure!(
                    is_floor || is_right,
                    "{program}: a {name} came out as {action}"
                );
                add(ns);
                let cold = object.program(&format!("{program}_cold_v4"))?;
                add(run(cold, &packet, scale.cold)?.0);
            }
        }
    }
    let mut all = samples.iter();
    let mut empty = [vec![], vec![]];
    for (traffic, _, _) in &traffic {
        for program in PROGRAMS {
            for (heat, empty) in ["warm", "cold"].into_iter().zip(&mut empty) {
                let ns = all.next().context("a sample for each row")?;
                if program == "empty" {
                    empty.clone_from(ns);
                }
                let over = paired(ns, empty, |a, b| a - b);
                let name = format!("{traffic}, {heat}: {}", title(program));
                report.figure(SECTION, name, "ns over empty", &over);
            }
        }
    }
    fullness(scale, report);
    Ok(())
}

fn title(program: &str) -> &str {
    match program {
        "slots8" => "8-byte slots and a policy, lookups inlined",
        "inner8" => "8-byte slots and a policy, in an inner map",
        "slots16" => "16-byte slots, lookups inlined",
        other => other,
    }
}

fn shuffled(hosts: &[u32]) -> Vec<u32> {
    let mut hosts = hosts.to_vec();
    botguard_tests::bench::random::Random::seeded(3).shuffle(&mut hosts);
    hosts
}

fn fill(object: &mut Object, hosts: &[u32]) -> Result<()> {
    let (of_8, _left) = Table::of_8().filled(hosts);
    let (of_16, _left) = Table::of_16().filled(hosts);
    write(&mut object.array("slots_of_8")?, &of_8)?;
    write(&mut object.array("slots_of_16")?, &of_16)?;
    let inner = object.ebpf().take_map("inner").context("inner")?;
    let mut inner: Array<MapData, [u64; 8]> = inner.try_into()?;
    write(&mut inner, &of_8)?;
    let outer = object.ebpf().map_mut("outer").context("outer")?;
    let mut outer: ArrayOfMaps<&mut MapData, Array<MapData, [u64; 8]>> = outer.try_into()?;
    outer.set(0, &inner, 0)?;
    Ok(())
}

fn write<T: std::borrow::BorrowMut<MapData>>(
    map: &mut Array<T, [u64; 8]>,
    table: &Table,
) -> Result<()> {
    for (index, bucket) in (0..).zip(&table.buckets) {
        map.set(index, bucket, 0)?;
    }
    Ok(())
}

/// A table in memory. A slot of 16 bytes is two words, of which the second is a rule's end.
struct Table {
    buckets: Vec<[u64; 8]>,
    words: usize,
}

impl Table {
    fn of_8() -> Self {
        Self {
            buckets: vec![[0; 8]; BUCKETS_OF_8 as usize],
            words: 1,
        }
    }

    fn of_16() -> Self {
        Self {
            buckets: vec![[0; 8]; BUCKETS_OF_4 as usize],
            words: 2,
        }
    }

    /// Puts in host after host, each into the emptier of its two buckets, until both are full:
    /// the table and how many hosts fit.
    fn filled(mut self, hosts: &[u32]) -> (Self, usize) {
        let n_buckets = if self.words == 1 {
            BUCKETS_OF_8
        } else {
            BUCKETS_OF_4
        };
        for (n_in, host) in hosts.iter().enumerate() {
            let (one, other) = buckets(*host, n_buckets);
            let used = |index: u32| {
                let slots = self.buckets[index as usize].chunks(self.words);
                slots.filter(|slot| slot[0] != 0).count()
            };
            let (used_one, used_other) = (used(one), used(other));
            let (index, n_used) = if used_other < used_one {
                (other, used_other)
            } else {
                (one, used_one)
            };
            match self.buckets[index as usize].get_mut(n_used * self.words) {
                Some(slot) => *slot = u64::from(*host),
                None => return (self, n_in),
            }
        }
        (self, hosts.len())
    }
}

/// How many random hosts a table takes before one finds no place, and so the bytes of each.
fn fullness(scale: Scale, report: &mut Report) {
    let mut of_8 = vec![];
    let mut of_16 = vec![];
    for seed in (100..).take(scale.rounds) {
        let hosts = shuffled(&uniform_hosts(SLOTS as usize, seed));
        for (table, samples) in [(Table::of_8(), &mut of_8), (Table::of_16(), &mut of_16)] {
            let bytes = table.buckets.len() * 64;
            let (_table, n_hosts) = table.filled(&hosts);
            let ratio = |a: usize, b: usize| {
                f64::from(u32::try_from(a).unwrap_or(u32::MAX))
                    / f64::from(u32::try_from(b).unwrap_or(u32::MAX))
            };
            samples.push(ratio(bytes, n_hosts));
        }
    }
    let name = "bytes a host when the first one finds no place: 8-byte slots, 8 a bucket";
    report.figure(SECTION, name, "B", &of_8);
    let name = "bytes a host when the first one finds no place: 16-byte slots, 4 a bucket";
    report.figure(SECTION, name, "B", &of_16);
}
