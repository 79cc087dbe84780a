//! A daemon takes over from another under a stream of new connections: no client notices, and what was
//! one daemon's (blocks, audit log) is the next one's.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use botguard_tests::client::Client;
use botguard_tests::config::Config;
use botguard_tests::host::Host;
use botguard_tests::wait;
use parking_lot::Mutex;

use crate::fixture::{
    SCRAPER, SHOP_KEY, USER, USER_V6, audit_of, is_dropped_by, running, status_of,
};

/// What the clients have seen.
#[derive(Default)]
struct Seen {
    n_answered: AtomicUsize,
    failures: Mutex<Vec<String>>,
    is_over: AtomicBool,
    n_gone: AtomicUsize,
}

impl Seen {
    /// A connection for each request, one after the other.
    async fn keep_coming(&self, source: IpAddr, tls: &Arc<rustls::ClientConfig>) -> Result<()> {
        while !self.is_over.load(Ordering::Relaxed) {
            let mut client = Client::new(source, Host::server(source)?, Arc::clone(tls))
                .with_patience(Duration::from_secs(20));
            let headers = [("x-api-key", SHOP_KEY), ("user-agent", "test")];
            match client.get("/pricing", &headers).await {
                Ok(answer) if answer.status.is_success() => {
                    self.n_answered.fetch_add(1, Ordering::Relaxed);
                }
                Ok(answer) => self.failures.lock().push(answer.status.to_string()),
                Err(error) => self.failures.lock().push(format!("{error:#}")),
            }
        }
        self.n_gone.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn wait_for_more(&self) -> Result<()> {
        let before = self.n_answered.load(Ordering::Relaxed);
        wait::until("more answers", Duration::from_secs(20), || {
            (self.n_answered.load(Ordering::Relaxed) > before + 40).then_some(())
        })
    }
}

#[test]
fn a_takeover_loses_no_connection() -> Result<()> {
    let (mut host, mut daemon) = running("takeover", &Config::default())?;
    let seen = Arc::new(Seen::default());
    let clients = [
        (USER, "http/1.1"),
        (USER, "h2"),
        (USER_V6, "http/1.1"),
        (USER_V6, "h2"),
    ];
    for (source, protocol) in clients {
        let (seen, source) = (Arc::clone(&seen), source.parse()?);
        let tls = host.certificate.client(&[protocol]);
        host.beside(move |_end| async move { seen.keep_coming(source, &tls).await });
    }
    host.botguard
        .expect(&host.lab, &["block", "add", SCRAPER])?;
    let outcome = (0..3).try_for_each(|_| {
        seen.wait_for_more()?;
        let next = host.botguard.take_over(&host.lab)?;
        std::mem::replace(&mut daemon, next).ended()
    });
    let outcome = outcome.and_then(|()| seen.wait_for_more());
    seen.is_over.store(true, Ordering::Relaxed);
    outcome?;
    wait::until("all clients end", Duration::from_secs(20), || {
        (seen.n_gone.load(Ordering::Relaxed) == clients.len()).then_some(())
    })?;
    ensure!(is_dropped_by(&host, SCRAPER, "operator")?);
    ensure!(status_of(&host, USER, "/pricing")? == Some(200));
    daemon.stop()?;
    let failures = seen.failures.lock();
    ensure!(failures.is_empty(), "{failures:?}");

    let records = audit_of(&host, seen.n_answered.load(Ordering::Relaxed) + 1)?;
    for (expected, record) in (0_u64..).zip(&records) {
        ensure!(record["seq"] == expected, "{record}");
    }
    Ok(())
}
