//! Imported lists through a command's whole way, on a state without a kernel: each command opens
//! the store anew, so what is seen after one is what is on disk.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::admin::protocol::ListEntry;

/// Other commands than these change nothing of them.
fn import(name: &str, networks: &str) -> Request {
    import_with(name, networks, None, false)
}

fn import_with(name: &str, networks: &str, ttl_s: Option<u64>, force: bool) -> Request {
    Request::ListImport {
        name: name.parse().unwrap(),
        networks: networks.to_owned(),
        ttl_s,
        reason: "test".to_owned(),
        scope: None,
        effect: Effect::Drop,
        force,
    }
}

fn done(response: Response) -> Done {
    match response {
        Response::Done(done) => done,
        other => panic!("{other:?}"),
    }
}

impl Bench {
    fn lists_at(&self, now: Wall) -> Vec<ListEntry> {
        match self.perform_at(now, &Request::BlockList) {
            Response::Blocks(Blocks { lists, .. }) => lists,
            other => panic!("{other:?}"),
        }
    }

    fn lists(&self) -> Vec<String> {
        let lists = self.lists_at(NOW);
        let lists = lists.iter();
        lists
            .map(|list| format!("{} {}", list.name, list.n_networks))
            .collect()
    }

    fn is_dropped(&self, address: &str, now: Wall) -> Option<String> {
        let question = Request::WouldBlock {
            address: address.parse().unwrap(),
            port: None,
        };
        match self.perform_at(now, &question) {
            Response::Verdict(verdict) => verdict.blocks.first().map(|block| block.rule.clone()),
            other => panic!("{other:?}"),
        }
    }

