//! Whoever is allowed passes, whatever blocks them: each kind of block at once, host and listeners,
//! however wide, in either order, and after a restart.

use anyhow::{Context as _, Result, ensure};
use botguard_tests::config::Config;
use botguard_tests::host::Host;

use crate::datagrams::Datagrams;
use crate::fixture::{PARTNER, USER, USER_V6, dropped, exit_of, running, status_of};

/// Blocks both in every way there is. Wider networks than these hold this host's own addresses,
/// and are refused to everybody.
fn block(host: &Host) -> Result<()> {
    let botguard = |arguments: &[&str]| host.botguard.expect(&host.lab, arguments);
    botguard(&["block", "add", PARTNER, USER_V6, "--scope", "host"])?;
    botguard(&["block", "add", "5.9.0.0/16", "2003:c0::/32"])?;
    botguard(&["block", "add", "AS24940", "AS3320", "--scope", "host"])?;
    let list = host.lab.directory().join("wide.txt");
    let hosts = format!("{PARTNER}\n{USER_V6}\n");
    std::fs::write(&list, format!("{hosts}4.0.0.0/6\n2002::/15\n"))?;
    let list = list.to_str().context("a path is text")?;
    // Wider than anybody announces: the operator has to insist.
    ensure!(exit_of(host, &["block", "import", list])?.0 == 64);
    botguard(&["block", "import", list, "--force", "--scope", "host"])?;
    Ok(())
}

fn allow(host: &Host, verb: &str) -> Result<()> {
    let arguments = ["allow", verb, PARTNER, USER_V6];
    host.botguard.expect(&host.lab, &arguments)?;
    Ok(())
}

/// The stream of both, and of one whom nobody blocks.
fn datagrams(host: &mut Host) -> Result<Datagrams> {
    Datagrams::start(host, &[PARTNER, USER_V6, USER], &[])
}

fn all_pass(host: &Host, datagrams: &Datagrams) -> Result<()> {
    for source in [PARTNER, USER_V6, USER] {
        let status = status_of(host, source, "/pricing")?;
        ensure!(status == Some(200), "{source}: {status:?}");
        let n_lost = datagrams.n_lost(source)?;
        ensure!(n_lost == 0, "{n_lost} datagrams of {source} were lost");
    }
    Ok(())
}

fn none_passes(host: &Host) -> Result<()> {
    for source in [PARTNER, USER_V6] {
        let status = status_of(host, source, "/pricing")?;
        ensure!(status.is_none(), "{source}: {status:?}");
    }
    Ok(())
}

#[test]
fn who_is_allowed_after_having_been_blocked_passes() {
    let (mut host, daemon) = running("unlocked", &Config::default()).unwrap();
    block(&host).unwrap();
    none_passes(&host).unwrap();
    allow(&host, "add").unwrap();
    let before = dropped(&host).unwrap();
    let datagrams = datagrams(&mut host).unwrap();
    all_pass(&host, &datagrams).unwrap();
    daemon.kill().unwrap();
    let _daemon = host.botguard.start(&host.lab).unwrap();
    all_pass(&host, &datagrams).unwrap();
    assert_eq!(dropped(&host).unwrap(), before);
}

#[test]
fn who_is_allowed_is_not_blocked_afterwards() {
    let (mut host, daemon) = running("immune", &Config::default()).unwrap();
    allow(&host, "add").unwrap();
    let datagrams = datagrams(&mut host).unwrap();
    block(&host).unwrap();
    all_pass(&host, &datagrams).unwrap();
    daemon.kill().unwrap();
    let _daemon = host.botguard.start(&host.lab).unwrap();
    all_pass(&host, &datagrams).unwrap();
    // Lists and systems follow their changes by new tables, single blocks by stores into them.
    host.botguard
        .expect(&host.lab, &["block", "del", "--origin", "wide"])
        .unwrap();
    host.botguard
        .expect(&host.lab, &["block", "add", PARTNER, "--scope", "host"])
        .unwrap();
    all_pass(&host, &datagrams).unwrap();
    assert_eq!(dropped(&host).unwrap(), 0);
    allow(&host, "del").unwrap();
    none_passes(&host).unwrap();
}
