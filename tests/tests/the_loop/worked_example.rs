//! The worked example, from the first request to the dropped packet, and what a `kill -9` leaves.

use std::time::Duration;

use botguard_tests::config::Config;
use botguard_tests::wait;
use serde_json::{Value, json};

use crate::fixture::{
    PARTNER, PARTNER_KEY, PUBLIC_KEY, SCRAPER, USER, USER_V6, ask, audit_of, dropped, exit_of,
    page_through, running, status_of,
};

#[test]
fn scores_to_the_digit_then_blocks_bans_and_drops() {
    let log = Config {
        users_mode: "log",
        ..Config::default()
    };
    let (host, daemon) = running("example", &log).unwrap();

    // Log mode: 4,200 pages within a minute, all of them served.
    let answers = page_through(&host, SCRAPER, PUBLIC_KEY, 4_200, &[]).unwrap();
    assert_eq!(answers.ok, 4_200, "{answers:?}");
    let records = audit_of(&host, 4_200).unwrap();
    assert!(
        records.iter().all(|record| record["kind"] != "ban"),
        "a ban from log mode"
    );
    let last = records.last().unwrap();
    let breakdown = |record: &Value| {
        json!([
            record["groups"],
            record["raw"],
            record["score"],
            record["decision"]["would"]
        ])
    };
    let groups = json!({"key": 0.1, "pattern": 0.4, "behaviour": 0.25, "network": 0.3});
    assert_eq!(breakdown(last), json!([groups, 1.05, 1.0, "block"]));
    assert_eq!(last["decision"]["action"], "log");
    assert_eq!(paging(last), Some(4_200.0));

    // `explain` says the same sum as the record.
    let id = last["request_id"].as_str().unwrap();
    let explained = ask(&host, &["explain", id]).unwrap();
    assert_eq!(explained["raw"], last["raw"]);
    for group in explained["groups"].as_array().unwrap() {
        assert_eq!(
            group["total"],
            last["groups"][group["group"].as_str().unwrap()]
        );
    }
    let text = host.botguard.expect(&host.lab, &["explain", id]).unwrap();
    assert!(text.contains("1.05"), "{text}");

    // Another weight of the tier changes the sum by just that.
    host.configure(&Config {
        tier_weight: 0.12,
        ..log
    })
    .unwrap();
    host.botguard.expect(&host.lab, &["reload"]).unwrap();
    page_through(&host, SCRAPER, PUBLIC_KEY, 1, &[]).unwrap();
    let records = audit_of(&host, 4_201).unwrap();
    let last = records
        .iter()
        .rfind(|record| record["kind"] == "request")
        .unwrap();
    let groups = json!({"key": 0.12, "pattern": 0.4, "behaviour": 0.25, "network": 0.3});
    assert_eq!(breakdown(last), json!([groups, 1.07, 1.0, "block"]));

    // Enforce: evidence starts anew, since what log mode saw may lead to no ban. The scraper is
    // throttled, then blocked; the twentieth block brings the ban, and the kernel drops.
    assert_eq!(dropped(&host).unwrap(), 0);
    host.configure(&Config::default()).unwrap();
    host.botguard.expect(&host.lab, &["reload"]).unwrap();
    let answers = page_through(&host, SCRAPER, PUBLIC_KEY, 600, &[]).unwrap();
    assert!(answers.ok < 200, "{answers:?}");
    assert!((17..=40).contains(&answers.blocked), "{answers:?}");
    assert!(answers.unanswered > 0, "{answers:?}");
    assert!(dropped(&host).unwrap() > 0);
    assert_eq!(exit_of(&host, &["would-block", SCRAPER]).unwrap().0, 0);

    // Nobody else notices, not even with the same key.
    assert_eq!(status_of(&host, USER, "/users").unwrap(), Some(200));
    assert_eq!(status_of(&host, USER_V6, "/users").unwrap(), Some(200));
    assert_eq!(page_through(&host, USER, PUBLIC_KEY, 5, &[]).unwrap().ok, 5);
    assert_eq!(
        page_through(&host, PARTNER, PARTNER_KEY, 60, &[])
            .unwrap()
            .ok,
        60
    );
    assert_eq!(exit_of(&host, &["would-block", USER]).unwrap().0, 2);

    // kill -9: the kernel goes on dropping, the next daemon adopts what is pinned.
    daemon.kill().unwrap();
    let before = dropped(&host).unwrap();
    assert_eq!(status_of(&host, SCRAPER, "/users").unwrap(), None);
    assert!(
        dropped(&host).unwrap() > before,
        "the kernel stopped dropping"
    );
    let daemon = host.botguard.start(&host.lab).unwrap();
    assert_eq!(status_of(&host, SCRAPER, "/users").unwrap(), None);
    assert!(
        dropped(&host).unwrap() > before,
        "the counters were not adopted"
    );
    assert_eq!(status_of(&host, USER, "/users").unwrap(), Some(200));

    // An operator can undo it.
    host.botguard
        .expect(&host.lab, &["block", "del", SCRAPER])
        .unwrap();
    wait::until("the scraper gets an answer", Duration::from_secs(5), || {
        status_of(&host, SCRAPER, "/pricing").unwrap()
    })
    .unwrap();
    daemon.stop().unwrap();
}

/// Requests in the window, as the paging signal counts them.
fn paging(record: &Value) -> Option<f64> {
    let signals = record["signals"].as_array()?;
    signals.iter().find(|signal| signal["id"] == "paging")?["value"].as_f64()
}
