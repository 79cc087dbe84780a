//! A daemon with `user`: what faces the network has no privilege, the steward has three capabilities
//! and no more, and everything works as with root; without the steward, everything that takes none.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use botguard_tests::config::Config;
use botguard_tests::daemon::Daemon;
use botguard_tests::host::Host;
use botguard_tests::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};

use crate::fixture::{
    PARTNER, PUBLIC_KEY, SCRAPER, USER, USER_V6, ask, exit_of, host, is_dropped_by, page_through,
    status_of,
};
use crate::restart::read_until;

const NOBODY: &str = "nobody";

/// AS16509 as well.
const NEIGHBOUR: &str = "54.66.7.9";

/// A host whose daemon is to become [`NOBODY`].
fn reduced(name: &str) -> Result<Host> {
    let host = host(name, &Config::default())?;
    set_up(&host, |text| text)?;
    Ok(host)
}

/// Writes the configuration with `user`, and directories that botguard has to itself.
pub(crate) fn set_up(host: &Host, change: impl Fn(String) -> String) -> Result<()> {
    host.configure(&Config::default())?;
    let directory = host.lab.directory();
    let text = fs::read_to_string(host.botguard.config())?;
    let own = |name: &str| directory.join(name).display().to_string();
    let text = text
        .replace(&own("admin.sock"), &own("run/admin.sock"))
        .replace(&own("audit.jsonl"), &own("log/audit.jsonl"));
    let text = change(format!("user = \"{NOBODY}\"\n{text}"));
    fs::write(host.botguard.config(), text)?;
    let shared = [directory, &host.certificate.key, &host.certificate.chain];
    shared
        .into_iter()
        .try_for_each(|path| set_mode(path, 0o755))
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

/// A line of `/proc/PID/status`, without the blanks.
fn line(pid: i32, name: &str) -> Result<Vec<String>> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let prefix = format!("{name}:");
    let line = status.lines().find_map(|line| line.strip_prefix(&prefix));
    let words = line.context("no such line")?.split_whitespace();
    Ok(words.map(ToOwned::to_owned).collect())
}

/// Every capability set as a number.
fn capabilities(pid: i32) -> Result<[u64; 5]> {
    let set = |name| Ok::<_, anyhow::Error>(u64::from_str_radix(&line(pid, name)?.concat(), 16)?);
    Ok([
        set("CapInh")?,
        set("CapPrm")?,
        set("CapEff")?,
        set("CapBnd")?,
        set("CapAmb")?,
    ])
}

pub(crate) fn daemon_pid(host: &Host) -> Result<i32> {
    let pid = ask_anyway(host)?["daemon"]["pid"].as_i64();
    Ok(i32::try_from(pid.context("a daemon runs")?)?)
}

