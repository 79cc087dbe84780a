//! Imported lists and the daemon: what a list does to those it covers, in the kernel, and what it
//! may not do.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use botguard_tests::audit::AuditTail;
use botguard_tests::config::Config;
use botguard_tests::host::Host;

use crate::datagrams::Datagrams;
use crate::fixture::{PARTNER, SCRAPER, USER, ask, exit_of, is_dropped_by, running, status_of};

/// Writes a list of this name and imports it: exit status, and what went to standard error.
fn import(host: &Host, content: &str, more: &[&str]) -> Result<(i32, String)> {
    let path = host.lab.directory().join("drop.txt");
    std::fs::write(&path, content)?;
    let mut arguments = vec!["block", "import", path.to_str().context("a path is text")?];
    arguments.extend(more);
    exit_of(host, &arguments)
}

fn is_dropped(host: &Host, source: &str) -> Result<bool> {
    is_dropped_by(host, source, "list:drop")
}

fn is_served(host: &Host, source: &str) -> Result<bool> {
    Ok(status_of(host, source, "/pricing")? == Some(200))
}

#[test]
fn a_list_denies_is_replaced_survives_and_goes() {
    let (host, daemon) = running("list", &Config::default()).unwrap();
    assert_eq!(
        import(
            &host,
            &format!("# one\n{SCRAPER}\n{PARTNER}/32\n"),
            &["--ttl", "1h"]
        )
        .unwrap()
        .0,
        0
    );
    assert!(is_dropped(&host, SCRAPER).unwrap());
    assert!(
        is_served(&host, USER).unwrap(),
        "whom the list does not hold"
    );
    let listed = ask(&host, &["block", "list"]).unwrap();
    assert_eq!(listed["lists"][0]["n_networks"], 2, "{listed}");

    assert_eq!(import(&host, &format!("{PARTNER}\n"), &[]).unwrap().0, 0);
    assert!(
        is_served(&host, SCRAPER).unwrap(),
        "whom the new list does not hold any more"
    );
    assert!(is_dropped(&host, PARTNER).unwrap(), "whom both hold");

    daemon.kill().unwrap();
    let daemon = host.botguard.start(&host.lab).unwrap();
    assert!(is_dropped(&host, PARTNER).unwrap(), "after a restart");
    daemon.stop().unwrap();
    let records = AuditTail::new(host.audit_path()).read().unwrap();
    let mut drops = records.iter().filter(|record| record["kind"] == "drops");
    let is_told = drops.any(|drop| drop["rule"] == "list:drop" && drop["packets"] != 0);
    assert!(is_told, "the audit log has the list's drops");
    let daemon = host.botguard.start(&host.lab).unwrap();
    let gone = ["block", "del", "--origin", "drop"];
    host.botguard.expect(&host.lab, &gone).unwrap();
    assert!(is_served(&host, PARTNER).unwrap());
    daemon.stop().unwrap();
}

#[test]
fn a_list_that_is_refused_leaves_the_old_one_whole() {
    let (host, _daemon) = running("refused", &Config::default()).unwrap();
    assert_eq!(import(&host, &format!("{SCRAPER}\n"), &[]).unwrap().0, 0);
    let check = |content: &str, more: &[&str], expected: &str| {
        let (status, error) = import(&host, content, more).unwrap();
        assert_eq!(status, 64, "{error}");
        assert!(error.contains(expected), "{error}");
        let export = ["block", "export", "--origin", "drop"];
        let left = host.botguard.expect(&host.lab, &export).unwrap();
        assert_eq!(left, format!("{SCRAPER}/32\n"));
    };
    let mut many = String::new();
    for n in 0..70_000_u32 {
        writeln!(many, "{}", Ipv4Addr::from(0x4000_0000 + n)).unwrap();
    }
    check(
        &format!("{many}5.9.10\n{USER}\n"),
        &[],
        "drop.txt:70001: `5.9.10`",
    );
    let own = Host::server(USER.parse().unwrap())
        .unwrap()
        .ip()
        .to_string();
    check(
        &format!("{USER}\n{own}\n"),
        &[],
        &format!("drop.txt:2: {own}/32"),
    );
    check(
        &format!("{USER}\n{own}\n"),
        &["--force"],
        "an address of this host",
    );
    let quarter: String = (11..75_u8)
        .map(|byte| format!("{byte}.0.0.0/8\n"))
        .collect();
    check(&quarter, &[], "drop.txt");
    check(
        &format!("{USER}\n192.168.7.0/24\n"),
        &[],
        "drop.txt:2: 192.168.7.0/24",
    );
    assert!(is_dropped(&host, SCRAPER).unwrap());
    assert!(is_served(&host, USER).unwrap());
}

