//! A daemon takes over from another, or is restarted by a service manager, under a stream of new connections: no client notices, and what was
//! one daemon's (blocks, audit log) is the next one's.

use std::collections::BTreeSet;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use botguard_tests::client::Client;
use botguard_tests::config::Config;
use botguard_tests::echo_app;
use botguard_tests::host::{Host, UPSTREAM};
use botguard_tests::wait;
use parking_lot::Mutex;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use crate::fixture::{
    SCRAPER, SHOP_KEY, USER, USER_V6, audit_of, host, is_dropped_by, running, status_of,
};
use crate::held_open::{download, hold_open};

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

/// A WebSocket, an upload and a download, each in a world of its own, and what they are told by.
pub(crate) struct LongLived {
    asks: mpsc::Sender<()>,
    told: mpsc::Receiver<()>,
    downloaded: mpsc::Receiver<()>,
    threads: [std::thread::JoinHandle<Result<()>>; 2],
}

impl LongLived {
    pub(crate) fn open(host: &Host) -> Result<Self> {
        let tls = host.certificate.client(&["http/1.1"]);
        let (asks, asked) = mpsc::channel(1);
        let (tells, mut told) = mpsc::channel(1);
        let (begins, mut downloaded) = mpsc::channel(1);
        let slow = Arc::clone(&tls);
        let threads = [
            host.lab.world.spawn(move || hold_open(tls, asked, tells)),
            host.lab.world.spawn(move || download(slow, begins)),
        ];
        told.blocking_recv().context("nothing was opened")?;
        downloaded
            .blocking_recv()
            .context("no download has begun")?;
        Ok(Self {
            asks,
            told,
            downloaded,
            threads,
        })
    }

    /// Sends something both ways.
    pub(crate) fn move_something(&mut self) -> Result<()> {
        self.asks.blocking_send(())?;
        self.told
            .blocking_recv()
            .context("what was open has broken")
    }

    /// Goes on until the download has ended, seconds later; then all end.
    pub(crate) fn end(mut self) -> Result<()> {
        wait::until("the download", Duration::from_secs(30), || {
            if let Err(error) = self.move_something() {
                return Some(Err(error));
            }
            match self.downloaded.try_recv() {
                Err(TryRecvError::Empty) => None,
                ended => Some(ended.context("the download has broken")),
            }
        })??;
        self.close()
    }

    /// Ends all that have not ended.
    fn close(self) -> Result<()> {
        drop((self.asks, self.downloaded));
        for thread in self.threads {
            let ended = thread.join();
            ended.map_err(|_panic| anyhow::anyhow!("what was open has panicked"))??;
        }
        Ok(())
    }
}

/// Numbers without a gap, and no request twice.
fn ensure_each_once(records: &[Value]) -> Result<()> {
    let mut requests = BTreeSet::new();
    for (expected, record) in (0_u64..).zip(records) {
        ensure!(record["seq"] == expected, "{record}");
        if record["kind"] == "request" {
            ensure!(
                requests.insert(record["request_id"].to_string()),
                "{record}"
            );
        }
    }
    Ok(())
}

#[test]
fn what_is_open_outlives_two_takeovers() -> Result<()> {
    let mut host = Host::set_up("long-lived", &Config::default())?;
    for source in [USER, USER_V6] {
        host.lab.add_source(source.parse()?)?;
    }
    host.serve_with(|| echo_app::serve(UPSTREAM));
    let mut first = host.botguard.start(&host.lab)?;
    let seen = Arc::new(Seen::default());
    seen.begin(&mut host)?;
    let mut open = LongLived::open(&host)?;
    let survived = seen.wait_for_more().and_then(|()| {
        let second = host.botguard.take_over(&host.lab)?;
        seen.wait_for_more()?;
        open.move_something()?;
        let third = host.botguard.take_over(&host.lab)?;
        // It had nothing that lasts.
        second.ended()?;
        seen.wait_for_more()?;
        ensure!(!first.has_ended(), "it still serves");
        open.end()?;
        first.ended()?;
        Ok(third)
    });
    let ended = seen.end();
    let third = survived?;
    ended?;
    third.stop()?;
    let n_requests = seen.n_answered.load(Ordering::Relaxed) + 3;
    let records = audit_of(&host, n_requests)?;
    ensure_each_once(&records)?;
    for path in ["/socket", "/upload", "/slow"] {
        let of_path = |record: &&Value| record["http"]["path"] == path;
        let found: Vec<_> = records.iter().filter(of_path).collect();
        ensure!(found.len() == 1, "{path}: {found:?}");
        ensure!(found[0]["http"]["broken_off"].is_null(), "{}", found[0]);
    }
    Ok(())
}

#[test]
fn a_block_reaches_connections_to_the_old_daemon() -> Result<()> {
    let mut host = Host::set_up("old-peers", &Config::default())?;
    for source in [USER, SCRAPER] {
        host.lab.add_source(source.parse()?)?;
    }
    host.serve_with(|| echo_app::serve(UPSTREAM));
    let mut first = host.botguard.start(&host.lab)?;
    let mut open = LongLived::open(&host)?;
    let second = host.botguard.take_over(&host.lab)?;
    host.botguard
        .expect(&host.lab, &["block", "add", SCRAPER])?;
    open.move_something()?;
    ensure!(!first.has_ended(), "somebody else was blocked");
    host.botguard.expect(&host.lab, &["block", "add", USER])?;
    // Far sooner than its drain.
    wait::until("the old daemon ends", Duration::from_secs(10), || {
        first.has_ended().then_some(())
    })?;
    ensure!(open.end().is_err());
    second.stop()
}

#[test]
fn records_survive_the_next_daemon() -> Result<()> {
    let mut host = Host::set_up("heirless", &Config::default())?;
    host.lab.add_source(USER.parse()?)?;
    host.serve_with(|| echo_app::serve(UPSTREAM));
    let first = host.botguard.start(&host.lab)?;
    let mut open = LongLived::open(&host)?;
    let second = host.botguard.take_over(&host.lab)?;
    second.kill()?;
    open.move_something()?;
    // One that starts anew finds the store free, though the first one still serves.
    let third = host.botguard.start(&host.lab)?;
    open.move_something()?;
    third.kill()?;
    open.end()?;
    first.ended()?;
    let records = audit_of(&host, 3)?;
    ensure_each_once(&records)
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
