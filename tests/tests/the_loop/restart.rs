//! A daemon takes over from another, or is restarted by a service manager, under a stream of new connections: no client notices, and what was
//! one daemon's (blocks, audit log) is the next one's.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use botguard_tests::client::Client;
use botguard_tests::config::Config;
use botguard_tests::host::Host;
use botguard_tests::wait;
use parking_lot::Mutex;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::fixture::{
    SCRAPER, SHOP_KEY, USER, USER_V6, audit_of, host, is_dropped_by, running, status_of,
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

    /// Starts the clients: both families, both versions of HTTP.
    fn begin(self: &Arc<Self>, host: &mut Host) -> Result<()> {
        for source in [USER, USER_V6] {
            for protocol in ["http/1.1", "h2"] {
                let (seen, source) = (Arc::clone(self), source.parse()?);
                let tls = host.certificate.client(&[protocol]);
                host.beside(move |_end| async move { seen.keep_coming(source, &tls).await });
            }
        }
        Ok(())
    }

    /// Ends the clients.
    ///
    /// Errors: one of them has failed.
    fn end(&self) -> Result<()> {
        self.is_over.store(true, Ordering::Relaxed);
        wait::until("all clients end", Duration::from_secs(30), || {
            (self.n_gone.load(Ordering::Relaxed) == 4).then_some(())
        })?;
        let failures = self.failures.lock();
        ensure!(failures.is_empty(), "{failures:?}");
        Ok(())
    }
}

#[test]
fn a_takeover_loses_no_connection() -> Result<()> {
    let (mut host, mut daemon) = running("takeover", &Config::default())?;
    let seen = Arc::new(Seen::default());
    seen.begin(&mut host)?;
    host.botguard
        .expect(&host.lab, &["block", "add", SCRAPER])?;
    let restarted = (0..3).try_for_each(|_| {
        seen.wait_for_more()?;
        let next = host.botguard.take_over(&host.lab)?;
        std::mem::replace(&mut daemon, next).ended()
    });
    let restarted = restarted.and_then(|()| seen.wait_for_more());
    let ended = seen.end();
    restarted?;
    ended?;
    ensure!(is_dropped_by(&host, SCRAPER, "operator")?);
    ensure!(status_of(&host, USER, "/pricing")? == Some(200));
    daemon.stop()?;

    let records = audit_of(&host, seen.n_answered.load(Ordering::Relaxed) + 1)?;
    for (expected, record) in (0_u64..).zip(&records) {
        ensure!(record["seq"] == expected, "{record}");
    }
    Ok(())
}

#[test]
fn sockets_that_the_service_manager_keeps_refuse_nobody() -> Result<()> {
    let mut host = host("fd-store", &Config::default())?;
    let notify = host.lab.directory().join("notify");
    let manager = UnixDatagram::bind(&notify)?;
    manager.set_read_timeout(Some(Duration::from_secs(20)))?;
    let daemon = host.botguard.start_as_service(&host.lab, &notify, &[])?;
    let mut kept = Vec::new();
    let messages = read_until(&manager, "READY=1", &mut kept)?;
    ensure!(messages.contains("FDNAME=listener "), "{messages}");
    ensure!(kept.len() == 2, "one for each listener: {messages}");

    let seen = Arc::new(Seen::default());
    seen.begin(&mut host)?;
    let restarted = seen.wait_for_more().and_then(|()| {
        daemon.stop()?;
        read_until(&manager, "STOPPING=1", &mut Vec::new())?;
        let next = host.botguard.start_as_service(&host.lab, &notify, &kept)?;
        seen.wait_for_more()?;
        Ok(next)
    });
    let ended = seen.end();
    restarted?.stop()?;
    ended
}

/// Messages up to one that says `last`, and the descriptors that came with them; these are not
/// close-on-exec.
pub(crate) fn read_until(
    manager: &UnixDatagram,
    last: &str,
    kept: &mut Vec<OwnedFd>,
) -> Result<String> {
    let mut all = String::new();
    while !all.contains(last) {
        let mut text = [0; 256];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut text)];
        let message = recvmsg(manager, &mut into, &mut control, RecvFlags::empty())?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(handles) = message {
                kept.extend(handles);
            }
        }
        all.push_str(std::str::from_utf8(&text[..message.bytes])?);
    }
    Ok(all)
}
