//! Reloads under load: `h2load` at work, a WebSocket and an upload open. No request fails, what is
//! open stays open, and memory stays where it was.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use botguard_tests::config::Config;
use botguard_tests::echo_app;
use botguard_tests::host::{Host, UPSTREAM};
use botguard_tests::lab::EDGE_V4;
use botguard_tests::wait;
use tokio::sync::mpsc;

use crate::fixture::{SCRAPER, USER, ask, exit_of};
use crate::held_open::hold_open;

const N_RELOADS: usize = 200;

/// Of one run of `h2load`; there is one after the other.
const N_REQUESTS: &str = "2000";

#[test]
fn nobody_notices_two_hundred_reloads() -> Result<()> {
    // Proxies, limits and upstreams are taken up with the policy.
    let config = |turn: usize| Config {
        mode: "log",
        proxies: ["\"10.0.0.0/8\"", "\"10.0.0.0/9\""][turn % 2],
        tier_weight: [0.10, 0.20][turn % 2],
        ..Config::default()
    };
    let mut host = Host::set_up("reload", &config(0))?;
    host.lab.add_source(USER.parse()?)?;
    host.serve_with(|| echo_app::serve(UPSTREAM));
    let _daemon = host.botguard.start(&host.lab)?;

    let tls = host.certificate.client(&["http/1.1"]);
    let (asks, asked) = mpsc::channel(1);
    let (tells, mut told) = mpsc::channel(1);
    let open = host.lab.world.spawn(move || hold_open(tls, asked, tells));
    told.blocking_recv().context("nothing was opened")?;

    let pid = ask(&host, &["status"])?["daemon"]["pid"].to_string();
    let (mut load, mut n_loads) = (None, 0);
    let mut after_warming = 0;
    for number in 1..=N_RELOADS {
        if load.is_none() {
            load = Some(h2load(&host)?);
        }
        host.configure(&config(number))?;
        host.botguard.expect(&host.lab, &["reload"])?;
        if number.is_multiple_of(10) {
            asks.blocking_send(())?;
            told.blocking_recv().context("what was open has broken")?;
        }
        if number == N_RELOADS / 2 {
            after_warming = resident_kib(&pid)?;
        }
        if let Some(child) = load.as_mut()
            && child.try_wait()?.is_some()
            && let Some(child) = load.take()
        {
            all_succeeded(child)?;
            n_loads += 1;
        }
    }
    let grown = resident_kib(&pid)?.saturating_sub(after_warming);
    ensure!(grown < 6 * 1_024, "{grown} KiB more after the reloads");
    if let Some(child) = load {
        all_succeeded(child)?;
        n_loads += 1;
    }
    ensure!(n_loads > 0);
    drop(asks);
    open.join()
        .map_err(|_panic| anyhow::anyhow!("what was open has panicked"))?
}

/// A third listener, on a port of its own.
fn one_more(address: &str) -> &'static str {
    let text = format!(
        "[[listener]]\nbind = \"{address}\"\nupstream = \"app\"\nself_signed = [\"edge.test\"]"
    );
    Box::leak(text.into_boxed_str())
}

/// Whether somebody answers there.
fn is_served(host: &Host, address: &str) -> Result<bool> {
    let mut command = host.lab.world.command("curl");
    command.args(["-ksS", "--max-time", "5", &format!("https://{address}/")]);
    let output = command.output().context("curl")?;
    Ok(output.stdout == b"here")
}

#[test]
fn listeners_come_and_go_under_load() -> Result<()> {
    let address = format!("{EDGE_V4}:8444");
    let config = |more| Config {
        mode: "enforce",
        more,
        ..Config::default()
    };
    let mut host = Host::set_up("listeners", &config(""))?;
    host.lab.add_source(USER.parse()?)?;
    host.serve_with(|| echo_app::serve(UPSTREAM));
    let _daemon = host.botguard.start(&host.lab)?;
    (host.botguard).expect(&host.lab, &["block", "add", SCRAPER])?;
    let is_guarded = || exit_of(&host, &["would-block", SCRAPER, "--port", "8444"]);
    let n_listeners = || {
        let status = ask(&host, &["status"])?;
        Ok::<_, anyhow::Error>(status["daemon"]["listeners"].as_array().map(Vec::len))
    };

    let tls = host.certificate.client(&["http/1.1"]);
    let (asks, asked) = mpsc::channel(1);
    let (tells, mut told) = mpsc::channel(1);
    let open = host.lab.world.spawn(move || hold_open(tls, asked, tells));
    told.blocking_recv().context("nothing was opened")?;
    let load = h2load(&host)?;
    for _turn in 0..5 {
        host.configure(&config(one_more(&address)))?;
        let report = host.botguard.expect(&host.lab, &["reload"])?;
        ensure!(
            report.contains(&format!("listens on {address}")),
            "{report}"
        );
        ensure!(is_served(&host, &address)?);
        ensure!(n_listeners()? == Some(3));
        ensure!(is_guarded()?.0 == 0, "{:?}", is_guarded()?);

        // One that cannot be had changes nothing.
        host.configure(&config(one_more("127.0.0.1:9480")))?;
        let (code, error) = exit_of(&host, &["reload"])?;
        ensure!(code != 0 && error.contains("127.0.0.1:9480"), "{error}");
        ensure!(is_served(&host, &address)?);
        ensure!(n_listeners()? == Some(3));

        host.configure(&config(""))?;
        let report = host.botguard.expect(&host.lab, &["reload"])?;
        ensure!(report.contains(&format!("closed {address}")), "{report}");
        ensure!(n_listeners()? == Some(2));
        wait::until("nobody listens", Duration::from_secs(5), || {
            matches!(is_served(&host, &address), Ok(false)).then_some(())
        })?;
        ensure!(is_guarded()?.0 == 2, "{:?}", is_guarded()?);
        asks.blocking_send(())?;
        told.blocking_recv().context("what was open has broken")?;
    }
    all_succeeded(load)?;
    drop(asks);
    open.join()
        .map_err(|_panic| anyhow::anyhow!("what was open has panicked"))?
}

fn h2load(host: &Host) -> Result<std::process::Child> {
    let url = format!("https://{}/pricing", Host::server(USER.parse()?)?);
    let mut command = host.lab.world.command("h2load");
    command.args(["-n", N_REQUESTS, "-c", "8", "-m", "4", &url]);
    let child = command.stdout(Stdio::piped()).spawn();
    child.context("h2load; `cargo xtask setup` installs it")
}

fn all_succeeded(child: std::process::Child) -> Result<()> {
    let summary = String::from_utf8(child.wait_with_output()?.stdout)?;
    let wanted = format!("{N_REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout");
    ensure!(summary.contains(&wanted), "{summary}");
    Ok(())
}

fn resident_kib(pid: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("VmRSS")?.parse()?)
}
