//! A stream of datagrams to the edge's port, from several sources, beside whatever a test does: who
//! gets through, and when.
//!
//! Each datagram has a number, and the edge's end answers each. The sources that are *awaited* send
//! the next one when the last was answered, so no buffer can lose one and no machine is too slow:
//! what has no answer was dropped. The others send one a round, and nobody waits for them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use anyhow::{Context as _, Result};
use botguard_tests::config::PORT;
use botguard_tests::host::Host;
use botguard_tests::lab::{EDGE_V4, EDGE_V6};
use botguard_tests::wait;
use tokio::net::UdpSocket;
use tokio::sync::watch;

/// The stream; it flows as long as its host is there.
pub(crate) struct Datagrams {
    traffic: Arc<Traffic>,
}

/// An instant in the stream: so many datagrams had been sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark(u64);

struct Traffic {
    n_sent: AtomicU64,
    n_rounds: AtomicU64,
    lanes: Vec<Lane>,
}

struct Lane {
    source: IpAddr,
    is_awaited: bool,
    /// Number of the last datagram that arrived.
    last_arrived: AtomicU64,
    /// Awaited ones that were never answered.
    n_lost: AtomicU64,
}

impl Datagrams {
    /// Starts the stream. At least one source must be awaited: it paces the others.
    pub(crate) fn start(host: &mut Host, awaited: &[&str], others: &[&str]) -> Result<Self> {
        let lane = |source: &str, is_awaited| -> Result<Lane> {
            Ok(Lane {
                source: source.parse()?,
                is_awaited,
                last_arrived: AtomicU64::new(0),
                n_lost: AtomicU64::new(0),
            })
        };
        // The others first: the answer to an awaited one then says that theirs are through.
        let others = others.iter().map(|source| lane(source, false));
        let awaited = awaited.iter().map(|source| lane(source, true));
        let traffic = Arc::new(Traffic {
            n_sent: AtomicU64::new(0),
            n_rounds: AtomicU64::new(0),
            lanes: others.chain(awaited).collect::<Result<_>>()?,
        });
        let (bound, is_bound) = channel();
        let received = Arc::clone(&traffic);
        host.serve_with(move || async move { answer(&received, &bound).await });
        is_bound.recv().context("the edge's port for UDP")?;
        let sent = Arc::clone(&traffic);
        host.beside(move |end| async move { send(&sent, end).await });
        Ok(Self { traffic })
    }

    /// The present.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.traffic.n_sent.load(Ordering::SeqCst))
    }

    /// Datagrams that were sent after `mark`, by all.
    pub(crate) fn n_sent_since(&self, mark: Mark) -> u64 {
        self.mark().0 - mark.0
    }

    /// Waits until all that was sent so far has arrived, or never will.
    fn settle(&self) -> Result<()> {
        let n_rounds = || self.traffic.n_rounds.load(Ordering::SeqCst);
        let before = n_rounds();
        wait::until("two rounds of datagrams", Duration::from_secs(60), || {
            (n_rounds() >= before + 2).then_some(())
        })
    }

    /// Whether anything that a source sent after `mark`, and before now, has arrived.
    pub(crate) fn has_arrived(&self, source: &str, mark: Mark) -> Result<bool> {
        self.settle()?;
        let lane = self.lane(source)?;
        Ok(lane.last_arrived.load(Ordering::SeqCst) > mark.0)
    }

    /// Datagrams of an awaited source that were dropped.
    pub(crate) fn n_lost(&self, source: &str) -> Result<u64> {
        self.settle()?;
        Ok(self.lane(source)?.n_lost.load(Ordering::SeqCst))
    }

    fn lane(&self, source: &str) -> Result<&Lane> {
        let source: IpAddr = source.parse()?;
        let lane = self.traffic.lanes.iter().find(|lane| lane.source == source);
        lane.with_context(|| format!("{source} sends nothing"))
    }
}

/// The edge's end, on the port that the daemon has for TCP: each datagram goes back as it came.
async fn answer(traffic: &Traffic, bound: &Sender<()>) -> Result<()> {
    let (v4, v6) = (bind(EDGE_V4).await?, bind(EDGE_V6).await?);
    bound.send(())?;
    tokio::try_join!(answer_on(traffic, &v4), answer_on(traffic, &v6))?;
    Ok(())
}

async fn bind(address: &str) -> Result<UdpSocket> {
    Ok(UdpSocket::bind(SocketAddr::new(address.parse()?, PORT)).await?)
}

async fn answer_on(traffic: &Traffic, socket: &UdpSocket) -> Result<()> {
    let mut number = [0; 8];
    loop {
        let (_, peer) = socket.recv_from(&mut number).await?;
        let lanes = traffic.lanes.iter();
        for lane in lanes.filter(|lane| lane.source == peer.ip()) {
            let number = u64::from_be_bytes(number);
            lane.last_arrived.fetch_max(number, Ordering::SeqCst);
        }
        socket.send_to(&number, peer).await?;
    }
}

/// The world's end.
async fn send(traffic: &Traffic, mut end: watch::Receiver<bool>) -> Result<()> {
    tokio::select! {
        sent = send_rounds(traffic) => sent,
        // An error means that the host is gone, which is the end too.
        _ = end.wait_for(|&over| over) => Ok(()),
    }
}

async fn send_rounds(traffic: &Traffic) -> Result<()> {
    /// An answer takes microseconds, unless the machine is very busy.
    const PATIENCE: Duration = Duration::from_secs(5);
    let mut ends = Vec::new();
    for lane in &traffic.lanes {
        let socket = UdpSocket::bind(SocketAddr::new(lane.source, 0)).await?;
        ends.push((lane, socket, Host::server(lane.source)?));
    }
    loop {
        for (lane, socket, server) in &ends {
            let number = traffic.n_sent.fetch_add(1, Ordering::SeqCst) + 1;
            socket.send_to(&number.to_be_bytes(), server).await?;
            if lane.is_awaited {
                let answer = tokio::time::timeout(PATIENCE, answer_to(number, socket)).await;
                match answer {
                    Ok(answered) => answered?,
                    Err(_elapsed) => {
                        lane.n_lost.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }
        }
        traffic.n_rounds.fetch_add(1, Ordering::SeqCst);
    }
}

/// Waits for the answer to this datagram; one that comes too late belongs to a lost one.
async fn answer_to(number: u64, socket: &UdpSocket) -> Result<()> {
    let mut answered = [0; 8];
    while u64::from_be_bytes(answered) != number {
        socket.recv_from(&mut answered).await?;
    }
    Ok(())
}