/// The status, also of a daemon that is degraded.
fn ask_anyway(host: &Host) -> Result<serde_json::Value> {
    let output = host.botguard.run(&host.lab, &["status", "--json"])?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The child of the daemon.
pub(crate) fn steward_of(daemon: i32) -> Result<i32> {
    let children = fs::read_to_string(format!("/proc/{daemon}/task/{daemon}/children"))?;
    Ok(children.trim().parse()?)
}

fn sockets_of(pid: i32) -> Result<BTreeSet<PathBuf>> {
    let handles = fs::read_dir(format!("/proc/{pid}/fd"))?;
    let targets = handles.filter_map(|handle| fs::read_link(handle.ok()?.path()).ok());
    Ok(targets
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .collect())
}

fn is_alive(pid: i32) -> bool {
    line(pid, "State").is_ok_and(|state| state[0] != "Z")
}

fn import(host: &Host, name: &str, network: &str) -> Result<(i32, String)> {
    let list = host.lab.directory().join(name);
    fs::write(&list, format!("{network}\n"))?;
    let list = list.to_str().context("a path is text")?;
    exit_of(host, &["block", "import", list])
}

/// CAP_NET_ADMIN, CAP_PERFMON and CAP_BPF.
const STEWARD: u64 = 1 << 12 | 1 << 38 | 1 << 39;

#[test]
fn what_faces_the_network_has_no_privilege() -> Result<()> {
    let host = reduced("privileges")?;
    let daemon = host.botguard.start(&host.lab)?;
    let pid = daemon_pid(&host)?;
    let nobody = User::from_name(NOBODY)?.context("every host has it")?;
    let uid = nobody.uid.to_string();

    // Of each thread: capabilities are theirs.
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task: i32 = task?.file_name().to_string_lossy().parse()?;
        ensure!(line(task, "Uid")? == vec![uid.as_str(); 4], "{task}");
        ensure!(line(task, "Gid")? == vec![nobody.gid.to_string(); 4]);
        ensure!(!line(task, "Groups")?.contains(&"0".to_owned()));
        ensure!(capabilities(task)? == [0; 5], "{:?}", capabilities(task)?);
        ensure!(line(task, "NoNewPrivs")? == ["1"]);
    }
    let steward = steward_of(pid)?;
    ensure!(line(steward, "Uid")? == ["0"; 4]);
    ensure!(line(steward, "Groups")?.is_empty());
    let kept = capabilities(steward)?;
    ensure!(kept == [0, STEWARD, STEWARD, STEWARD, 0], "{kept:x?}");
    ensure!(line(steward, "NoNewPrivs")? == ["1"]);
    let sockets = sockets_of(steward)?;
    ensure!(
        sockets.len() == 1,
        "only the one to the daemon: {sockets:?}"
    );

    // Everything works as before.
    ensure!(exit_of(&host, &["status"])?.0 == 0, "{}", daemon.log());
    ensure!(status_of(&host, SCRAPER, "/pricing")? == Some(200));
    host.botguard
        .expect(&host.lab, &["block", "add", SCRAPER])?;
    ensure!(is_dropped_by(&host, SCRAPER, "operator")?);
    let (exit, said) = import(&host, "feed.txt", "5.9.10.0/24")?;
    ensure!(exit == 0, "{said}");
    ensure!(is_dropped_by(&host, PARTNER, "list:feed")?);
    host.lab.add_source(NEIGHBOUR.parse()?)?;
    let answers = page_through(&host, NEIGHBOUR, PUBLIC_KEY, 1_000, &[])?;
    ensure!(answers.blocked >= 20, "{answers:?}");
    ensure!(
        is_dropped_by(&host, NEIGHBOUR, "automatic")?,
        "{}",
        daemon.log()
    );
    host.botguard.expect(&host.lab, &["reload"])?;
    host.botguard.expect(&host.lab, &["kernel", "detach"])?;
    ensure!(
        status_of(&host, SCRAPER, "/pricing")? == Some(403),
        "by the edge"
    );
    host.botguard.expect(&host.lab, &["kernel", "attach"])?;
    ensure!(is_dropped_by(&host, SCRAPER, "operator")?);
    for source in [USER, USER_V6] {
        ensure!(status_of(&host, source, "/pricing")? == Some(200));
    }

    daemon.stop()?;
    wait::until("the steward ends", Duration::from_secs(5), || {
        (!is_alive(steward)).then_some(())
    })?;
    ensure!(
        is_dropped_by(&host, SCRAPER, "operator")?,
        "what is pinned stays"
    );
    Ok(())
}

