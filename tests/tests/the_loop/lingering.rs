//! A daemon that has handed over and still serves: what it keeps meanwhile, and how it ends.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use botguard_tests::config::Config;
use botguard_tests::echo_app;
use botguard_tests::host::{Host, UPSTREAM};
use botguard_tests::wait;

use crate::fixture::USER;
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
