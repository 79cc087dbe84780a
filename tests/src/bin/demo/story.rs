//! The story: the score climbs in log mode, then the same traffic under enforce is blocked, banned,
//! and dropped in the kernel, while everybody else goes on.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use botguard_tests::audit::AuditTail;
use botguard_tests::sample_api::PAGE_SIZE;
use botguard_tests::wait;
use serde_json::Value;

use crate::first_drop::FirstDrop;
use crate::interrupt::Interrupt;
use crate::people::Tally;
use crate::scene::{SCRAPER, Scene};
use crate::show::{self, heading, line};

/// Requests of the scraper that the window must hold before the switch to enforce.
const FULL_WINDOW: u64 = 4_200;

/// Tells it from beginning to end.
///
/// Errors: something did not happen that must; or an interruption. Nothing is left behind.
pub(crate) fn tell(tier_weight: f64) -> Result<()> {
    let interrupt = Interrupt::listen()?;
    let mut scene = Scene::set(tier_weight)?;
    heading("An edge host with botguard, a SaaS API behind it, and the world, joined by a veth");
    let mut daemon = scene.host.botguard.start(&scene.host.lab)?;
    for status in scene.botguard(&["status"])?.lines() {
        line(status);
    }
    let mut watch = Watch::new(AuditTail::new(scene.host.audit_path()));

    heading("`/users` in log mode: eight users, a partner's sync, and a scraper with a valid key");
    scene.start_people();
    let last = log_phase(&interrupt, &mut watch)?;
    explain(&scene, &last)?;

    heading("`botguard reload`: `/users` is now in enforce mode, the traffic is the same");
    let first_drop = FirstDrop::watch(&scene.host.lab.pin_dir())?;
    scene.enforce()?;
    watch.read()?;
    let switch = watch.scraper;
    for change in scene.botguard(&["reload"])?.lines() {
        line(change);
    }
    let enforced = enforce_phase(&interrupt, &scene, &mut watch, &first_drop)?;
    ensure!(!daemon.has_ended(), "the daemon ended: {}", daemon.log());
    summary(&scene, &watch, &switch, &enforced)
}

/// What the audit log has said so far.
struct Watch {
    tail: AuditTail,
    scraper: Seen,
    ban: Option<Value>,
}

/// Requests of the scraper.
#[derive(Clone, Copy, Default)]
struct Seen {
    requests: u64,
    served: u64,
    /// Requests before the first whose `would` was block.
    before_would_block: Option<u64>,
    /// Requests, and those of them that were served, before the first that was blocked.
    before_block: Option<(u64, u64)>,
}

impl Watch {
    fn new(tail: AuditTail) -> Self {
        Self {
            tail,
            scraper: Seen::default(),
            ban: None,
        }
    }

    /// Takes in new records; the scraper's latest one, if there was any.
    fn read(&mut self) -> Result<Option<Value>> {
        let mut latest = None;
        for record in self.tail.read()? {
            match record["kind"].as_str() {
                Some("request") if record["client"]["ip"] == SCRAPER => {
                    self.scraper.count(&record);
                    latest = Some(record);
                }
                Some("ban") => {
                    self.ban.get_or_insert(record);
                }
                _ => {}
            }
        }
        Ok(latest)
    }
}

impl Seen {
    fn count(&mut self, record: &Value) {
        let decision = &record["decision"];
        if decision["would"] == "block" {
            self.before_would_block.get_or_insert(self.requests);
        }
        if decision["action"] == "block" {
            self.before_block
                .get_or_insert((self.requests, self.served));
        }
        self.requests += 1;
        if matches!(decision["action"].as_str(), Some("allow" | "log")) {
            self.served += 1;
        }
    }
}

/// Shows the score climb until the window is full; the record that filled it.
fn log_phase(interrupt: &Interrupt, watch: &mut Watch) -> Result<Value> {
    show::climb_head();
    let start = wait::now();
    let mut next_second = 1;
    wait::until(
        "4,200 requests in the window",
        Duration::from_secs(120),
        || {
            if let Err(interrupted) = interrupt.check() {
                return Some(Err(interrupted));
            }
            let record = match watch.read() {
                Ok(record) => record?,
                Err(error) => return Some(Err(error)),
            };
            let second = start.elapsed().as_secs();
            let is_full = paging_in_window(&record) >= FULL_WINDOW;
            if is_full || second >= next_second {
                show::climb(second, watch.scraper.requests, &record);
                // The climb is over within seconds; after it, only the window fills.
                next_second = if second < 6 { second + 1 } else { second + 10 };
            }
            is_full.then_some(Ok(record))
        },
    )?
}

fn explain(scene: &Scene, record: &Value) -> Result<()> {
    let id = record["request_id"]
        .as_str()
        .context("a record has its request id")?;
    heading(&format!("`botguard explain {id}`"));
    for text in scene.botguard(&["explain", id])?.lines() {
        line(text);
    }
    Ok(())
}

/// What enforcing came to.
struct Enforced {
    ban: Value,
    first_drop: SystemTime,
}