#[test]
fn without_the_steward_everything_goes_on_that_takes_no_privilege() -> Result<()> {
    let host = reduced("no-steward")?;
    let daemon = host.botguard.start(&host.lab)?;
    let (exit, said) = import(&host, "feed.txt", "5.9.10.0/24")?;
    ensure!(exit == 0, "{said}");
    let steward = steward_of(daemon_pid(&host)?)?;
    // One that hangs is in nobody's way.
    kill(Pid::from_raw(steward), Signal::SIGSTOP)?;
    ensure!(exit_of(&host, &["status"])?.0 == 0);
    host.botguard
        .expect(&host.lab, &["block", "add", USER_V6])?;
    ensure!(is_dropped_by(&host, USER_V6, "operator")?);
    kill(Pid::from_raw(steward), Signal::SIGKILL)?;
    wait::until("it is gone", Duration::from_secs(5), || {
        (!is_alive(steward)).then_some(())
    })?;

    let output = host.botguard.run(&host.lab, &["status"])?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(output.status.code() == Some(2), "{said}");
    ensure!(said.contains("privileged helper"), "{said}");
    ensure!(said.contains("attached"), "it still is: {said}");
    // Traffic, blocks in force, and new single ones.
    ensure!(status_of(&host, USER, "/pricing")? == Some(200));
    ensure!(is_dropped_by(&host, PARTNER, "list:feed")?);
    host.botguard
        .expect(&host.lab, &["block", "add", SCRAPER])?;
    ensure!(is_dropped_by(&host, SCRAPER, "operator")?);
    // What takes new tables is refused, and says why; nothing is lost by that.
    let (exit, said) = import(&host, "feed.txt", "198.51.100.0/24")?;
    ensure!(
        exit == 1 && said.contains("privileged helper"),
        "{exit}: {said}"
    );
    for arguments in [["kernel", "attach"], ["kernel", "detach"]] {
        let (exit, said) = exit_of(&host, &arguments)?;
        ensure!(exit == 1 && said.contains("privileged helper"), "{said}");
    }
    ensure!(is_dropped_by(&host, PARTNER, "list:feed")?);
    ensure!(is_dropped_by(&host, SCRAPER, "operator")?);

    // A restart is the mend.
    daemon.stop()?;
    let _daemon = host.botguard.start(&host.lab)?;
    ensure!(exit_of(&host, &["status"])?.0 == 0);
    ensure!(is_dropped_by(&host, SCRAPER, "operator")?);
    Ok(())
}

#[test]
fn a_steward_ends_with_its_daemon_and_the_next_adopts_the_pins() -> Result<()> {
    let host = reduced("orphan")?;
    // As root has left it: files and pins are root's.
    set_up(&host, |text| text.replace("user =", "# user ="))?;
    let daemon = host.botguard.start(&host.lab)?;
    ensure!(daemon.log().contains("runs as root"), "{}", daemon.log());
    host.botguard
        .expect(&host.lab, &["block", "add", SCRAPER])?;
    set_up(&host, |text| text)?;
    // Of root's daemon by the user's, and of that by another.
    let next = host.botguard.take_over(&host.lab)?;
    daemon.ended()?;
    ensure!(line(daemon_pid(&host)?, "CapEff")? == ["0000000000000000"]);
    let mut daemon = host.botguard.take_over(&host.lab)?;
    next.ended()?;
    ensure!(is_dropped_by(&host, SCRAPER, "operator")?);
    for _ in 0..3 {
        let steward = steward_of(daemon_pid(&host)?)?;
        daemon.kill()?;
        wait::until("the steward ends", Duration::from_secs(5), || {
            (!is_alive(steward)).then_some(())
        })?;
        // Without a daemon root's commands work on the same files, and leave none that are root's.
        host.botguard
            .expect(&host.lab, &["block", "add", PARTNER])?;
        host.botguard
            .expect(&host.lab, &["block", "del", PARTNER])?;
        daemon = host.botguard.start(&host.lab)?;
        ensure!(exit_of(&host, &["status"])?.0 == 0, "{}", daemon.log());
        ensure!(is_dropped_by(&host, SCRAPER, "operator")?);
    }
    ensure!(roots_files(&host)?.is_empty(), "{:?}", roots_files(&host)?);
    Ok(())
}

/// What is root's of that which botguard has to itself.
fn roots_files(host: &Host) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for name in ["state", "log", "run"] {
        let directory = host.lab.directory().join(name);
        let inside = fs::read_dir(&directory)?;
        let inside = inside.map(|entry| entry.map(|entry| entry.path()));
        for path in inside.chain([Ok(directory.clone())]) {
            let path = path?;
            if fs::symlink_metadata(&path)?.uid() == 0 {
                found.push(path);
            }
        }
    }
    Ok(found)
}

#[test]
fn what_the_user_cannot_read_is_noticed_before_a_reload() -> Result<()> {
    let host = reduced("unreadable")?;
    let key = &host.certificate.key;
    let fails = |command: &[&str]| -> Result<()> {
        let (exit, said) = exit_of(&host, command)?;
        ensure!(exit != 0, "{command:?}");
        for part in ["nobody", "chgrp", "botguard.toml"] {
            ensure!(said.contains(part), "{command:?}: {said}");
        }
        Ok(())
    };
    let checks = ["run", "--check"];
    set_mode(key, 0o600)?;
    fails(&checks)?;
    fails(&["run"])?;
    set_mode(key, 0o644)?;
    set_mode(host.botguard.config(), 0o600)?;
    fails(&checks)?;
    fails(&["run"])?;
    set_mode(host.botguard.config(), 0o644)?;
    ensure!(exit_of(&host, &checks)?.0 == 0);

    let daemon = host.botguard.start(&host.lab)?;
    set_mode(key, 0o600)?;
    fails(&["reload"])?;
    ensure!(status_of(&host, USER, "/pricing")? == Some(200));
    set_mode(key, 0o644)?;
    host.botguard.expect(&host.lab, &["reload"])?;
    daemon.stop()
}

