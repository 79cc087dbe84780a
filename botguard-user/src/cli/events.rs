//! `botguard kernel events`: a line for each sampled drop, as it happens, until stopped.

use std::io;
use std::path::Path;
use std::time::Duration;

use nix::net::if_::if_indextoname;
use nix::poll::poll;
use serde::Serialize;

use super::CommandError;
use crate::enforcement::kernel::{DropEvents, Dropped};
use crate::words::clock::Wall;

/// A drop as it is shown, with `--json` one object a line.
#[derive(Serialize)]
struct Line {
    ts: String,
    source: String,
    rule: Option<String>,
    exit: Option<&'static str>,
    dropped: bool,
    interface: String,
    frame_bytes: u32,
}

/// When to stop by itself.
pub(super) struct Bounds {
    /// After so many lines.
    pub(super) count: Option<u64>,
    /// After so long.
    pub(super) time: Option<Duration>,
}

/// Shows drops until the bounds are reached, or whoever reads goes away.
pub(super) fn follow(
    pin_dir: &Path,
    bounds: &Bounds,
    mut show: impl FnMut(&str) -> io::Result<()>,
    is_json: bool,
) -> Result<(), CommandError> {
    let start = Wall::read();
    let mut events = DropEvents::open(pin_dir, start)?;
    let mut kept = start;
    let mut n_shown = 0;
    loop {
        while let Some(dropped) = events.next_dropped() {
            if bounds.count.is_some_and(|count| n_shown >= count) {
                return Ok(());
            }
            let line = line(&dropped);
            show(&if is_json { json(&line)? } else { text(&line) })?;
            n_shown += 1;
        }
        let now = Wall::read();
        if bounds.time.is_some_and(|time| start.until(now) >= time)
            || bounds.count.is_some_and(|count| n_shown >= count)
        {
            return Ok(());
        }
        if kept.until(now) >= KEEP_INTERVAL {
            events.keep_listening(now)?;
            kept = now;
        }
        // The filter wakes nobody up: that would cost more than the drop. A wait that ends early
        // does no harm.
        let _unused: nix::Result<i32> = poll(&mut [], POLL_INTERVAL_MS);
    }
}

const KEEP_INTERVAL: Duration = Duration::from_secs(1);
const POLL_INTERVAL_MS: u8 = 50;

fn line(dropped: &Dropped) -> Line {
    Line {
        ts: dropped.at.to_string(),
        source: dropped.source.to_string(),
        rule: dropped.rule.as_ref().map(ToString::to_string),
        exit: dropped.exit.map(|exit| exit.name()),
        dropped: dropped.exit.is_some_and(|exit| exit.is_drop()),
        interface: if_indextoname(dropped.interface).map_or_else(
            |_gone| format!("if{}", dropped.interface),
            |name| name.to_string_lossy().into_owned(),
        ),
        frame_bytes: dropped.frame_bytes,
    }
}

fn json(line: &Line) -> io::Result<String> {
    Ok(format!("{}\n", serde_json::to_string(line)?))
}

fn text(line: &Line) -> String {
    format!(
        "{} {:<16} {:<39} {:<13} {:<24} {} bytes\n",
        line.ts,
        line.interface,
        line.source,
        line.exit.unwrap_or("?"),
        line.rule.as_deref().unwrap_or("?"),
        line.frame_bytes
    )
}
