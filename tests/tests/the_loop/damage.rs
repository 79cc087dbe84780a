//! What breaks around a running or a dead botguard, and what holds all the same.

use botguard_tests::config::Config;
use botguard_tests::daemon::Botguard;
use botguard_tests::lab::EDGE_INTERFACE;

use crate::fixture::{PARTNER, SCRAPER, USER, ask, dropped, exit_of, running, status_of};
use crate::secrets::metrics;

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

#[test]
fn a_second_botguard_on_the_same_pins_changes_nothing() {
    let (mut host, _daemon) = running("second", &Config::default()).unwrap();
    host.botguard
        .expect(&host.lab, &["block", "add", SCRAPER])
        .unwrap();
    let text = std::fs::read_to_string(host.botguard.config()).unwrap();
    let text = text
        .replace("/state\"", "/state2\"")
        .replace("admin.sock", "admin2.sock")
        .replace("required = true", "required = false");
    let second_config = host.lab.directory().join("second.toml");
    std::fs::write(&second_config, text).unwrap();
    let binary = Botguard::built_binary().unwrap();
    let first = std::mem::replace(&mut host.botguard, Botguard::new(binary, second_config));
    let (exit, said) = exit_of(&host, &["kernel", "detach"]).unwrap();
    assert_eq!(exit, 1);
    assert!(said.contains("another botguard process"), "{said}");
    // The port is taken, which it finds out only after it has had its hands on the kernel.
    assert!(host.botguard.start(&host.lab).is_err());
    let (exit, _) = exit_of(&host, &["status"]).unwrap();
    assert_eq!(exit, 2);
    host.botguard = first;
    let before = dropped(&host).unwrap();
    assert_eq!(status_of(&host, SCRAPER, "/users").unwrap(), None);
    assert!(dropped(&host).unwrap() > before);
}

#[test]
fn what_is_pinned_is_reached_where_attaching_fails() {
    let (host, daemon) = running("reach", &Config::default()).unwrap();
    let botguard = |arguments: &[&str]| host.botguard.expect(&host.lab, arguments).unwrap();
    botguard(&["block", "add", SCRAPER, USER]);
    daemon.kill().unwrap();
    host.configure(&Config {
        interface: "wan7",
        required: false,
        ..Config::default()
    })
    .unwrap();
    let _daemon = host.botguard.start(&host.lab).unwrap();
    let (exit, _) = exit_of(&host, &["status"]).unwrap();
    assert_eq!(exit, 2);
    let page = metrics(&host).unwrap();
    assert!(page.contains("\nbotguard_degraded 1\n"), "{page}");
    assert_eq!(status_of(&host, SCRAPER, "/users").unwrap(), None);
    botguard(&["block", "del", SCRAPER]);
    assert_eq!(status_of(&host, SCRAPER, "/users").unwrap(), Some(200));
    assert_eq!(exit_of(&host, &["kernel", "attach"]).unwrap().0, 1);
    botguard(&["mode", "log"]);
    assert_eq!(status_of(&host, USER, "/users").unwrap(), Some(200));
}

#[test]
fn a_certificate_that_cannot_be_read_leaves_the_old_one() {
    let (host, _daemon) = running("cert", &Config::default()).unwrap();
    let chain = std::fs::read(&host.certificate.chain).unwrap();
    std::fs::write(&host.certificate.chain, "no certificate").unwrap();
    let (exit, said) = exit_of(&host, &["reload"]).unwrap();
    let named = host.certificate.chain.display().to_string();
    assert!(exit == 64 && said.contains(&named), "{exit} {said}");
    assert_eq!(status_of(&host, USER, "/users").unwrap(), Some(200));
    // The mirror: mended, the same reload goes through.
    std::fs::write(&host.certificate.chain, chain).unwrap();
    assert_eq!(exit_of(&host, &["reload"]).unwrap().0, 0);
    assert_eq!(status_of(&host, USER, "/users").unwrap(), Some(200));
}

#[test]
fn pins_that_cannot_be_used_can_be_detached() {
    let (host, daemon) = running("shape", &Config::default()).unwrap();
    let botguard = |arguments: &[&str]| host.botguard.expect(&host.lab, arguments).unwrap();
    botguard(&["block", "add", USER]);
    daemon.kill().unwrap();
    // A map under another one's name has the wrong shape.
    let pins = host.lab.pin_dir().join("v2");
    std::fs::rename(pins.join("map_exits"), pins.join("map_config")).unwrap();
    let (exit, said) = exit_of(&host, &["kernel", "attach"]).unwrap();
    assert_eq!(exit, 1);
    assert!(said.contains("botguard kernel detach"), "{said}");
    botguard(&["kernel", "detach"]);
    assert!(!pins.exists());
    botguard(&["kernel", "attach"]);

    // Pins of a backend that is no longer wanted drop until they are detached, so status says so.
    let text = std::fs::read_to_string(host.botguard.config()).unwrap();
    let text = text.replace("[kernel]", "[kernel]\nbackend = \"none\"");
    std::fs::write(host.botguard.config(), text).unwrap();
    let _daemon = host.botguard.start(&host.lab).unwrap();
    assert_eq!(status_of(&host, USER, "/users").unwrap(), None);
    assert_eq!(exit_of(&host, &["status"]).unwrap().0, 2);
    botguard(&["kernel", "detach"]);
    assert_eq!(exit_of(&host, &["status"]).unwrap().0, 0);
    assert_eq!(status_of(&host, USER, "/users").unwrap(), Some(403));
}

#[test]
fn an_interface_that_is_made_anew_degrades_until_it_is_attached() {
    let (host, _daemon) = running("anew", &Config::default()).unwrap();
    let botguard = |arguments: &[&str]| host.botguard.expect(&host.lab, arguments).unwrap();
    botguard(&["block", "add", SCRAPER]);
    assert_eq!(exit_of(&host, &["status"]).unwrap().0, 0);
    host.lab.edge.ip(&["link", "del", EDGE_INTERFACE]).unwrap();
    host.lab.connect().unwrap();
    host.lab.add_source(SCRAPER.parse().unwrap()).unwrap();
    assert_eq!(exit_of(&host, &["status"]).unwrap().0, 2);
    assert_eq!(exit_of(&host, &["would-block", SCRAPER]).unwrap().0, 2);
    let said = botguard(&["block", "add", USER]);
    assert!(said.contains("botguard kernel attach"), "{said}");
    assert_eq!(status_of(&host, SCRAPER, "/users").unwrap(), Some(403));
    botguard(&["kernel", "attach"]);
    assert_eq!(exit_of(&host, &["status"]).unwrap().0, 0);
    assert_eq!(exit_of(&host, &["would-block", SCRAPER]).unwrap().0, 0);
    assert_eq!(status_of(&host, SCRAPER, "/users").unwrap(), None);
}

#[test]
fn the_filter_can_be_taken_off_without_a_store() {
    let (host, daemon) = running("storeless", &Config::default()).unwrap();
    let botguard = |arguments: &[&str]| host.botguard.expect(&host.lab, arguments).unwrap();
    botguard(&["block", "add", USER]);
    daemon.kill().unwrap();
    // A directory in the lock's place stands for a file system that cannot be written.
    let lock = host.lab.directory().join("state/lock");
    std::fs::remove_file(&lock).unwrap();
    std::fs::create_dir(&lock).unwrap();
    assert_eq!(exit_of(&host, &["mode", "log"]).unwrap().0, 1);
    let said = botguard(&["kernel", "detach"]);
    assert!(said.contains("not recorded"), "{said}");
    assert!(!host.lab.pin_dir().join("v2").exists());
}
