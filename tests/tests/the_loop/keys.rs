//! What an operator decided about a key: it outlives `kill -9` at any time and a full disk, once it
//! was acknowledged.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use botguard_tests::config::Config;
use botguard_tests::host::Host;
use botguard_tests::wait;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::fixture::{PARTNER_KEY, PUBLIC_KEY, SHOP_KEY, ask, exit_of, host, running};

/// A file with this key, as commands read it.
fn file_of(host: &Host, key: &str) -> Result<String> {
    let path = host.lab.directory().join(format!("{key}.key"));
    std::fs::write(&path, key)?;
    Ok(path.to_str().context("a path is text")?.to_owned())
}

/// Exit status of its suspension.
fn suspend(host: &Host, key: &str) -> Result<i32> {
    let file = file_of(host, key)?;
    let arguments = ["key", "suspend", "--key-file", &file, "--reason", "leaked"];
    Ok(exit_of(host, &arguments)?.0)
}

fn state_of(host: &Host, key: &str) -> Result<String> {
    let file = file_of(host, key)?;
    let shown = ask(host, &["key", "show", "--key-file", &file])?;
    let state = shown["key"]["state"].as_str();
    Ok(state.context("a key has a state")?.to_owned())
}

#[test]
fn an_acknowledged_order_about_a_key_outlives_kill_9() {
    let (host, daemon) = running("keykill", &Config::default()).unwrap();
    let file = file_of(&host, PUBLIC_KEY).unwrap();
    let mut daemon = Some(daemon);
    for round in 0..4 {
        let is_killed = AtomicBool::new(false);
        // What was acknowledged last, and what was tried after it without an answer.
        let (known, tried) = std::thread::scope(|scope| {
            let orders = scope.spawn(|| {
                let mut known = "ok";
                loop {
                    let is_last = is_killed.load(Ordering::SeqCst);
                    let suspend = ["key", "suspend", "--key-file", &file, "--reason", "x"];
                    let resume = ["key", "resume", "--key-file", &file];
                    let (order, wanted): (&[&str], _) = match known {
                        "ok" => (&suspend, "suspended"),
                        _ => (&resume, "ok"),
                    };
                    let is_done = exit_of(&host, order).unwrap().0 == 0;
                    assert!(is_done || is_killed.load(Ordering::SeqCst), "{order:?}");
                    if !is_done {
                        return (known, Some(wanted));
                    }
                    known = wanted;
                    if is_last {
                        return (known, None);
                    }
                }
            });
            wait::until("orders", Duration::from_secs(60), || {
                let audit = std::fs::read_to_string(host.audit_path()).unwrap_or_default();
                let n_orders = audit.matches("\"kind\":\"key\"").count();
                (n_orders > 3 * (round + 1)).then_some(())
            })
            .unwrap();
            is_killed.store(true, Ordering::SeqCst);
            daemon.take().unwrap().kill().unwrap();
            orders.join().unwrap()
        });
        let state = state_of(&host, PUBLIC_KEY).unwrap();
        assert!(
            state == known || tried == Some(&state),
            "{state}: {known}, {tried:?}"
        );
        daemon = Some(host.botguard.start(&host.lab).unwrap());
        assert_eq!(state_of(&host, PUBLIC_KEY).unwrap(), state);
        // The next round begins with a good key.
        exit_of(&host, &["key", "resume", "--key-file", &file]).unwrap();
    }
}

#[test]
fn orders_about_keys_need_no_daemon() {
    let host = host("keyless", &Config::default()).unwrap();
    assert_eq!(suspend(&host, SHOP_KEY).unwrap(), 0);
    let file = file_of(&host, PARTNER_KEY).unwrap();
    let pin = [
        "key",
        "override",
        "--key-file",
        &file,
        "--pin",
        "--reason",
        "partner",
        "--for",
        "1h",
    ];
    assert_eq!(exit_of(&host, &pin).unwrap().0, 0);
    let _daemon = host.botguard.start(&host.lab).unwrap();
    assert_eq!(state_of(&host, SHOP_KEY).unwrap(), "suspended");
    let shown = ask(&host, &["key", "show", "--key-file", &file]).unwrap();
    assert_eq!(shown["key"]["override"]["standing"], "pinned", "{shown}");
    assert!(shown["key"]["override"]["until"].is_string(), "{shown}");
}

/// A small file system in a directory's place.
struct Small(PathBuf);

impl Small {
    fn mount(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path)?;
        let size = Some("size=12m,mode=0700");
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), size)?;
        Ok(Self(path.to_owned()))
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    fn fill(&self) -> Result<()> {
        let zeros = std::fs::File::open("/dev/zero")?;
        let mut filler = std::fs::File::create(self.filler())?;
        match std::io::copy(&mut &zeros, &mut filler) {
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => Ok(()),
            other => bail!("not filled: {other:?}"),
        }
    }

    fn make_room(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.filler())?)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Whoever still has it open does not keep it there.
        let _unmounted: nix::Result<()> = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// Exit status of an import of more than the store has room for within itself.
fn import_long_list(host: &Host) -> Result<i32> {
    let hosts = (0..300_000_u32).map(|n| std::net::Ipv4Addr::from(0x4000_0000 + 2 * n));
    let hosts: Vec<_> = hosts.map(|host| host.to_string()).collect();
    let list = host.lab.directory().join("long.txt");
    std::fs::write(&list, hosts.join("\n"))?;
    let list = list.to_str().context("a path is text")?;
    Ok(exit_of(host, &["block", "import", list, "--count-only"])?.0)
}

#[test]
fn a_full_disk_loses_no_acknowledged_order() {
    let host = host("keyfull", &Config::default()).unwrap();
    let small = Small::mount(&host.lab.directory().join("state")).unwrap();
    let daemon = host.botguard.start(&host.lab).unwrap();
    assert_eq!(suspend(&host, PUBLIC_KEY).unwrap(), 0);
    small.fill().unwrap();
    assert_eq!(import_long_list(&host).unwrap(), 1);
    // In force and not kept, and it says so.
    assert_eq!(suspend(&host, SHOP_KEY).unwrap(), 1);
    assert_eq!(state_of(&host, SHOP_KEY).unwrap(), "suspended");
    assert_eq!(exit_of(&host, &["status"]).unwrap().0, 2);
    daemon.kill().unwrap();
    small.make_room().unwrap();
    assert_eq!(state_of(&host, PUBLIC_KEY).unwrap(), "suspended");

    let daemon = host.botguard.start(&host.lab).unwrap();
    small.fill().unwrap();
    assert_eq!(import_long_list(&host).unwrap(), 1);
    assert_eq!(suspend(&host, PARTNER_KEY).unwrap(), 1);
    small.make_room().unwrap();
    // It is tried again every second.
    wait::until("the store", Duration::from_secs(20), || {
        let (exit, _said) = exit_of(&host, &["status"]).ok()?;
        (exit == 0).then_some(())
    })
    .unwrap();
    daemon.kill().unwrap();
    for key in [PUBLIC_KEY, PARTNER_KEY] {
        assert_eq!(state_of(&host, key).unwrap(), "suspended", "{key}");
    }
}