/// Shows block, ban and rising drops.
fn enforce_phase(
    interrupt: &Interrupt,
    scene: &Scene,
    watch: &mut Watch,
    first_drop: &FirstDrop,
) -> Result<Enforced> {
    let ban = wait::until("a ban of the scraper", Duration::from_secs(30), || {
        if let Err(error) = interrupt.check().and_then(|()| watch.read().map(drop)) {
            return Some(Err(error));
        }
        watch.ban.clone().map(Ok)
    })??;
    let text = |field: &str| ban[field].as_str().unwrap_or_default().to_owned();
    line(&format!(
        "banned: {} for {} s: {}",
        text("target"),
        ban["ttl_s"],
        text("reason")
    ));
    let first_drop = first_drop.wait(Duration::from_secs(10))?;
    line("time   XDP drops   scraper unanswered   users served / denied   partner served / denied");
    let start = wait::now();
    let mut next_second = 0;
    wait::until("drops for 6 s", Duration::from_secs(30), || {
        if let Err(interrupted) = interrupt.check() {
            return Some(Err(interrupted));
        }
        let second = start.elapsed().as_secs();
        if second >= next_second {
            next_second = second + 1;
            match drops(scene) {
                Ok(drops) => drops_line(scene, second, drops),
                Err(error) => return Some(Err(error)),
            }
        }
        (second >= 6).then_some(Ok(()))
    })??;
    watch.read()?;
    Ok(Enforced { ban, first_drop })
}

fn summary(scene: &Scene, watch: &Watch, switch: &Seen, enforced: &Enforced) -> Result<()> {
    heading("Summary");
    let (requests, served_before) = watch.scraper.before_block.context("a blocked request")?;
    let would = watch
        .scraper
        .before_would_block
        .context("log mode said block")?;
    ensure!(
        switch.served == switch.requests,
        "log mode denied something"
    );
    line(&format!(
        "log mode: {} requests of the scraper, 0 denied; `would: block` from its request {}",
        switch.requests,
        would + 1,
    ));
    line(&format!(
        "enforce mode: blocked at its request {}, {} records read before it",
        requests - switch.requests + 1,
        (served_before - switch.served) * PAGE_SIZE as u64,
    ));
    let to_kernel_us = enforced.ban["decision_to_kernel_us"]
        .as_f64()
        .context("a banned source")?;
    line(&format!("decision to kernel entry: {to_kernel_us:.0} µs"));
    line(&format!(
        "decision to first drop: {} ms (when the scraper's next packet came; it sends 70 a second)",
        decision_to_first_drop(enforced)?.as_millis(),
    ));
    line(&format!("packets dropped by XDP: {}", drops(scene)?));
    let denied = denied(&scene.users) + denied(&scene.partner);
    let served = served(&scene.users) + served(&scene.partner);
    line(&format!(
        "legitimate requests: {served} served, {denied} denied"
    ));
    ensure!(
        denied == 0,
        "{denied} legitimate requests were denied or unanswered"
    );
    Ok(())
}

/// From the deciding request, whose record's time is in whole milliseconds, to the first drop.
fn decision_to_first_drop(enforced: &Enforced) -> Result<Duration> {
    let banned = enforced.ban["ts"]
        .as_str()
        .context("a record has its time")?;
    let banned = humantime::parse_rfc3339(banned)?;
    let to_kernel_us = enforced.ban["decision_to_kernel_us"]
        .as_f64()
        .context("a banned source")?;
    let since_ban = enforced
        .first_drop
        .duration_since(banned)
        .unwrap_or_default();
    Ok(since_ban + Duration::from_secs_f64(to_kernel_us / 1_000_000.0))
}

fn drops_line(scene: &Scene, second: u64, drops: u64) {
    line(&format!(
        "{second:>3} s  {drops:>9}   {:>18}   {:>12} / {:<6}   {:>14} / {}",
        scene.scraper.unanswered.load(Ordering::Relaxed),
        served(&scene.users),
        denied(&scene.users),
        served(&scene.partner),
        denied(&scene.partner),
    ));
}

fn served(tally: &Tally) -> u64 {
    tally.served.load(Ordering::Relaxed)
}

fn denied(tally: &Tally) -> u64 {
    tally.denied.load(Ordering::Relaxed) + tally.unanswered.load(Ordering::Relaxed)
}

/// Packets that the kernel has dropped, by its own counters.
fn drops(scene: &Scene) -> Result<u64> {
    let stats = scene.botguard(&["kernel", "stats", "--json"])?;
    let stats: Value = serde_json::from_str(&stats)?;
    let drops = stats["drops"]
        .as_array()
        .context("`kernel stats --json` has `drops`")?;
    Ok(drops
        .iter()
        .filter_map(|drop| drop["packets"].as_u64())
        .sum())
}

/// Requests in the window, as the paging signal of a record counts them.
fn paging_in_window(record: &Value) -> u64 {
    let signals = record["signals"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let paging = signals.iter().find(|signal| signal["id"] == "paging");
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count"
    )]
    paging
        .and_then(|signal| signal["value"].as_f64())
        .map_or(0, |count| count as u64)
}