/// A network longer than /24 takes a page of 256 addresses, of which there are half a million.
/// They are a fiftieth of the address space, none is reserved, and the old list is too short to be
/// compared: only the kernel refuses them, and no `--force` is needed to get that far.
#[test]
fn a_list_beyond_the_tables_leaves_the_old_one_whole() {
    /// In the new list.
    const NEW: &str = "11.0.0.5";
    let (host, daemon) = running("full", &Config::default()).unwrap();
    host.lab.add_source(NEW.parse().unwrap()).unwrap();
    assert_eq!(import(&host, &format!("{SCRAPER}\n"), &[]).unwrap().0, 0);
    let mut many = format!("{USER}\n");
    for n in 0..600_000_u32 {
        let network = Ipv4Addr::from(0x0b00_0000 + (n << 8));
        writeln!(many, "{network}/25").unwrap();
    }
    let (status, error) = import(&host, &many, &[]).unwrap();
    assert_eq!(status, 1, "{error}");
    for part in [
        "nothing was changed",
        "table nets_v4 is full",
        "block wider networks, or fewer",
    ] {
        assert!(error.contains(part), "{error}");
    }
    let is_as_before = || {
        let export = ["block", "export", "--origin", "drop"];
        let left = host.botguard.expect(&host.lab, &export).unwrap();
        assert_eq!(left, format!("{SCRAPER}/32\n"));
        assert_eq!(exit_of(&host, &["status"]).unwrap().0, 0);
        assert!(is_dropped(&host, SCRAPER).unwrap());
        assert!(is_served(&host, USER).unwrap());
        assert!(is_served(&host, NEW).unwrap());
    };
    is_as_before();
    daemon.kill().unwrap();
    let _daemon = host.botguard.start(&host.lab).unwrap();
    is_as_before();
    // Nor is anything left that the next one would trip over.
    assert_eq!(import(&host, &format!("{NEW}\n"), &[]).unwrap().0, 0);
    assert!(is_dropped(&host, NEW).unwrap());
    assert!(is_served(&host, SCRAPER).unwrap());
}

#[test]
fn while_lists_are_swapped_whom_both_hold_is_dropped_and_whom_neither_holds_passes() {
    const N_SWAPS: usize = 50;
    let (mut host, _daemon) = running("swap", &Config::default()).unwrap();
    let datagrams = Datagrams::start(&mut host, &[USER], &[SCRAPER]).unwrap();
    let before = datagrams.mark();
    assert!(datagrams.has_arrived(SCRAPER, before).unwrap());
    // A host in one, a network in the other, so that nothing of its entry is the same.
    let mut long = String::from("54.66.0.0/16\n");
    for n in 0..2_000_u32 {
        writeln!(long, "{}", Ipv4Addr::from(0x4000_0000 + n)).unwrap();
    }
    let lists = [format!("{SCRAPER}\n"), long];
    assert_eq!(import(&host, &lists[1], &[]).unwrap().0, 0);
    let blocked = datagrams.mark();
    let mut n_idle = 0;
    for swap in 0..N_SWAPS {
        let before = datagrams.mark();
        // Back and forth between two lengths is what a gate is there for.
        let import = import(&host, &lists[swap % 2], &["--force"]).unwrap();
        assert_eq!(import.0, 0, "{}", import.1);
        n_idle += usize::from(datagrams.n_sent_since(before) == 0);
    }
    assert!(!datagrams.has_arrived(SCRAPER, blocked).unwrap());
    assert_eq!(datagrams.n_lost(USER).unwrap(), 0);
    assert_eq!(n_idle, 0, "swaps during which nobody sent anything");
}
