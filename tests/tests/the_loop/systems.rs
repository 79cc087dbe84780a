//! Autonomous systems blocked by command, by the extract of the real table.

use std::time::Duration;

use anyhow::{Context as _, Result};
use botguard_tests::config::Config;
use botguard_tests::host::Host;
use botguard_tests::wait;
use serde_json::Value;

use crate::fixture::{SCRAPER, USER, ask, exit_of, host, is_dropped_by, running, status_of};

/// AS16509, as the scraper.
const OTHER: &str = "3.5.140.2";

/// Rules of the blocks that cover an address.
fn covering(host: &Host, address: &str) -> Result<Vec<String>> {
    let output = host
        .botguard
        .run(&host.lab, &["would-block", address, "--json"])?;
    let verdict: Value = serde_json::from_slice(&output.stdout)?;
    let blocks = verdict["blocks"].as_array().context("no blocks")?;
    let rules = blocks.iter().map(|block| block["rule"].as_str());
    let rules = rules.map(|rule| rule.map(ToOwned::to_owned).context("no rule"));
    rules.collect()
}

/// What status calls degraded, as one text.
fn degraded(host: &Host) -> Result<String> {
    let output = host.botguard.run(&host.lab, &["status", "--json"])?;
    let status: Value = serde_json::from_slice(&output.stdout)?;
    Ok(status["degraded"].to_string())
}

#[test]
fn a_system_is_blocked_by_its_number_and_lifted_without_a_trace() {
    let (host, _daemon) = running("system", &Config::default()).unwrap();
    let botguard = |arguments: &[&str]| host.botguard.expect(&host.lab, arguments).unwrap();
    let said = botguard(&["block", "add", "as16509", "--ttl", "1h"]);
    assert!(said.contains("AS16509 Amazon.com, Inc.: "), "{said}");
    assert!(is_dropped_by(&host, SCRAPER, "AS16509").unwrap());
    assert_eq!(status_of(&host, USER, "/users").unwrap(), Some(200));
    let listed = ask(&host, &["block", "list"]).unwrap();
    assert_eq!(listed["asns"][0]["rule"], "AS16509", "{listed}");

    botguard(&["block", "add", SCRAPER, "--ttl", "1h"]);
    assert_eq!(covering(&host, SCRAPER).unwrap(), ["operator", "AS16509"]);
    botguard(&["block", "del", "AS16509"]);
    assert_eq!(covering(&host, SCRAPER).unwrap(), ["operator"]);
    assert!(is_dropped_by(&host, SCRAPER, "operator").unwrap());
    assert_eq!(covering(&host, OTHER).unwrap(), [""; 0]);
    for (arguments, expected) in [
        (["block", "add", "AS64496"], "no networks of AS64496"),
        (["allow", "add", "AS16509"], "no AS numbers"),
    ] {
        let (exit, said) = exit_of(&host, &arguments).unwrap();
        assert!(exit == 64 && said.contains(expected), "{exit} {said}");
    }
}

#[test]
fn a_blocked_system_follows_its_table_and_a_broken_table_changes_nothing() {
    // Two looks, ten seconds apart, and the reading.
    const LIMIT: Duration = Duration::from_secs(40);
    let (host, _daemon) = running("table", &Config::default()).unwrap();
    let botguard = |arguments: &[&str]| host.botguard.expect(&host.lab, arguments).unwrap();
    let table = host.lab.directory().join("asn.csv");
    let text = std::fs::read_to_string(&table).unwrap();
    botguard(&["block", "add", "AS16509", "--ttl", "1h"]);
    assert_eq!(status_of(&host, USER, "/users").unwrap(), Some(200));

    // Amazon takes Comcast over.
    std::fs::write(&table, text.replace(",7922,", ",16509,")).unwrap();
    let is_blocked = || (covering(&host, USER).unwrap() == ["AS16509"]).then_some(());
    wait::until("the new table is in force", LIMIT, is_blocked).unwrap();
    assert!(is_dropped_by(&host, USER, "AS16509").unwrap());

    std::fs::write(&table, "1.2.3.4,half a row\n").unwrap();
    let is_said = || {
        degraded(&host)
            .unwrap()
            .contains("asn.csv:1: ")
            .then_some(())
    };
    wait::until("a broken table is told", LIMIT, is_said).unwrap();
    assert_eq!(covering(&host, USER).unwrap(), ["AS16509"]);

    // A tenth of a table is taken up where the operator says so.
    std::fs::write(&table, "73.0.0.0,73.255.255.255,7922,Comcast\n").unwrap();
    botguard(&["reload"]);
    assert_eq!(covering(&host, USER).unwrap(), [""; 0]);
    let said = degraded(&host).unwrap();
    assert!(said.contains("no networks of it"), "{said}");
    std::fs::write(&table, &text).unwrap();
    botguard(&["reload"]);
    assert_eq!(degraded(&host).unwrap(), "[]");
    assert_eq!(covering(&host, SCRAPER).unwrap(), ["AS16509"]);
    assert_eq!(status_of(&host, USER, "/users").unwrap(), Some(200));
}

#[test]
fn without_a_daemon_the_cli_reads_the_table_or_leaves_the_kernel_as_it_is() {
    let host = host("offtable", &Config::default()).unwrap();
    let botguard = |arguments: &[&str]| host.botguard.expect(&host.lab, arguments).unwrap();
    botguard(&["block", "add", "AS16509", "--ttl", "1h"]);
    assert_eq!(covering(&host, SCRAPER).unwrap(), ["AS16509"]);
    std::fs::write(host.lab.directory().join("asn.csv"), "half a row\n").unwrap();
    let (exit, said) = exit_of(&host, &["block", "add", USER]).unwrap();
    assert!(exit == 64 && said.contains("asn.csv:1: "), "{exit} {said}");
    botguard(&["mode", "log"]);
    botguard(&["block", "del", "AS16509"]);
    botguard(&["block", "add", USER]);
}
