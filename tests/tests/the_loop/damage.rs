//! What breaks around a running or a dead botguard, and what holds all the same.

use botguard_tests::config::Config;

use crate::fixture::{PARTNER, SCRAPER, USER, ask, dropped, exit_of, running, status_of};

#[test]
fn a_lost_store_unblocks_nobody() {
    let (host, daemon) = running("lost", &Config::default()).unwrap();
    let botguard = |arguments: &[&str]| host.botguard.expect(&host.lab, arguments).unwrap();
    botguard(&["block", "add", SCRAPER, "--ttl", "1h"]);
    botguard(&["block", "add", "5.9.0.0/16", "--scope", "host"]);
    botguard(&["allow", "add", PARTNER]);
    let store = host.lab.directory().join("state/store.redb");
    let mut daemon = Some(daemon);
    for damage in [Some(b"not a database".as_slice()), Some(b""), None] {
        drop(daemon.take());
        match damage {
            Some(bytes) => std::fs::write(&store, bytes).unwrap(),
            None => std::fs::remove_file(&store).unwrap(),
        }
        // A command that only looks must not let go of what is pinned either.
        botguard(&["block", "list"]);
        daemon = Some(host.botguard.start(&host.lab).unwrap());
        let before = dropped(&host).unwrap();
        assert_eq!(status_of(&host, SCRAPER, "/users").unwrap(), None);
        assert!(dropped(&host).unwrap() > before, "{damage:?}");
        assert_eq!(status_of(&host, PARTNER, "/users").unwrap(), Some(200));
        assert_eq!(status_of(&host, USER, "/users").unwrap(), Some(200));
        let listed = ask(&host, &["block", "list"]).unwrap();
        assert_eq!(listed["blocks"].as_array().unwrap().len(), 2, "{listed}");
        let (exit, _) = exit_of(&host, &["status"]).unwrap();
        assert_eq!(exit, 2, "a corrupt store is lying there");
    }
    botguard(&["block", "del", SCRAPER]);
    assert_eq!(status_of(&host, SCRAPER, "/users").unwrap(), Some(200));
}
