//! What each operation answers and leaves behind, on a state without a kernel.

mod lists;

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::admin::protocol::{Blame, Failed};
use crate::audit::record::Record;
use crate::daemon::enforcer::{AsnSource, KernelSide, Start};
use crate::enforcement::never_block::{Guard, NeverBlock};
use crate::engine::facts::Standing;
use crate::intel::AsnTable;
use crate::settings::document::Document;
use crate::store::Store;
use crate::store::journal::Journal;
use crate::words::block::{Effect, Scope};
use crate::words::clock::{Monotonic, Now, Step};
use crate::words::mode::Mode;

const EXTRACT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/asn-extract.csv");
const NOW: Wall = Wall::from_unix_ms(1_795_435_200_000);

mod keys;
mod systems;

/// A state directory, and a configuration without a kernel.
struct Bench {
    directory: TempDir,
    loaded: Loaded,
    never_block: Vec<IpNet>,
    asns: AsnSource,
    boot_id: &'static str,
    /// What the wall clock was stepped by.
    offset_ms: i64,
}

impl Bench {
    fn new() -> Self {
        let text = "[kernel]\nbackend = \"none\"\n[[route]]\npath = \"/a\"\nmode = \"enforce\"\n";
        let document = Document::from_text(Path::new("b.toml"), text.to_owned());
        Self {
            directory: tempfile::tempdir().unwrap(),
            loaded: Loaded::parse(document).unwrap(),
            never_block: vec![],
            asns: AsnSource::Table(Arc::new(AsnTable::load(EXTRACT.as_ref()).unwrap())),
            boot_id: "one",
            offset_ms: 0,
        }
    }

    /// As a command without a daemon does: opens the store, works, and closes it.
    fn perform_at(&self, now: Wall, request: &Request) -> Response {
        let enforcer = self.enforcer(&["127.0.0.0/8"], now);
        let audit = AuditLog::open(&self.directory.path().join("audit.jsonl")).unwrap();
        let site = Site {
            enforcer: &enforcer,
            loaded: &self.loaded,
            audit: Some(&audit),
            daemon: None,
        };
        perform(site, Actor::Uid(7), request, now)
    }

    fn guarding<R>(&self, guarded: &[&str], work: impl FnOnce(&Enforcer) -> R) -> R {
        work(&self.enforcer(guarded, NOW))
    }

    fn enforcer(&self, guarded: &[&str], now: Wall) -> Enforcer {
        let (store, contents) = Store::open(self.directory.path(), Duration::ZERO, now).unwrap();
        let mut guard = NeverBlock::default();
        guard.guard(
            Guard::Own,
            guarded.iter().map(|network| network.parse().unwrap()),
        );
        guard.guard(Guard::Operator, self.never_block.iter().copied());
        let start = Start {
            contents,
            store_is_blank: false,
            store_problem: None,
            journal: Journal::start(Arc::new(store)).unwrap(),
            guard,
            mode: self.loaded.settings.mode,
            default_scope: Scope::Listeners,
            fill: crate::daemon::enforcer::Fill::Now,
            asns: self.asns.clone(),
            boot_id: self.boot_id.to_owned(),
            clock: Now {
                monotonic: Monotonic::from_boot(Duration::from_secs(60)),
                wall: NOW.shifted(Step::from_ms(self.offset_ms)),
            },
        };
        let kernel = KernelSide::open(&self.loaded.settings.kernel);
        Enforcer::new(start, kernel, now)
    }

    fn perform(&self, request: &Request) -> Response {
        self.perform_at(NOW, request)
    }

    fn blocked(&self, now: Wall) -> Vec<String> {
        match self.perform_at(now, &Request::BlockList) {
            Response::Blocks(Blocks { blocks, .. }) => blocks
                .iter()
                .map(|block| block.network.to_string())
                .collect(),
            other => panic!("{other:?}"),
        }
    }
}

fn add(networks: &[&str], ttl_s: Option<u64>) -> Request {
    Request::BlockAdd {
        networks: networks
            .iter()
            .map(|network| network.parse().unwrap())
            .collect(),
        asns: vec![],
        session: None,
        ttl_s,
        reason: "test".to_owned(),
        scope: None,
        effect: Effect::Drop,
    }
}

fn failure(response: Response) -> Failed {
    match response {
        Response::Failed(failed) => failed,
        other => panic!("{other:?}"),
    }
}

fn later(seconds: u64) -> Wall {
    NOW.after(Duration::from_secs(seconds))
}

#[test]
fn blocks_survive_the_command_and_end_by_themselves() {
    let bench = Bench::new();
    let response = bench.perform(&add(&["192.0.2.0/24", "2001:db8::/64"], Some(60)));
    let Response::Done(done) = response else {
        panic!("{response:?}")
    };
    assert!(done.did[0].contains("scope listeners"), "{done:?}");
    assert_eq!(bench.blocked(later(59)), ["192.0.2.0/24", "2001:db8::/64"]);
    assert_eq!(bench.blocked(later(60)), [""; 0]);
    // Collected by then, so the store has no trace of it for a clock that is set back.
    assert_eq!(bench.blocked(NOW), [""; 0]);
}

