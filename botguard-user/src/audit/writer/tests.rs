//! What the writer puts on disk, and what it counts as lost.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::audit::record::{OperatorRecord, Record};
use crate::audit::search;

const NOW: Wall = Wall::from_unix_ms(1_795_435_200_000);

fn event(target: &str) -> Event {
    Event::Operator(OperatorRecord {
        actor: "uid 0".to_owned(),
        operation: "block add".to_owned(),
        target: target.to_owned(),
        result: "done".to_owned(),
    })
}

fn records(path: &Path) -> Vec<Record> {
    std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

#[test]
fn appends_in_order_and_is_not_for_everyone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log/audit.jsonl");
    let log = AuditLog::open(&path).unwrap();
    log.record(NOW, event("first"));
    log.record(NOW, event("second"));
    log.flush();
    let events: Vec<_> = records(&path)
        .into_iter()
        .map(|r| (r.seq, r.event))
        .collect();
    assert_eq!(events, [(0, event("first")), (1, event("second"))]);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o640);
}

#[test]
fn goes_on_after_a_torn_line_with_the_next_number() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let log = AuditLog::open(&path).unwrap();
    log.record(NOW, event("before"));
    drop(log);
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(br#"{"v":1,"seq":1,"ts":"20"#).unwrap();
    let log = AuditLog::open(&path).unwrap();
    log.record(NOW, event("after"));
    drop(log);
    let sequences: Vec<_> = records(&path).iter().map(|record| record.seq).collect();
    assert_eq!(sequences, [0, 1]);
}

#[test]
fn reopens_after_a_rotation() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let rotated = directory.path().join("audit.jsonl.1");
    let log = AuditLog::open(&path).unwrap();
    log.record(NOW, event("old"));
    log.flush();
    std::fs::rename(&path, &rotated).unwrap();
    log.record(NOW, event("still old"));
    log.reopen();
    log.record(NOW, event("new"));
    log.flush();
    assert_eq!(records(&rotated).len(), 2);
    assert_eq!(records(&path).len(), 1);
}

#[test]
fn a_full_queue_loses_and_does_not_wait() {
    let (queue, _unread) = sync_channel(1);
    let log = AuditLog {
        queue: Some(queue),
        thread: None,
        health: Arc::default(),
        unrecorded: Unrecorded::IsRefused,
    };
    log.record(NOW, event("queued"));
    log.record(NOW, event("lost"));
    assert_eq!(log.lost(), 1);
}

#[test]
fn finds_a_request_by_its_id_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let log = AuditLog::open(&path).unwrap();
    for id in ["a1", "b2", "a1"] {
        let mut request = crate::audit::record::tests::request(id);
        request.http.headers = [["x-echo", r#""request_id":"c3""#]].into_iter().collect();
        log.record(NOW, Event::Request(Box::new(request)));
    }
    log.record(NOW, event("\"request_id\":\"c3\""));
    log.flush();
    let check = |id: &str, expected: Option<u64>| {
        let found = search::request(&path, id).unwrap();
        assert_eq!(found.map(|found| found.record.seq), expected, "{id}");
    };
    check("a1", Some(2));
    check("b2", Some(1));
    check("c3", None);
    check("b", None);
}

#[test]
fn strict_admits_only_what_will_be_recorded() {
    let (queue, unread) = sync_channel(QUEUE_RECORDS);
    let mut log = AuditLog {
        queue: Some(queue),
        thread: None,
        health: Arc::default(),
        unrecorded: Unrecorded::IsRefused,
    };
    let limit = QUEUE_RECORDS / 4 * 3;
    for _record in 1..limit {
        log.record(NOW, event("queued"));
    }
    assert!(log.admits());
    log.record(NOW, event("one too many"));
    assert!(!log.admits());
    log.unrecorded = Unrecorded::Passes;
    assert!(log.admits() && !log.is_recording());
    // The last quarter is for those that were admitted before.
    for _record in limit..QUEUE_RECORDS {
        log.record(NOW, event("in flight"));
    }
    assert_eq!(log.lost(), 0);
    drop(unread);
}

/// `/dev/full` takes nothing, whoever opens it: what a full disk says.
#[test]
fn a_disk_that_takes_nothing_refuses_and_room_on_it_admits() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let settings = AuditSettings {
        path: path.clone(),
        strict: true,
        ..AuditSettings::default()
    };
    let log = AuditLog::start(&settings, NOW).unwrap();
    assert!(log.admits());
    log.record(NOW, event("first"));
    log.flush();
    assert!(!log.admits());
    assert!(
        log.problems()[0].contains("No space left"),
        "{:?}",
        log.problems()
    );
    std::fs::remove_file(&path).unwrap();
    log.reopen();
    log.flush();
    assert!(log.admits());
    assert_eq!(log.problems(), Vec::<String>::new());
    assert_eq!(records(&path).len(), 1);
    assert_eq!(log.lost(), 0);
}

/// What the bound of the queue is worth: about 4 KiB for a record as it is usual.
#[test]
fn a_queued_record_is_small() {
    let record = crate::audit::record::tests::request("r1");
    let text = serde_json::to_vec(&record).unwrap();
    assert!(size_of::<Command>() < 512, "{}", size_of::<Command>());
    assert!(size_of_val(&record) + text.len() < 4_096);
}
