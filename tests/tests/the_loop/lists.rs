//! Imported lists and the daemon: what a list does to those it covers, and what it may not do.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use botguard_tests::config::Config;
use botguard_tests::host::Host;

use crate::fixture::{PARTNER, SCRAPER, USER, ask, exit_of, running, status_of};

/// Writes a list of this name and imports it: exit status, and what went to standard error.
fn import(host: &Host, content: &str, more: &[&str]) -> Result<(i32, String)> {
    let path = host.lab.directory().join("drop.txt");
    std::fs::write(&path, content)?;
    let mut arguments = vec!["block", "import", path.to_str().context("a path is text")?];
    arguments.extend(more);
    exit_of(host, &arguments)
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
    assert!(!is_served(&host, SCRAPER).unwrap());
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
    assert!(!is_served(&host, PARTNER).unwrap(), "whom both hold");

    daemon.kill().unwrap();
    let daemon = host.botguard.start(&host.lab).unwrap();
    assert!(!is_served(&host, PARTNER).unwrap(), "after a restart");
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
        writeln!(many, "{}", std::net::Ipv4Addr::from(0x4000_0000 + n)).unwrap();
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
    assert!(!is_served(&host, SCRAPER).unwrap());
    assert!(is_served(&host, USER).unwrap());
}
