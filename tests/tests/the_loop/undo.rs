//! What the edge refused for a neighbour's sake is let through again when an operator says so: there
//! and nowhere else, with the daemon and without it, for good.

use anyhow::{Result, ensure};
use botguard_tests::config::Config;
use botguard_tests::host::Host;

use crate::fixture::{
    PARTNER, PUBLIC_KEY, SCRAPER, ask, exit_of, page_through, running, status_of, status_with,
};

#[test]
fn a_held_pair_is_released_with_its_address_and_no_other() {
    let (host, daemon) = running("undo", &Config::default()).unwrap();
    for source in [SCRAPER, PARTNER] {
        hold(&host, source).unwrap();
    }
    held_are(&host, &[SCRAPER, PARTNER], &[]);
    daemon.stop().unwrap();
    let daemon = host.botguard.start(&host.lab).unwrap();
    held_are(&host, &[SCRAPER, PARTNER], &[]);

    release(&host, SCRAPER);
    held_are(&host, &[PARTNER], &[SCRAPER]);
    // There is nothing more to lift.
    assert_ne!(exit_of(&host, &["block", "del", SCRAPER]).unwrap().0, 0);
    daemon.kill().unwrap();
    let daemon = host.botguard.start(&host.lab).unwrap();
    held_are(&host, &[PARTNER], &[SCRAPER]);

    daemon.kill().unwrap();
    release(&host, PARTNER);
    let _daemon = host.botguard.start(&host.lab).unwrap();
    held_are(&host, &[], &[SCRAPER, PARTNER]);
}

/// A good neighbour comes first, then one pages until its key is refused from that address.
fn hold(host: &Host, source: &str) -> Result<()> {
    for _visit in 0..4 {
        ensure!(status_of(host, source, "/users")? == Some(200));
    }
    let answers = page_through(host, source, PUBLIC_KEY, 600, &[])?;
    ensure!(
        answers.blocked > 20 && answers.unanswered == 0,
        "{source}: {answers:?}"
    );
    Ok(())
}

fn release(host: &Host, source: &str) {
    let said = host.botguard.expect(&host.lab, &["block", "del", source]);
    let said = said.expect("it is lifted");
    assert!(
        said.contains("1 credential that was refused from there"),
        "{said}"
    );
}

/// The neighbour is served everywhere, and so is the key on a route where no score denies, except
/// where it is held.
fn held_are(host: &Host, held: &[&str], free: &[&str]) {
    let listed = ask(host, &["block", "list"]).expect("blocks are listed");
    let pairs = listed["pairs"].as_array().expect("pairs are a list");
    assert_eq!(pairs.len(), held.len(), "{listed}");
    assert_eq!(listed["blocks"], serde_json::json!([]), "{listed}");
    for (sources, expected) in [(held, 403), (free, 200)] {
        for source in sources {
            let of = |key| status_with(host, source, key, "/pricing").expect("a request is sent");
            assert_eq!(of(PUBLIC_KEY), Some(expected), "{source}");
            let neighbour = status_of(host, source, "/users").expect("a request is sent");
            assert_eq!(neighbour, Some(200), "{source}");
            let listed = pairs.iter().any(|pair| pair.to_string().contains(source));
            assert_eq!(listed, expected == 403, "{source}: {pairs:?}");
        }
    }
}