    fn exported(&self, origin: Option<&str>) -> Vec<(String, String)> {
        let origin = origin.map(str::to_owned);
        match self.perform(&Request::BlockExport { origin }) {
            Response::Export(export) => {
                let parts = export.parts.into_iter();
                parts.map(|part| (part.rule, part.networks)).collect()
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_list_survives_is_replaced_and_goes() {
    let bench = Bench::new();
    let first = done(bench.perform(&import("drop", "192.0.2.0/24\n198.51.100.7\n192.0.2.1\n")));
    assert!(
        first.did[0].starts_with("list drop: 2 networks of 3 entries: blocked for good"),
        "{first:?}"
    );
    assert_eq!(bench.lists(), ["drop 2"]);
    assert_eq!(bench.is_dropped("192.0.2.9", NOW).unwrap(), "list:drop");

    let second = done(bench.perform(&import("drop", "2001:db8::/32\n")));
    assert!(second.did[0].contains("in place of 2"), "{second:?}");
    assert_eq!(bench.is_dropped("192.0.2.9", NOW), None);
    assert_eq!(bench.is_dropped("2001:db8::9", NOW).unwrap(), "list:drop");

    let name = || "drop".parse().unwrap();
    let gone = done(bench.perform(&Request::ListDelete { name: name() }));
    assert!(gone.did[0].contains("1 networks"), "{gone:?}");
    assert_eq!(bench.lists(), [""; 0]);
    assert_eq!(bench.is_dropped("2001:db8::9", NOW), None);
    let failed = failure(bench.perform(&Request::ListDelete { name: name() }));
    assert_eq!(failed.blame, Blame::Internal);
    assert!(failed.message.contains("no list `drop`"), "{failed:?}");
}

#[test]
fn what_is_refused_leaves_the_old_list_whole() {
    let bench = Bench::new();
    done(bench.perform(&import("drop", "192.0.2.0/24\n")));
    let check = |request: Request, entry, expected: &str| {
        let failed = failure(bench.perform(&request));
        assert_eq!(failed.blame, Blame::Usage, "{failed:?}");
        assert_eq!(failed.entry, entry, "{failed:?}");
        assert!(failed.message.contains(expected), "{failed:?}");
        assert_eq!(bench.lists(), ["drop 1"], "{failed:?}");
        assert_eq!(bench.is_dropped("192.0.2.9", NOW).unwrap(), "list:drop");
        assert_eq!(bench.is_dropped("203.0.113.1", NOW), None);
    };
    let other = "203.0.113.1\n";
    check(
        import("drop", &format!("{other}nonsense\n")),
        None,
        "line 2",
    );
    check(
        import("drop", &format!("{other}127.0.0.1\n")),
        Some(1),
        "an address of this host",
    );
    check(
        import_with("drop", &format!("{other}127.0.0.1\n"), None, true),
        Some(1),
        "an address of this host",
    );
    check(
        import("drop", &format!("{other}10.0.0.0/8\n")),
        Some(1),
        "private use",
    );
    check(
        import("drop", &format!("{other}64.0.0.0/6\n")),
        Some(1),
        "wider than /8",
    );
    check(import("drop", ""), None, "no entry");
    check(import_with("drop", other, Some(0), false), None, "--ttl");
    check(import("operator", other), None, "--origin");
    let ended = format!("203.0.113.1 {}\n", NOW.as_unix_ms());
    check(import("drop", &ended), None, "no entry");
}

#[test]
fn force_lets_pass_what_may() {
    let bench = Bench::new();
    done(bench.perform(&import_with(
        "bogons",
        "10.0.0.0/8\n64.0.0.0/6\n",
        None,
        true,
    )));
    assert_eq!(bench.lists(), ["bogons 2"]);
    done(bench.perform(&import_with("bogons", "", None, true)));
    assert_eq!(bench.lists(), ["bogons 0"]);
    assert_eq!(bench.is_dropped("10.0.0.1", NOW), None);
}

#[test]
fn entries_end_by_themselves() {
    let bench = Bench::new();
    let soon = later(30).as_unix_ms();
    let list = format!("192.0.2.1 {soon}\n192.0.2.2\n");
    done(bench.perform(&import_with("drop", &list, Some(60), false)));
    assert_eq!(bench.lists_at(NOW)[0].left_s, Some(60));
    assert!(bench.is_dropped("192.0.2.1", later(29)).is_some());
    assert!(bench.is_dropped("192.0.2.1", later(30)).is_none());
    assert!(bench.is_dropped("192.0.2.2", later(59)).is_some());
    assert_eq!(bench.lists_at(later(59))[0].n_networks, 1);
    assert_eq!(bench.lists_at(later(60)), []);
    // The store has followed: a clock that is set back brings nothing back.
    assert_eq!(bench.lists(), [""; 0]);
}

#[test]
fn exports_are_of_a_rule_or_of_all() {
    let bench = Bench::new();
    bench.perform(&add(&["192.0.2.0/24"], Some(60)));
    bench.perform(&import("drop", "198.51.100.7\n"));
    let of = |rule: &str, networks: &str| (rule.to_owned(), networks.to_owned());
    let (operator, drop) = (
        of("operator", "192.0.2.0/24\n"),
        of("list:drop", "198.51.100.7/32\n"),
    );
    assert_eq!(bench.exported(None), [operator.clone(), drop.clone()]);
    assert_eq!(bench.exported(Some("operator")), [operator]);
    assert_eq!(
        bench.exported(Some("drop")),
        bench.exported(Some("list:drop"))
    );
    assert_eq!(bench.exported(Some("drop")), [drop]);
    assert_eq!(bench.exported(Some("automatic")), []);
    let fails = |origin: &str, blame, expected: &str| {
        let origin = Some(origin.to_owned());
        let failed = failure(bench.perform(&Request::BlockExport { origin }));
        assert_eq!(failed.blame, blame);
        assert!(failed.message.contains(expected), "{failed:?}");
    };
    fails("edrop", Blame::Internal, "no list `edrop`");
    fails("no name", Blame::Usage, "AS16509");
}

#[test]
fn a_flush_removes_lists_too() {
    let bench = Bench::new();
    bench.perform(&add(&["192.0.2.0/24"], None));
    bench.perform(&import("drop", "198.51.100.7\n"));
    let flushed = done(bench.perform(&Request::BlockFlush));
    assert_eq!(flushed.did, ["1 blocks removed", "list:drop removed"]);
    assert_eq!(bench.lists(), [""; 0]);
    assert_eq!(bench.is_dropped("198.51.100.7", NOW), None);
}

#[test]
fn the_audit_log_names_the_list_and_not_its_networks() {
    let bench = Bench::new();
    bench.perform(&import("drop", "198.51.100.7\n"));
    bench.perform(&import("drop", "198.51.100.8\n10.0.0.0/8\n"));
    let text = std::fs::read_to_string(bench.directory.path().join("audit.jsonl")).unwrap();
    let records = text
        .lines()
        .map(|line| serde_json::from_str::<Record>(line).unwrap());
    let records: Vec<_> = records
        .filter_map(|record| match record.event {
            Event::Operator(record) => Some(record),
            _ => None,
        })
        .collect();
    assert_eq!(records.len(), 2);
    assert!(
        records
            .iter()
            .all(|record| record.operation == "block import")
    );
    assert!(records.iter().all(|record| record.target == "list drop"));
    assert!(records[0].result.contains("1 networks"), "{records:?}");
    assert!(
        records[1].result.contains("nothing was changed"),
        "{records:?}"
    );
    assert!(!text.contains("198.51.100"), "{text}");
}

#[test]
fn a_list_lets_go_of_whom_the_guard_spares() {
    let bench = Bench::new();
    done(bench.perform(&import("drop", "198.51.100.0/24\n203.0.113.1\n")));
    let spared = ["127.0.0.0/8", "198.51.100.7/32"];
    let is_dropped = |guarded: &[&str]| {
        bench.guarding(guarded, |enforcer| {
            let standing = |ip: &str| enforcer.standing(ip.parse().unwrap(), NOW);
            let is_blocked = |ip| matches!(standing(ip), Standing::Blocked { .. });
            ["198.51.100.7", "198.51.100.8", "203.0.113.1"].map(is_blocked)
        })
    };
    assert_eq!(is_dropped(&spared[..1]), [true, true, true]);
    // From the start, and when the guard changes while it runs.
    assert_eq!(is_dropped(&spared), [false, true, true]);
    let changes = bench.guarding(&spared[..1], |enforcer| {
        let guard = |networks: &[&str]| {
            let mut guard = NeverBlock::default();
            guard.guard(
                Guard::Own,
                networks.iter().map(|text| text.parse().unwrap()),
            );
            enforcer.set_guard(guard, NOW);
            let standing = enforcer.standing("198.51.100.7".parse().unwrap(), NOW);
            matches!(standing, Standing::Blocked { .. })
        };
        [guard(&spared), guard(&spared[..1])]
    });
    assert_eq!(changes, [false, true]);
    // The list itself has kept it.
    assert_eq!(bench.exported(Some("drop"))[0].1.lines().count(), 2);
}

#[test]
fn there_is_no_instant_without_the_old_list_or_the_new() {
    let bench = Bench::new();
    let common = "198.51.100.7\n";
    let n_free = bench.guarding(&["127.0.0.0/8"], |enforcer| {
        let import = |networks: &str| {
            let request = ImportRequest {
                name: &"drop".parse().unwrap(),
                wire: networks,
                ttl: None,
                reason: "",
                scope: None,
                effect: Effect::Drop,
                force: Force::No,
            };
            enforcer.import(request, NOW).unwrap();
        };
        import(common);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watch = scope.spawn(|| {
                let (mut n_asked, mut n_free) = (0_u64, 0_u64);
                while !is_over.load(Ordering::Relaxed) {
                    let standing = enforcer.standing("198.51.100.7".parse().unwrap(), NOW);
                    n_free += u64::from(!matches!(standing, Standing::Blocked { .. }));
                    n_asked += 1;
                }
                assert!(n_asked > 0);
                n_free
            });
            for number in 0..50 {
                import(&format!("{common}203.0.113.{number}\n"));
            }
            is_over.store(true, Ordering::Relaxed);
            watch.join().unwrap()
        })
    });
    assert_eq!(n_free, 0);
}
