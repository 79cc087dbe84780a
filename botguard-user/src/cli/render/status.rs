//! `botguard status`. What is wrong, or not enforced, stands first and in capitals: the page is
//! read in a hurry.

use std::fmt;
use std::time::Duration;

use super::render_kernel;
use crate::admin::protocol::{DaemonStatus, DataFileStatus, EndpointLine, RouteStatus, Status};
use crate::words::mode::Mode;
use crate::words::units::Span;

pub(super) fn render(f: &mut fmt::Formatter<'_>, status: &Status) -> fmt::Result {
    for reason in &status.degraded {
        writeln!(f, "DEGRADED    {reason}")?;
    }
    match &status.daemon {
        Some(daemon) => render_daemon(f, daemon)?,
        None => writeln!(f, "daemon      not running")?,
    }
    render_mode(f, status)?;
    for route in &status.routes {
        render_route(f, route)?;
    }
    render_kernel(f, &status.kernel)?;
    writeln!(f, "blocks      {}", status.n_blocks)?;
    writeln!(
        f,
        "lists       {} with {} networks",
        status.n_lists, status.n_list_networks
    )?;
    if status.n_asns > 0 {
        writeln!(f, "systems     {}", status.n_asns)?;
    }
    writeln!(f, "allows      {}", status.n_allows)?;
    if status.n_key_overrides > 0 {
        writeln!(f, "overrides   {} of keys", status.n_key_overrides)?;
    }
    for warning in &status.warnings {
        writeln!(f, "warning     {warning}")?;
    }
    Ok(())
}

fn render_daemon(f: &mut fmt::Formatter<'_>, daemon: &DaemonStatus) -> fmt::Result {
    let up = Span(Duration::from_secs(daemon.up_s));
    writeln!(
        f,
        "daemon      pid {}, version {}, up {up}, policy {}",
        daemon.pid, daemon.version, daemon.policy
    )?;
    for listener in &daemon.listeners {
        writeln!(f, "listener    {} → {}", listener.bind, listener.upstream)?;
        for line in &listener.endpoints {
            let EndpointLine {
                endpoint,
                address,
                state,
                requests,
            } = line;
            writeln!(
                f,
                "endpoint    {endpoint} ({address}) {state}, {requests} requests"
            )?;
        }
    }
    writeln!(f, "metrics     http://{}/metrics", daemon.http)?;
    writeln!(f, "principals  {}", daemon.n_principals)?;
    for file in &daemon.data_files {
        writeln!(f, "data        {}", data_file(file))?;
    }
    if daemon.n_audit_lost > 0 {
        writeln!(f, "AUDIT LOST  {} records", daemon.n_audit_lost)?;
    }
    Ok(())
}

/// Its day is enough to see that it is old.
fn data_file(file: &DataFileStatus) -> String {
    let date = file.date.as_deref().unwrap_or_default();
    let day = date.split('T').next().unwrap_or_default();
    let of = if day.is_empty() { "" } else { " of " };
    format!(
        "{:<16} {}{of}{day}, {} entries",
        file.kind, file.name, file.n_entries
    )
}

fn render_mode(f: &mut fmt::Formatter<'_>, status: &Status) -> fmt::Result {
    let mode = loud(status.mode);
    match &status.mode_override {
        Some(set) => {
            let until = set.until.as_deref().unwrap_or("it is set again");
            writeln!(
                f,
                "mode        {mode} BY COMMAND until {until}; configured: {}",
                status.configured_mode
            )
        }
        None => writeln!(f, "mode        {mode}"),
    }
}

fn render_route(f: &mut fmt::Formatter<'_>, route: &RouteStatus) -> fmt::Result {
    let methods = if route.methods.is_empty() {
        "any".to_owned()
    } else {
        route.methods.join(",")
    };
    let mode = loud(route.effective);
    write!(f, "route       {:<24} {methods:<10} {mode}", route.route)?;
    if route.configured != route.effective {
        write!(f, " (configured: {})", route.configured)?;
    }
    writeln!(f)
}

const fn loud(mode: Mode) -> &'static str {
    match mode {
        Mode::Off => "OFF (NOTHING IS SCORED)",
        Mode::Log => "LOG (NOTHING IS DENIED)",
        Mode::Enforce => "enforce",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_files_show_their_age() {
        let check = |date: Option<&str>, expected: &str| {
            let file = DataFileStatus {
                kind: "asn".to_owned(),
                name: "asn.csv".to_owned(),
                n_entries: 7,
                date: date.map(ToOwned::to_owned),
            };
            assert_eq!(data_file(&file), expected);
        };
        let expected = "asn              asn.csv of 2026-06-17, 7 entries";
        check(Some("2026-06-17T00:00:00.000Z"), expected);
        check(None, "asn              asn.csv, 7 entries");
    }
}