#[test]
fn all_or_none_are_blocked() {
    let bench = Bench::new();
    let failed = failure(bench.perform(&add(&["192.0.2.0/24", "127.0.0.1/32"], None)));
    assert_eq!(failed.blame, Blame::Usage);
    assert!(failed.message.contains("127.0.0.0/8"), "{failed:?}");
    assert_eq!(bench.blocked(NOW), [""; 0]);
    let failed = failure(bench.perform(&add(&["192.0.2.0/24"], Some(0))));
    assert!(failed.message.contains("--ttl"), "{failed:?}");
    let failed = failure(bench.perform(&Request::SetMode {
        mode: Mode::Log,
        for_s: Some(0),
    }));
    assert!(failed.message.contains("--for"), "{failed:?}");
}

#[test]
fn deleting_what_is_not_there_fails() {
    let bench = Bench::new();
    bench.perform(&add(&["192.0.2.0/24", "198.51.100.1/32"], None));
    let delete = |network: &str| Request::BlockDelete {
        networks: vec![network.parse().unwrap()],
        asns: vec![],
    };
    let failed = failure(bench.perform(&delete("192.0.2.1/32")));
    assert!(failed.message.contains("would-block"), "{failed:?}");
    assert!(matches!(
        bench.perform(&delete("192.0.2.0/24")),
        Response::Done(_)
    ));
    assert_eq!(bench.blocked(NOW), ["198.51.100.1/32"]);
    let some = Request::BlockDelete {
        networks: ["198.51.100.1/32", "192.0.2.1/32"]
            .map(|network| network.parse().unwrap())
            .into(),
        asns: vec![],
    };
    let Response::Done(done) = bench.perform(&some) else {
        panic!("not done")
    };
    assert_eq!(done.warnings, ["no block of exactly 192.0.2.1/32"]);
    bench.perform(&add(&["192.0.2.0/24"], None));
    assert!(matches!(
        bench.perform(&Request::BlockFlush),
        Response::Done(_)
    ));
    assert_eq!(bench.blocked(NOW), [""; 0]);
}

#[test]
fn would_block_lists_every_covering_entry() {
    let bench = Bench::new();
    bench.perform(&add(
        &["192.0.2.0/24", "192.0.2.7/32", "198.51.100.0/24"],
        None,
    ));
    bench.perform(&Request::AllowAdd {
        networks: vec!["192.0.0.0/16".parse().unwrap()],
        reason: "office".to_owned(),
    });
    let question = Request::WouldBlock {
        address: "192.0.2.7".parse().unwrap(),
        port: None,
    };
    let Response::Verdict(verdict) = bench.perform(&question) else {
        panic!("no verdict")
    };
    assert!(!verdict.dropped);
    let covering: Vec<_> = verdict
        .blocks
        .iter()
        .map(|b| b.network.to_string())
        .collect();
    assert_eq!(covering, ["192.0.2.7/32", "192.0.2.0/24"]);
    assert_eq!(verdict.allows.len(), 1);
}

#[test]
fn the_mode_is_kept_and_ends() {
    let bench = Bench::new();
    let mode_at = |now| match bench.perform_at(now, &Request::Status) {
        Response::Status(status) => (status.mode, status.routes[0].effective),
        other => panic!("{other:?}"),
    };
    let set = |mode, for_s| bench.perform(&Request::SetMode { mode, for_s });
    assert_eq!(mode_at(NOW), (Mode::Enforce, Mode::Enforce));
    set(Mode::Log, Some(60));
    assert_eq!(mode_at(later(59)), (Mode::Log, Mode::Log));
    assert_eq!(mode_at(later(60)), (Mode::Enforce, Mode::Enforce));
    set(Mode::Log, None);
    assert_eq!(mode_at(later(3_600)), (Mode::Log, Mode::Log));
    set(Mode::Enforce, None);
    assert_eq!(mode_at(NOW), (Mode::Enforce, Mode::Enforce));
}

#[test]
fn changes_are_recorded_with_their_actor_and_questions_are_not() {
    let bench = Bench::new();
    bench.perform(&Request::Status);
    bench.perform(&add(&["192.0.2.0/24"], None));
    bench.perform(&add(&["127.0.0.1/32"], None));
    let text = std::fs::read_to_string(bench.directory.path().join("audit.jsonl")).unwrap();
    let records: Vec<_> = text
        .lines()
        .map(
            |line| match serde_json::from_str::<Record>(line).unwrap().event {
                Event::Operator(record) => record,
                other => panic!("{other:?}"),
            },
        )
        .collect();
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].actor, "uid 7");
    assert_eq!(
        (&*records[0].operation, &*records[0].target),
        ("block add", "192.0.2.0/24")
    );
    assert!(records[0].result.contains("blocked"), "{:?}", records[0]);
    assert!(records[1].result.contains("shut out"), "{:?}", records[1]);
}

#[test]
fn nothing_can_be_attached_where_the_backend_is_none() {
    let failed = failure(Bench::new().perform(&Request::KernelAttach));
    assert_eq!(failed.blame, Blame::Usage);
    assert!(failed.message.contains("backend"), "{failed:?}");
}

#[test]
fn what_needs_a_daemon_says_so() {
    let failed = failure(Bench::new().perform(&Request::Reload));
    assert!(failed.message.contains("no daemon"), "{failed:?}");
    let Response::Status(status) = Bench::new().perform(&Request::Status) else {
        panic!("no status")
    };
    assert!(
        status.degraded[0].contains("no daemon"),
        "{:?}",
        status.degraded
    );
}
