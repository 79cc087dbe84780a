//! What the tests of this binary share: sources, keys, and short ways to send and to ask.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use botguard_tests::audit::AuditTail;
use botguard_tests::client::Client;
use botguard_tests::config::Config;
use botguard_tests::daemon::Daemon;
use botguard_tests::host::Host;
use botguard_tests::sample_api::SampleApi;
use botguard_tests::wait;
use serde_json::Value;

/// AS16509, Amazon.
pub(crate) const SCRAPER: &str = "54.66.7.8";
/// AS7922, Comcast.
pub(crate) const USER: &str = "73.15.20.30";
/// AS3320, Deutsche Telekom.
pub(crate) const USER_V6: &str = "2003:c0:1::5";
/// AS24940, Hetzner.
pub(crate) const PARTNER: &str = "5.9.10.20";

/// Free tier, for browsers; the page that people load carries it.
pub(crate) const PUBLIC_KEY: &str = "sk_pub_xyz123kd92mvbq07trw4ynlcze518jqa3";
/// Another of the same tier.
pub(crate) const SHOP_KEY: &str = "sk_pub_shop77q1mzx83hv02ckt5wrdy9b4e6fun";
/// A partner's, for machines.
pub(crate) const PARTNER_KEY: &str = "sk_live_partner5c1v9xkq27dmzt0hw84b3";

/// A host with the application up and all sources present.
pub(crate) fn host(name: &str, config: &Config) -> Result<Host> {
    host_with_keys(name, config, &[PUBLIC_KEY, SHOP_KEY, PARTNER_KEY])
}

/// The same with an application that knows these keys.
pub(crate) fn host_with_keys(name: &str, config: &Config, keys: &[&str]) -> Result<Host> {
    let mut host = Host::set_up(name, config)?;
    for source in [SCRAPER, USER, USER_V6, PARTNER] {
        host.lab.add_source(source.parse()?)?;
    }
    host.serve(SampleApi::new(keys));
    Ok(host)
}

/// The same with a running daemon.
pub(crate) fn running(name: &str, config: &Config) -> Result<(Host, Daemon)> {
    let host = host(name, config)?;
    let daemon = host.botguard.start(&host.lab)?;
    Ok((host, daemon))
}

/// Statuses by number of answers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Answers {
    /// 2xx.
    pub(crate) ok: u32,
    /// 403.
    pub(crate) blocked: u32,
    /// 429.
    pub(crate) throttled: u32,
    /// Other statuses.
    pub(crate) other: u32,
    /// None at all.
    pub(crate) unanswered: u32,
}

/// `n_requests` pages of `/users` from `source` with `key`, over `n_connections`, as fast as they
/// are answered; each further header is added to every request. A connection that goes unanswered
/// twice gives up.
pub(crate) fn page_through(
    host: &Host,
    source: &str,
    key: &'static str,
    n_requests: u32,
    headers: &'static [(&'static str, &'static str)],
) -> Result<Answers> {
    const N_CONNECTIONS: u32 = 4;
    let source: IpAddr = source.parse()?;
    let tls = host.certificate.client(&["http/1.1"]);
    host.in_world(move || async move {
        let mut workers = Vec::new();
        for worker in 0..N_CONNECTIONS {
            let client = Client::new(source, Host::server(source)?, Arc::clone(&tls));
            let mut client = client.with_patience(Duration::from_millis(1_500));
            workers.push(tokio::spawn(async move {
                let mut all = vec![("x-api-key", key), ("user-agent", "python-requests/2.32")];
                all.extend(headers);
                let mut answers = Answers::default();
                for request in (worker..n_requests).step_by(N_CONNECTIONS as usize) {
                    let target = format!("/users?cursor=c{}", request * 5);
                    answers.count(
                        client
                            .get(&target, &all)
                            .await
                            .map(|got| got.status.as_u16()),
                    );
                    // One may be the connection that a ban broke; two are a drop in the kernel.
                    if answers.unanswered >= 2 {
                        break;
                    }
                }
                answers
            }));
        }
        let mut sum = Answers::default();
        for worker in workers {
            sum.add(worker.await?);
        }
        Ok(sum)
    })
}

