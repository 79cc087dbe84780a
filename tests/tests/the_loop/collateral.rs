//! Who must not be hit: people behind a proxy, people on the never-block list, allowed sources.

use botguard_tests::config::Config;
use serde_json::json;

use crate::fixture::{
    PUBLIC_KEY, SCRAPER, USER, ask, audit_of, dropped, exit_of, page_through, running, status_of,
};

#[test]
fn an_address_that_is_not_the_peer_is_blocked_but_never_in_the_kernel() {
    // The scraper's packets come from a trusted proxy; its own address is only in a header.
    let proxy = Config {
        proxies: "\"73.15.20.30/32\"",
        ..Config::default()
    };
    let (host, _daemon) = running("forwarded", &proxy).unwrap();
    let forwarded = &[("x-forwarded-for", SCRAPER)];
    let answers = page_through(&host, USER, PUBLIC_KEY, 1_500, forwarded).unwrap();
    assert!(answers.blocked > 100, "{answers:?}");
    assert_eq!(answers.unanswered, 0, "{answers:?}");
    let records = audit_of(&host, 1_500).unwrap();
    let last = records.last().unwrap();
    assert_eq!(last["client"]["ip"], SCRAPER);
    assert_eq!(last["client"]["peer"], USER);
    assert_eq!(last["client"]["via"], "forwarded");
    assert!(records.iter().all(|record| record["kind"] != "ban"));
    assert_eq!(ask(&host, &["block", "list"]).unwrap()["blocks"], json!([]));
    assert_eq!(dropped(&host).unwrap(), 0);
}

#[test]
fn a_forwarded_header_of_a_stranger_is_not_believed() {
    let (host, _daemon) = running("stranger", &Config::default()).unwrap();
    page_through(&host, SCRAPER, PUBLIC_KEY, 4, &[("x-forwarded-for", USER)]).unwrap();
    let records = audit_of(&host, 4).unwrap();
    for record in records {
        assert_eq!(record["client"]["ip"], SCRAPER);
        assert_eq!(record["client"]["via"], "peer");
    }
}

#[test]
fn a_source_on_the_never_block_list_is_denied_but_not_banned() {
    let listed = Config {
        never_block: "\"54.66.7.0/24\"",
        ..Config::default()
    };
    let (host, _daemon) = running("never", &listed).unwrap();
    let answers = page_through(&host, SCRAPER, PUBLIC_KEY, 1_500, &[]).unwrap();
    assert!(answers.blocked > 100, "{answers:?}");
    assert_eq!(answers.unanswered, 0, "{answers:?}");
    assert_eq!(dropped(&host).unwrap(), 0);
}

#[test]
fn allow_beats_block_in_the_kernel_and_at_the_edge() {
    let (host, _daemon) = running("allow", &Config::default()).unwrap();
    let botguard = |arguments: &[&str]| host.botguard.expect(&host.lab, arguments).unwrap();
    assert_eq!(status_of(&host, USER, "/users").unwrap(), Some(200));
    botguard(&[
        "block",
        "add",
        "73.15.0.0/16",
        "--ttl",
        "1h",
        "--reason",
        "test",
    ]);
    assert_eq!(status_of(&host, USER, "/users").unwrap(), None);
    assert_eq!(exit_of(&host, &["would-block", USER]).unwrap().0, 0);
    botguard(&["allow", "add", USER, "--reason", "test"]);
    assert_eq!(status_of(&host, USER, "/users").unwrap(), Some(200));
    assert_eq!(exit_of(&host, &["would-block", USER]).unwrap().0, 2);
    botguard(&["allow", "del", USER]);
    assert_eq!(status_of(&host, USER, "/users").unwrap(), None);
    botguard(&["block", "del", "73.15.0.0/16"]);
    assert_eq!(status_of(&host, USER, "/users").unwrap(), Some(200));
}
