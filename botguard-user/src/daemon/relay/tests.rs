//! Records find whoever runs, or the file where nobody does.

use std::os::unix::net::UnixListener;
use std::path::Path;

use super::*;
use crate::audit::record::OperatorRecord;

impl Inbox {
    /// For whoever needs one.
    pub(in crate::daemon) fn test() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::new(
            Arc::new(AuditLog::open(&folder.path().join("a.jsonl")).unwrap()),
            Arc::default(),
        )
    }
}

fn event(target: &str) -> Event {
    Event::Operator(OperatorRecord {
        actor: "uid 0".to_owned(),
        operation: "test".to_owned(),
        target: target.to_owned(),
        result: String::new(),
    })
}

/// Number and target of each.
fn records(path: &Path) -> Vec<(u64, String)> {
    let text = std::fs::read_to_string(path).unwrap();
    let records = text.lines().map(|line| serde_json::from_str(line).unwrap());
    records
        .map(|record: Record| match record.event {
            Event::Operator(operator) => (record.seq, operator.target),
            other => panic!("{other:?}"),
        })
        .collect()
}

/// Takes connections in as a daemon does, without looking at what they ask for.
fn running(state_dir: &Path, audit_path: &Path) -> (Inbox, Arc<AuditLog>, CancellationToken) {
    let audit = Arc::new(AuditLog::open(audit_path).unwrap());
    let inbox = Inbox::new(Arc::clone(&audit), Arc::default());
    let path = handover::path(state_dir);
    let _left_over: io::Result<()> = std::fs::remove_file(&path);
    let door = UnixListener::bind(path).unwrap();
    door.set_nonblocking(true).unwrap();
    let door = tokio::net::UnixListener::from_std(door).unwrap();
    let gone = CancellationToken::new();
    tokio::spawn({
        let (inbox, gone) = (inbox.clone(), gone.clone());
        async move {
            while let Some(Ok((mut stream, _))) = gone.run_until_cancelled(door.accept()).await {
                let mut request = [0; REQUEST.len()];
                stream.read_exact(&mut request).await.unwrap();
                inbox.take_records(stream.into_std().unwrap()).unwrap();
            }
        }
    });
    (inbox, audit, gone)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_record_gets_to_who_runs_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let (state_dir, path) = (folder.path().to_owned(), folder.path().join("audit.jsonl"));
    let lock = StateLock::take(&state_dir, Duration::ZERO).unwrap();
    let old = AuditLog::open(&path).unwrap();
    old.record(Wall::read(), event("before"));
    old.hand_over(Box::new(Relay::new(state_dir.clone(), path.clone())));
    assert_eq!(records(&path), [(0, "before".to_owned())]);

    // Somebody starts, and opens its door later.
    old.record(Wall::read(), event("waits"));
    let (inbox, audit, gone) = running(&state_dir, &path);
    audit.record(Wall::read(), event("its own"));
    let old = tokio::task::spawn_blocking(move || {
        old.flush();
        old
    });
    let old = old.await.unwrap();
    audit.flush();
    let mut seen = records(&path);
    assert_eq!(
        seen.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(),
        [0, 1, 2]
    );
    seen.sort_by(|one, other| one.1.cmp(&other.1));
    let targets: Vec<_> = seen.iter().map(|(_, target)| target.as_str()).collect();
    assert_eq!(targets, ["before", "its own", "waits"]);

    // It hands over to another, under the same lock.
    gone.cancel();
    inbox.close().await;
    audit.flush();
    drop((inbox, audit));
    old.record(Wall::read(), event("to the third"));
    let (inbox, audit, gone) = running(&state_dir, &path);
    let old = tokio::task::spawn_blocking(move || {
        old.flush();
        old
    });
    let old = old.await.unwrap();
    audit.flush();
    assert_eq!(records(&path)[3], (3, "to the third".to_owned()));
    assert_eq!(old.lost(), 0, "whoever took them said so");

    // And is killed, or stopped: nobody has the lock.
    gone.cancel();
    inbox.close().await;
    drop((inbox, audit, lock));
    old.record(Wall::read(), event("alone"));
    tokio::task::spawn_blocking(move || drop(old))
        .await
        .unwrap();
    assert_eq!(records(&path)[4], (4, "alone".to_owned()));
    assert!(
        StateLock::take(&state_dir, Duration::ZERO).is_ok(),
        "given back"
    );
}
