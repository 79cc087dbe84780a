//! What happens by the clock: ended blocks are collected, an ended mode override gives way, metrics
//! of the kernel are read, its drops are recorded, what the engine remembers is kept, and moved
//! addresses are followed.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use botguard_common::maps::RuleCounters;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::memory::Patience;
use super::running::Daemon;
use super::surroundings::{Lookup, guard, local_listeners};
use crate::admin::http::Pages as _;
use crate::admin::operations::Running as _;
use crate::audit::record::{DropsRecord, Event, KeyRecord};
use crate::enforcement::kernel::KernelStats;
use crate::enforcement::never_block::own_addresses;
use crate::telemetry::metrics;
use crate::words::block::Origin;
use crate::words::clock::{Now, Wall};
use crate::words::key::{KeyOverride, KeyStanding, KeyState};
use crate::words::rule::Rule;

/// Runs until `shutdown`.
pub(super) async fn run(daemon: Arc<Daemon>, shutdown: CancellationToken) {
    let every = |period| {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks
    };
    let mut second = every(Duration::from_secs(1));
    let mut ten_seconds = every(Duration::from_secs(10));
    let mut minute = every(Duration::from_secs(60));
    let mut local = own_addresses();
    let mut drops = Drops::default();
    loop {
        // All arms are cancellation-safe: a tick that is not seen here is seen next time.
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = second.tick() => each_second(&daemon),
            _ = ten_seconds.tick() => {
                daemon.metrics.upkeep();
                follow_addresses(&daemon, &mut local);
            }
            _ = minute.tick() => drops.record(&daemon),
        }
    }
    drops.record(&daemon);
    keep_memory(&daemon, Patience::Last);
}

/// What fails is logged, and said in status as the store's problem.
fn keep_memory(daemon: &Daemon, patience: Patience) {
    let _logged: Result<(), String> = daemon.keep_memory(patience);
}

fn each_second(daemon: &Daemon) {
    daemon.pipeline.record_lasting(Now::read());
    daemon.enforcer.follow_clock(Now::read_closely());
    keep_memory(daemon, Patience::Wait);
    let now = daemon.enforcer.now();
    for ended in daemon.enforcer.expire_overrides(now) {
        record_end(daemon, ended);
    }
    metrics::overrides(daemon.enforcer.n_key_overrides());
    // With each request too, but there may be none for longer than a gauge stays without.
    metrics::principals(daemon.pipeline.n_principals());
    daemon.enforcer.retry_filling(now);
    let n_ended = daemon.enforcer.expire(now);
    if n_ended > 0 {
        tracing::debug!(n_ended, "blocks have ended");
    }
    if daemon.enforcer.end_override(now) {
        tracing::info!("the mode set by command has ended");
        daemon.mode_changed();
    }
    metrics::degraded(daemon.degraded().len());
    for origin in [Origin::Operator, Origin::Automatic] {
        metrics::kernel_entries(origin.name(), daemon.enforcer.count(origin));
    }
    if let Some(stats) = daemon.enforcer.kernel_stats() {
        for (exit, packets) in stats.exits {
            metrics::kernel_packets(exit.name(), packets);
        }
        for kind in Rule::KINDS {
            let of_kind = stats.rules.iter().filter(|(rule, _)| rule.kind() == kind);
            let (dropped, would_drop) = of_kind.fold((0, 0), |(dropped, would_drop), (_, of)| {
                (dropped + of.dropped, would_drop + of.would_drop)
            });
            metrics::kernel_rule_packets(kind, dropped, would_drop);
        }
    }
}

fn record_end(daemon: &Daemon, ended: KeyOverride) {
    let key = &ended.public_id;
    tracing::info!(
        key,
        reason = ended.reason,
        "the override of a key has ended"
    );
    if ended.ruling.standing != KeyStanding::Suspended {
        return;
    }
    let record = KeyRecord {
        key: format!("{key}…"),
        key_id: ended.public_id,
        from: KeyState::Suspended,
        to: daemon.memory.lock().state(ended.hash),
        by: "time".to_owned(),
        reason: format!("the suspension has ended: {}", ended.reason),
        until: None,
    };
    daemon.audit.record(Wall::read(), Event::Key(record));
}

/// An address that comes or goes moves the listeners of a wildcard, and whom to spare.
fn follow_addresses(daemon: &Daemon, known: &mut Vec<IpAddr>) {
    let local = own_addresses();
    if local == *known {
        return;
    }
    *known = local;
    daemon
        .enforcer
        .set_listeners(&local_listeners(&daemon.bound()));
    daemon.enforcer.set_guard(
        guard(&daemon.loaded.load().settings, Lookup::Names),
        daemon.enforcer.now(),
    );
}

/// What was recorded of the kernel's counters so far.
#[derive(Default)]
struct Drops {
    last: Option<KernelStats>,
}

impl Drops {
    /// One record for each origin that dropped anything since the last call. What was dropped
    /// before the daemon started is nobody's minute, and left out.
    fn record(&mut self, daemon: &Daemon) {
        let Some(stats) = daemon.enforcer.kernel_stats() else {
            return;
        };
        if let Some(last) = &self.last {
            for record in since(last, &stats) {
                daemon.audit.record(Wall::read(), Event::Drops(record));
            }
        }
        self.last = Some(stats);
    }
}

fn since(last: &KernelStats, stats: &KernelStats) -> Vec<DropsRecord> {
    let before = |rule: &Rule| {
        let mut rules = last.rules.iter();
        let before = rules.find(|(of, _)| of == rule);
        before.map_or_else(RuleCounters::default, |(_, counters)| *counters)
    };
    (stats.rules.iter())
        .map(|(rule, now)| {
            let before = before(rule);
            DropsRecord {
                rule: rule.to_string(),
                packets: now.dropped.saturating_sub(before.dropped),
                would_have_dropped: now.would_drop.saturating_sub(before.would_drop),
            }
        })
        .filter(|record| record.packets + record.would_have_dropped > 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_counted_from_the_last_record() {
        let counters = |dropped, would_drop| RuleCounters {
            dropped,
            would_drop,
        };
        let stats = |dropped, would_drop| KernelStats {
            exits: vec![],
            rules: vec![
                (Rule::Single(Origin::Operator), counters(0, 0)),
                (
                    Rule::Single(Origin::Automatic),
                    counters(dropped, would_drop),
                ),
            ],
        };
        assert_eq!(since(&stats(5, 1), &stats(5, 1)), []);
        let records = since(&stats(5, 1), &stats(12, 1));
        assert_eq!(records.len(), 1);
        assert_eq!(
            (records[0].rule.as_str(), records[0].packets),
            ("automatic", 7)
        );
        // A rule that is new begins at zero, and so do maps that were made anew.
        let mut with_list = stats(5, 1);
        let list = Rule::List("spam".parse().unwrap());
        with_list.rules.push((list, counters(3, 0)));
        let records = since(&stats(5, 1), &with_list);
        assert_eq!(
            (records[0].rule.as_str(), records[0].packets),
            ("list:spam", 3)
        );
        assert_eq!(since(&stats(5, 1), &stats(0, 0)), []);
    }
}
