//! What the writer puts on disk, and what it counts as lost.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::audit::record::OperatorRecord;

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
fn a_full_disk_loses_records_and_says_so_later() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let full = OpenOptions::new().append(true).open("/dev/full").unwrap();
    let mut writer = Writer {
        path: path.clone(),
        file: full,
        next_sequence: 5,
        lost: Arc::default(),
        reported_lost: 0,
        pending: Pending::default(),
        line_is_open: false,
    };
    writer.append(NOW, event("lost"));
    writer.append(NOW, event("lost too"));
    writer.write_pending();
    assert_eq!(writer.lost.load(Ordering::Relaxed), 2);
    writer.reopen();
    writer.append(NOW, event("kept"));
    writer.write_pending();
    let events: Vec<_> = records(&path)
        .into_iter()
        .map(|r| (r.seq, r.event))
        .collect();
    assert_eq!(
        events,
        [(7, Event::Gap(GapRecord { lost: 2 })), (8, event("kept"))]
    );
}

#[test]
fn a_full_queue_loses_and_does_not_wait() {
    let (queue, _unread) = sync_channel(1);
    let log = AuditLog {
        queue: Some(queue),
        thread: None,
        lost: Arc::default(),
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
        request.http.headers = vec![["x-echo".to_owned(), r#""request_id":"c3""#.to_owned()]];
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