impl Answers {
    pub(crate) fn count(&mut self, status: Result<u16>) {
        let counter = match status {
            Ok(200..=299) => &mut self.ok,
            Ok(403) => &mut self.blocked,
            Ok(429) => &mut self.throttled,
            Ok(_) => &mut self.other,
            Err(_) => &mut self.unanswered,
        };
        *counter += 1;
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.ok += other.ok;
        self.blocked += other.blocked;
        self.throttled += other.throttled;
        self.other += other.other;
        self.unanswered += other.unanswered;
    }
}

/// One `GET` from `source`; its status, or none if there was no answer within 1.5 s.
pub(crate) fn status_of(host: &Host, source: &str, target: &'static str) -> Result<Option<u16>> {
    status_with(host, source, SHOP_KEY, target)
}

/// The same with a key.
pub(crate) fn status_with(
    host: &Host,
    source: &str,
    key: &'static str,
    target: &'static str,
) -> Result<Option<u16>> {
    let source: IpAddr = source.parse()?;
    let tls = host.certificate.client(&["h2", "http/1.1"]);
    host.in_world(move || async move {
        let client = Client::new(source, Host::server(source)?, tls);
        let mut client = client.with_patience(Duration::from_millis(1_500));
        let answer = client
            .get(target, &[("x-api-key", key), ("user-agent", "test")])
            .await;
        Ok(answer.ok().map(|answer| answer.status.as_u16()))
    })
}

/// Standard output of a command that must succeed, as JSON.
pub(crate) fn ask(host: &Host, arguments: &[&str]) -> Result<Value> {
    let mut all = arguments.to_vec();
    all.push("--json");
    let output = host.botguard.expect(&host.lab, &all)?;
    serde_json::from_str(&output).with_context(|| format!("{arguments:?}: {output}"))
}

/// Exit status of a command, and what it wrote to standard error.
pub(crate) fn exit_of(host: &Host, arguments: &[&str]) -> Result<(i32, String)> {
    let output = host.botguard.run(&host.lab, arguments)?;
    let code = output.status.code().context("ended by a signal")?;
    Ok((code, String::from_utf8(output.stderr)?))
}

/// Packets dropped by the kernel, by its own counters.
pub(crate) fn dropped(host: &Host) -> Result<u64> {
    let drops = drops(host)?;
    let packets = drops.iter().filter_map(|drop| drop["packets"].as_u64());
    Ok(packets.sum())
}

/// Those of one rule.
fn dropped_by(host: &Host, rule: &str) -> Result<u64> {
    let drops = drops(host)?;
    let of_rule = drops.iter().filter(|drop| drop["name"] == rule);
    Ok(of_rule.filter_map(|drop| drop["packets"].as_u64()).sum())
}

fn drops(host: &Host) -> Result<Vec<Value>> {
    let stats = ask(host, &["kernel", "stats"])?;
    let drops = stats["drops"].as_array().context("`drops` is a list")?;
    Ok(drops.clone())
}

/// Whether the kernel drops what a source sends, on account of this rule. The edge refuses a
/// blocked source as well, but it does so with an answer.
pub(crate) fn is_dropped_by(host: &Host, source: &str, rule: &str) -> Result<bool> {
    let before = dropped_by(host, rule)?;
    let answer = status_of(host, source, "/pricing")?;
    Ok(answer.is_none() && dropped_by(host, rule)? > before)
}

/// All audit records, once there are `n_requests` of requests.
pub(crate) fn audit_of(host: &Host, n_requests: usize) -> Result<Vec<Value>> {
    let mut tail = AuditTail::new(host.audit_path());
    let mut records = Vec::new();
    wait::until("audit records", Duration::from_secs(10), || {
        match tail.read() {
            Ok(new) => records.extend(new),
            Err(error) => return Some(Err(error)),
        }
        let n_seen = records
            .iter()
            .filter(|record| record["kind"] == "request")
            .count();
        (n_seen >= n_requests).then_some(Ok(()))
    })??;
    let n_seen = records
        .iter()
        .filter(|record| record["kind"] == "request")
        .count();
    ensure!(
        n_seen == n_requests,
        "{n_seen} request records, expected {n_requests}"
    );
    Ok(records)
}
