//! `botguard kernel events` beside a running daemon: who is dropped, by which rule, and when it
//! ends.

use std::time::Duration;

use anyhow::Result;
use aya::maps::{Array, Map, MapData};
use botguard_common::maps::{EVENTS_UNTIL, LAYOUT};
use botguard_tests::config::Config;
use botguard_tests::host::Host;
use botguard_tests::wait;
use serde_json::Value;

use crate::datagrams::Datagrams;
use crate::fixture::{SCRAPER, USER, exit_of, running};

/// The tick until which the filter tells of drops.
fn listened_until(host: &Host) -> Result<u32> {
    let pins = host.lab.pin_dir().join(format!("v{LAYOUT}"));
    let map = MapData::from_pin(pins.join(format!("map_{EVENTS_UNTIL}")))?;
    let until: Array<_, u32> = Array::try_from(Map::from_map_data(map)?)?;
    Ok(until.get(&0, 0)?)
}

#[test]
fn drops_are_shown_as_they_happen() {
    let (mut host, _daemon) = running("events", &Config::default()).unwrap();
    let _datagrams = Datagrams::start(&mut host, &[USER], &[SCRAPER]).unwrap();
    let botguard = |arguments: &[&str]| host.botguard.expect(&host.lab, arguments).unwrap();
    let silent = botguard(&["kernel", "events", "--for", "1s"]);
    assert_eq!(silent, "", "nobody is dropped");

    botguard(&["block", "add", SCRAPER, "--ttl", "1h"]);
    let one = ["kernel", "events", "--count", "1", "--for", "20s"];
    let said = botguard(&one);
    assert_eq!(said.lines().count(), 1, "{said}");
    for word in [SCRAPER, "drop_listener", "operator", "edge"] {
        assert!(said.split_whitespace().any(|said| said == word), "{said}");
    }
    let [kernel, events, rest @ ..] = one;
    let said = botguard(&[&[kernel, events, "--json"], rest.as_slice()].concat());
    let event: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(event["source"], SCRAPER, "{said}");
    assert_eq!(event["rule"], "operator", "{said}");
    assert_eq!(event["exit"], "drop_listener", "{said}");
    assert_eq!(event["dropped"], true, "{said}");

    // A rule that is younger than the listener is known as well.
    botguard(&["block", "del", SCRAPER]);
    let before = listened_until(&host).unwrap();
    let (said, added) = std::thread::scope(|scope| {
        let listener = scope.spawn(|| host.botguard.expect(&host.lab, &one));
        // It goes on every second or so.
        wait::until("somebody listens", Duration::from_secs(20), || {
            (listened_until(&host).unwrap() > before).then_some(())
        })
        .unwrap();
        let system = ["block", "add", "AS16509", "--scope", "host"];
        let added = host.botguard.expect(&host.lab, &system);
        (listener.join().unwrap().unwrap(), added)
    });
    added.unwrap();
    for word in [SCRAPER, "drop_host", "AS16509"] {
        assert!(said.split_whitespace().any(|said| said == word), "{said}");
    }
}

#[test]
fn without_a_filter_there_are_no_events_but_a_reason() {
    let (host, _daemon) = running("nofilter", &Config::default()).unwrap();
    let text = std::fs::read_to_string(host.botguard.config()).unwrap();
    let elsewhere = text.replace("/bpf/botguard\"", "/bpf/elsewhere\"");
    assert_ne!(elsewhere, text);
    std::fs::write(host.botguard.config(), elsewhere).unwrap();
    let (exit, said) = exit_of(&host, &["kernel", "events", "--count", "1"]).unwrap();
    assert_eq!(exit, 1, "{said}");
    for part in ["/bpf/elsewhere", "botguard kernel attach"] {
        assert!(said.contains(part), "{said}");
    }
}
