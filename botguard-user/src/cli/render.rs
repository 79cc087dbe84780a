//! Responses as text for people. `--json` bypasses all of it.

mod keys;
mod status;

use std::fmt::{self, Display};
use std::time::Duration;

use crate::admin::protocol::{
    AllowEntry, Allows, AsnEntry, BlockEntry, Blocks, Done, Interface, Kernel, ListEntry,
    PairEntry, Response, Verdict,
};
use crate::words::block::{Effect, Scope};
use crate::words::plain::Plain;
use crate::words::units::Span;

/// A response as text, but for [`Response::Failed`], which is an error's.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a>(pub &'a Response);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Response::Done(done) => render_done(f, done),
            Response::Blocks(Blocks {
                blocks,
                asns,
                lists: named,
                pairs,
            }) => {
                let is_empty = blocks.is_empty() && asns.is_empty() && named.is_empty();
                if is_empty && pairs.is_empty() {
                    writeln!(f, "no blocks")?;
                }
                lines(f, named, list)?;
                lines(f, asns, asn)?;
                lines(f, blocks, block)?;
                lines(f, pairs, pair)
            }
            // The command writes it as a list; this is for whoever prints any response.
            Response::Export(export) => export
                .parts
                .iter()
                .try_for_each(|part| f.write_str(&part.networks)),
            Response::Allows(Allows { allows }) if allows.is_empty() => writeln!(f, "no allows"),
            Response::Allows(Allows { allows }) => lines(f, allows, allow),
            Response::Verdict(verdict) => render_verdict(f, verdict),
            Response::Keys(known) => keys::render(f, known),
            Response::Key(key) => keys::render_one(f, key),
            Response::Kernel(kernel) => render_kernel(f, kernel),
            Response::Status(status) => status::render(f, status),
            Response::Failed(failed) => writeln!(f, "{}", failed.message),
        }
    }
}

fn lines<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    render: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    items.iter().try_for_each(|item| render(f, item))
}

fn render_done(f: &mut fmt::Formatter<'_>, done: &Done) -> fmt::Result {
    for line in &done.did {
        writeln!(f, "{line}")?;
    }
    for line in &done.warnings {
        writeln!(f, "warning: {line}")?;
    }
    Ok(())
}

fn block(f: &mut fmt::Formatter<'_>, block: &BlockEntry) -> fmt::Result {
    writeln!(
        f,
        "{:<24} {:<16} {:<5} {:<9} {:<14} {}",
        // ipnet's Display does not pad.
        block.network.to_string(),
        block.rule,
        effect(block.effect),
        scope(block.scope),
        left(block.left_s),
        Plain(&block.reason),
    )
}

/// At the edge, so neither dropped nor of a scope.
fn pair(f: &mut fmt::Formatter<'_>, pair: &PairEntry) -> fmt::Result {
    let short: String = pair.hash.chars().take(8).collect();
    writeln!(
        f,
        "{:<24} {:<16} {:<5} {:<9} {:<14} {}",
        pair.address.to_string(),
        format!("{} #{short}", pair.kind),
        "403",
        "edge",
        left(Some(pair.left_s)),
        Plain(&pair.reason),
    )
}

fn asn(f: &mut fmt::Formatter<'_>, asn: &AsnEntry) -> fmt::Result {
    write!(
        f,
        "{:<24} {:<16} {:<5} {:<9} {:<14} {}",
        format!("{} networks", asn.n_networks_v4 + asn.n_networks_v6),
        asn.rule,
        effect(asn.effect),
        scope(asn.scope),
        left(asn.left_s),
        Plain(&asn.reason),
    )?;
    match &asn.name {
        Some(name) if asn.reason.is_empty() => writeln!(f, "{}", Plain(name)),
        Some(name) => writeln!(f, " ({})", Plain(name)),
        None => writeln!(f),
    }
}

fn list(f: &mut fmt::Formatter<'_>, list: &ListEntry) -> fmt::Result {
    writeln!(
        f,
        "{:<24} {:<16} {:<5} {:<9} {:<14} {}",
        format!("{} networks", list.n_networks),
        list.rule,
        effect(list.effect),
        scope(list.scope),
        left(list.left_s),
        Plain(&list.reason),
    )
}

const fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Drop => "drop",
        Effect::Count => "count",
    }
}

const fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Listeners => "listeners",
        Scope::Host => "host",
    }
}

fn left(left_s: Option<u64>) -> String {
    left_s.map_or_else(
        || "for good".to_owned(),
        |seconds| format!("for {}", Span(Duration::from_secs(seconds))),
    )
}

fn allow(f: &mut fmt::Formatter<'_>, allow: &AllowEntry) -> fmt::Result {
    writeln!(
        f,
        "{:<24} allow     since {} {}",
        allow.network.to_string(),
        allow.created,
        Plain(&allow.reason)
    )
}

fn render_verdict(f: &mut fmt::Formatter<'_>, verdict: &Verdict) -> fmt::Result {
    let answer = if verdict.dropped { "dropped" } else { "passes" };
    writeln!(f, "{} {answer}: {}", verdict.address, verdict.because)?;
    lines(f, &verdict.allows, allow)?;
    lines(f, &verdict.blocks, block)
}

fn render_kernel(f: &mut fmt::Formatter<'_>, kernel: &Kernel) -> fmt::Result {
    let mode = kernel
        .mode
        .map_or_else(String::new, |mode| format!(", mode {mode}"));
    writeln!(f, "kernel      {}{mode}", kernel.state)?;
    for Interface {
        name,
        mode,
        program,
    } in &kernel.interfaces
    {
        writeln!(f, "  {name:<16} {mode}, program id {program}")?;
    }
    writeln!(f, "entries     {}", kernel.n_entries)?;
    for (title, counters) in [("packets", &kernel.exits), ("drops by", &kernel.drops)] {
        for counter in counters {
            writeln!(f, "{title:<11} {:<26} {}", counter.name, counter.packets)?;
        }
    }
    let would_drop = kernel.would_drop.iter();
    for counter in would_drop.filter(|counter| counter.packets > 0) {
        writeln!(f, "would drop  {:<26} {}", counter.name, counter.packets)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