/// Root gives away its own files, in directories where somebody else may have put others.
#[test]
fn what_is_not_botguards_stays_roots() -> Result<()> {
    let host = reduced("given")?;
    let at = |name: &str| host.lab.directory().join(name);
    for directory in ["state", "log"] {
        fs::create_dir(at(directory))?;
    }
    fs::write(at("victim"), "")?;
    fs::write(at("linked"), "")?;
    symlink(at("victim"), at("state/store.redb.corrupt-1"))?;
    fs::hard_link(at("linked"), at("state/store.redb.corrupt-2"))?;
    fs::write(at("log/audit.jsonl"), "")?;
    fs::write(at("log/audit.jsonl-20260101T000000Z"), "")?;
    fs::write(at("log/audit.jsonlines"), "")?;
    let _daemon = host.botguard.start(&host.lab)?;
    let check = |name: &str, is_given: bool| -> Result<()> {
        let owner = fs::symlink_metadata(at(name))?.uid();
        ensure!((owner != 0) == is_given, "{name} is uid {owner}'s");
        Ok(())
    };
    check("victim", false)?;
    check("linked", false)?;
    check("state", true)?;
    check("state/store.redb", true)?;
    check("log/audit.jsonl", true)?;
    check("log/audit.jsonl-20260101T000000Z", true)?;
    check("log/audit.jsonlines", false)?;
    // Something else is in it.
    check("log", false)?;
    check("run", true)?;
    check("run/admin.sock", true)?;
    check("botguard.toml", false)
}

#[test]
fn the_steward_gets_no_socket_that_the_service_manager_keeps() -> Result<()> {
    let host = reduced("kept")?;
    let notify = host.lab.directory().join("notify");
    let manager = UnixDatagram::bind(&notify)?;
    manager.set_read_timeout(Some(Duration::from_secs(20)))?;
    set_mode(&notify, 0o777)?;
    let mut kept = Vec::new();
    let daemon = host.botguard.start_as_service(&host.lab, &notify, &[])?;
    read_until(&manager, "READY=1", &mut kept)?;
    ensure!(kept.len() == 2, "one for each listener");
    daemon.stop()?;
    let _next = host.botguard.start_as_service(&host.lab, &notify, &kept)?;
    ensure!(sockets_of(steward_of(daemon_pid(&host)?)?)?.len() == 1);
    ensure!(status_of(&host, USER, "/pricing")? == Some(200));
    Ok(())
}

#[test]
fn an_unknown_user_is_a_mistake_in_the_configuration() -> Result<()> {
    let host = reduced("unknown-user")?;
    set_up(&host, |text| text.replace(NOBODY, "no-such-user"))?;
    for arguments in [["run"].as_slice(), &["run", "--check"]] {
        let (exit, said) = exit_of(&host, arguments)?;
        ensure!(exit == 64, "{exit}: {said}");
        ensure!(said.contains("botguard.toml:1: user: "), "{said}");
    }
    Ok(())
}

/// A port below 1,024, bound by root.
#[test]
fn a_port_that_takes_root_is_served() -> Result<()> {
    let host = reduced("low-port")?;
    set_up(&host, |text| text.replace(":8443\"", ":443\""))?;
    let daemon: Daemon = host.botguard.start(&host.lab)?;
    let listeners = ask(&host, &["status"])?["daemon"]["listeners"].clone();
    ensure!(listeners[0]["bind"] == "192.0.2.1:443", "{listeners}");
    let next = host.botguard.take_over(&host.lab)?;
    daemon.ended()?;
    ensure!(exit_of(&host, &["status"])?.0 == 0);
    next.stop()
}
