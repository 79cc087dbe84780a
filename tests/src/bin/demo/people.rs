//! Who talks to the edge: ordinary users with a browser, a partner's nightly sync, a scraper.
//!
//! Each is a real TLS client with a source address of its own, and counts what it was given.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use botguard_tests::client::{Answer, Client};
use botguard_tests::host::Host;
use botguard_tests::sample_api::PAGE_SIZE;
use rustls::ClientConfig;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// What one kind of client was given.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Requests sent.
    pub(crate) sent: AtomicU64,
    /// Answers of the application.
    pub(crate) served: AtomicU64,
    /// Denials: 403 and 429.
    pub(crate) denied: AtomicU64,
    /// No answer: refused, reset or timed out.
    pub(crate) unanswered: AtomicU64,
}

/// Where to go, and what everybody needs for it.
#[derive(Clone)]
pub(crate) struct Way {
    /// Trust in the edge's certificate.
    pub(crate) tls: Arc<ClientConfig>,
    /// Becomes true when the demo is over.
    pub(crate) end: watch::Receiver<bool>,
}

impl Way {
    fn client(&self, source: IpAddr) -> Result<Client> {
        Ok(Client::new(
            source,
            Host::server(source)?,
            Arc::clone(&self.tls),
        ))
    }

    fn is_over(&self) -> bool {
        *self.end.borrow()
    }
}

impl Tally {
    /// Counts one exchange; `true` when the application answered.
    fn count(&self, outcome: &Result<Answer>) -> bool {
        self.sent.fetch_add(1, Ordering::Relaxed);
        let counter = match outcome {
            Ok(answer) if matches!(answer.status.as_u16(), 403 | 429) => &self.denied,
            Ok(_) => &self.served,
            Err(_) => &self.unanswered,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        matches!(outcome, Ok(answer) if answer.status.is_success())
    }
}

/// A person at a browser: loads the interaction script, reads a few pages with pauses, and moves
/// the mouse now and then, which the script reports with one-use tokens.
pub(crate) async fn user(
    way: Way,
    source: IpAddr,
    key: &'static str,
    seed: u64,
    tally: Arc<Tally>,
) -> Result<()> {
    let mut client = way.client(source)?;
    let headers = [
        ("x-api-key", key),
        ("user-agent", BROWSER),
        ("sec-fetch-mode", "cors"),
        ("accept-language", "en"),
    ];
    let mut pauses = Pauses(seed);
    tally.count(&client.get("/.botguard/ui.js", &headers).await);
    let mut cursor = String::new();
    while !way.is_over() {
        touch_the_page(&mut client, &headers, &tally).await;
        for _ in 0..4 {
            sleep(pauses.next()).await;
            if way.is_over() {
                return Ok(());
            }
            tally.count(&client.get("/pricing", &headers).await);
            cursor = next_page(&mut client, &headers, &cursor, &tally).await;
        }
    }
    Ok(())
}

/// A partner's program: pages through everything, steadily, at the rate it was given.
pub(crate) async fn partner(
    way: Way,
    source: IpAddr,
    key: &'static str,
    tally: Arc<Tally>,
) -> Result<()> {
    let mut client = way.client(source)?;
    let headers = [("x-api-key", key), ("user-agent", "partner-sync/4.2")];
    let mut cursor = String::new();
    let mut ticks = interval(Duration::from_millis(250));
    while !way.is_over() {
        ticks.tick().await;
        cursor = next_page(&mut client, &headers, &cursor, &tally).await;
    }
    Ok(())
}

/// The scraper: a valid free-tier key, 4,200 requests a minute, on whatever connections it can get.
pub(crate) async fn scraper(
    way: Way,
    source: IpAddr,
    key: &'static str,
    tally: Arc<Tally>,
) -> Result<()> {
    let mut ticks = interval(Duration::from_nanos(1_000_000_000 * 60 / 4_200));
    // A scraper does not slow down because an answer was late.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (work, queue) = tokio::sync::mpsc::channel::<()>(512);
    let queue = Arc::new(tokio::sync::Mutex::new(queue));
    let next_page = Arc::new(AtomicU64::new(0));
    for _ in 0..SCRAPER_CONNECTIONS {
        let (way, queue, tally) = (way.clone(), Arc::clone(&queue), Arc::clone(&tally));
        let next_page = Arc::clone(&next_page);
        let mut client = way
            .client(source)?
            .with_patience(Duration::from_millis(500));
        tokio::spawn(async move {
            let headers = [("x-api-key", key), ("user-agent", "python-requests/2.32")];
            loop {
                let got = queue.lock().await.recv().await;
                if got.is_none() || way.is_over() {
                    return;
                }
                let page = next_page.fetch_add(1, Ordering::Relaxed);
                let target = format!("/users?cursor=c{}", page * PAGE_SIZE as u64);
                tally.count(&client.get(&target, &headers).await);
            }
        });
    }
    while !way.is_over() {
        ticks.tick().await;
        // When all connections hang in a dropped handshake, the scraper falls behind, as it should.
        let _full: std::result::Result<(), _> = work.try_send(());
    }
    Ok(())
}

async fn touch_the_page(client: &mut Client, headers: &[(&str, &str)], tally: &Tally) {
    let token = client.get("/.botguard/ui", headers).await;
    if !tally.count(&token) {
        return;
    }
    let token = token.and_then(|answer| answer.json()).unwrap_or_default();
    let event = serde_json::json!({"token": token["token"], "kind": "pointerdown"}).to_string();
    tally.count(&client.post("/.botguard/ui", headers, event).await);
}

/// Reads the page at `cursor`; the cursor of the next one.
async fn next_page(
    client: &mut Client,
    headers: &[(&str, &str)],
    cursor: &str,
    tally: &Tally,
) -> String {
    let page = client
        .get(&format!("/users?cursor={cursor}"), headers)
        .await;
    tally.count(&page);
    let page = page.and_then(|answer| answer.json()).unwrap_or_default();
    page["next"].as_str().unwrap_or_default().to_owned()
}

/// Pauses of a reading person, 0.4 to 2.4 s, the same in every run (Knuth's MMIX generator).
struct Pauses(u64);

impl Pauses {
    const fn next(&mut self) -> Duration {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis(400 + (self.0 >> 33) % 2_000)
    }
}

const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const SCRAPER_CONNECTIONS: usize = 16;
