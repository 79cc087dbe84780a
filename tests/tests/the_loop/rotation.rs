//! A source address for each connection, as from a botnet or a rented pool of proxies: what the
//! daemon remembers of them is bounded, and what they held is given back.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use botguard_tests::client::Client;
use botguard_tests::config::Config;
use botguard_tests::host::Host;
use botguard_tests::wait;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;

use crate::fixture::{USER, ask, running, status_of};

/// One connection in so many brings a request; the others leave in the middle of the handshake.
const ONE_IN: u32 = 5;

/// Bytes that the daemon may keep of an address that has sent a request, and of what its record
/// and its connection left behind in the allocator.
const BYTES_A_PRINCIPAL: u64 = 2 * 1_024;

#[test]
fn a_hundred_thousand_addresses_leave_nothing_behind() -> Result<()> {
    let config = Config {
        mode: "log",
        ..Config::default()
    };
    let (host, _daemon) = running("rotation", &config)?;
    // Every address of 10/8 is the world's, and reached by way of one that answers ARP.
    host.lab
        .world
        .ip(&["route", "add", "local", "10.0.0.0/8", "dev", "world"])?;
    host.lab.edge.ip(&[
        "route",
        "add",
        "10.0.0.0/8",
        "via",
        USER,
        "dev",
        "edge",
        "onlink",
    ])?;
    let pid = ask(&host, &["status"])?["daemon"]["pid"].to_string();
    // The first requests fill what is filled once.
    rotate(&host, 0, 500)?;
    let before = At::rest(&pid)?;
    rotate(&host, 500, n_connections()?)?;
    // The last ones may still be closing.
    let after = wait::until(
        "descriptors are given back",
        Duration::from_secs(30),
        || {
            let now = At::rest(&pid).ok()?;
            (now.n_descriptors <= before.n_descriptors + 8).then_some(now)
        },
    )?;
    let n_principals = u64::from(n_connections()? / ONE_IN);
    let allowed = n_principals * BYTES_A_PRINCIPAL / 1_024 + 8 * 1_024;
    let grown = after.resident_kib.saturating_sub(before.resident_kib);
    ensure!(grown <= allowed, "{grown} KiB more, {allowed} are allowed");
    ensure!(status_of(&host, USER, "/pricing")? == Some(200));
    Ok(())
}

fn n_connections() -> Result<u32> {
    match std::env::var("BOTGUARD_ROTATIONS") {
        Ok(number) => number.parse().context("BOTGUARD_ROTATIONS"),
        Err(_unset) => Ok(100_000),
    }
}

/// Connections of the addresses with these numbers, one each.
fn rotate(host: &Host, first: u32, n_connections: u32) -> Result<()> {
    let tls = host.certificate.client(&["http/1.1"]);
    let next = Arc::new(AtomicU32::new(first));
    let answered = host.in_world(move || async move {
        let mut workers = Vec::new();
        for _ in 0..N_WORKERS {
            let (tls, next) = (Arc::clone(&tls), Arc::clone(&next));
            workers.push(tokio::spawn(async move {
                let mut n_answered = 0;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= first + n_connections {
                        return Ok::<_, anyhow::Error>(n_answered);
                    }
                    let source = IpAddr::V4(Ipv4Addr::from(0x0A00_0100 + number));
                    if number.is_multiple_of(ONE_IN) {
                        let mut client =
                            Client::new(source, Host::server(source)?, Arc::clone(&tls));
                        let answer = client.get("/pricing", &[("user-agent", "test")]).await?;
                        ensure!(answer.status == 200, "{source}: {}", answer.status);
                        n_answered += 1;
                    } else {
                        break_off(source).await?;
                    }
                }
            }));
        }
        let mut n_answered = 0;
        for worker in workers {
            n_answered += worker.await??;
        }
        Ok(n_answered)
    })?;
    ensure!(answered == n_connections / ONE_IN, "{answered} answered");
    Ok(())
}

const N_WORKERS: usize = 32;

/// Begins a handshake, and leaves.
async fn break_off(source: IpAddr) -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(source, 0))?;
    let mut stream = socket.connect(Host::server(source)?).await?;
    stream.write_all(b"\x16\x03\x01\x02\x00\x01").await?;
    Ok(())
}

/// What the daemon holds.
#[derive(Clone, Copy, Debug)]
struct At {
    resident_kib: u64,
    n_descriptors: usize,
}

impl At {
    fn rest(pid: &str) -> Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = line.and_then(|line| line.split_whitespace().next());
        Ok(Self {
            resident_kib: resident.context("VmRSS")?.parse()?,
            n_descriptors: std::fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
        })
    }
}
