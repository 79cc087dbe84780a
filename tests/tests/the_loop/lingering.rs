//! A daemon that has handed over and still serves: what it keeps meanwhile, and how it ends.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use botguard_tests::config::Config;
use botguard_tests::daemon::Daemon;
use botguard_tests::echo_app;
use botguard_tests::host::{Host, UPSTREAM};
use botguard_tests::wait;
use nix::sys::signal::Signal;

use crate::fixture::{USER, audit_of};
use crate::privileges::{daemon_pid, set_up, steward_of};
use crate::restart::LongLived;

/// A host with the application that [`LongLived`] asks.
fn echoing(name: &str, config: &Config) -> Result<Host> {
    let mut host = Host::set_up(name, config)?;
    host.lab.add_source(USER.parse()?)?;
    host.serve_with(|| echo_app::serve(UPSTREAM));
    Ok(host)
}

#[test]
fn no_steward_is_left_behind() -> Result<()> {
    let host = echoing("left-steward", &Config::default())?;
    set_up(&host, |text| text)?;
    let mut first = host.botguard.start(&host.lab)?;
    let steward = steward_of(daemon_pid(&host)?)?;
    let mut open = LongLived::open(&host)?;
    let second = host.botguard.take_over(&host.lab)?;
    // A zombie would have its place there still.
    let place = format!("/proc/{steward}");
    wait::until("the steward is gone", Duration::from_secs(5), || {
        (!Path::new(&place).exists()).then_some(())
    })?;
    open.move_something()?;
    ensure!(!first.has_ended(), "it still serves");
    second.stop()
}

/// The first signal leaves a connection its time, the second ends it: by the records, nothing is lost.
fn ends_with_the_second(host: &Host, mut daemon: Daemon, mut open: LongLived) -> Result<()> {
    daemon.signal(Signal::SIGTERM)?;
    wait::until("the first signal", Duration::from_secs(5), || {
        daemon
            .log()
            .contains("another signal ends it")
            .then_some(())
    })?;
    open.move_something()?;
    ensure!(!daemon.has_ended(), "it still serves");
    daemon.signal(Signal::SIGINT)?;
    wait::until("the second signal", Duration::from_secs(10), || {
        daemon.has_ended().then_some(())
    })?;
    daemon.ended()?;
    ensure!(open.end().is_err());
    audit_of(host, 3).map(|_records| ())
}

#[test]
fn a_second_signal_ends_a_drain() -> Result<()> {
    let host = echoing("second-signal", &Config::default())?;
    let daemon = host.botguard.start(&host.lab)?;
    let open = LongLived::open(&host)?;
    ends_with_the_second(&host, daemon, open)
}

#[test]
fn a_second_signal_ends_who_lingers() -> Result<()> {
    let host = echoing("ended-old", &Config::default())?;
    let first = host.botguard.start(&host.lab)?;
    let open = LongLived::open(&host)?;
    let second = host.botguard.take_over(&host.lab)?;
    ends_with_the_second(&host, first, open)?;
    second.stop()
}
