//! What becomes of requests while the audit log takes nothing.

use super::*;

/// With `strict`, whoever would leave no record is not let through, in any mode, until there is
/// room again; without it everybody is.
#[test]
fn strict_lets_nobody_through_unrecorded() {
    for (strict, mode) in [(true, "enforce"), (true, "log"), (false, "enforce")] {
        let bench = Bench::with("", mode, &[], &format!("[audit]\nstrict = {strict}\n"));
        assert_eq!(bench.page(SCRAPER, 0), None);
        bench.audit.flush();
        // What opens the log now finds a disk that takes nothing.
        let path = bench.directory.path().join("audit.jsonl");
        let kept = bench.directory.path().join("kept.jsonl");
        std::fs::rename(&path, &kept).unwrap();
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        bench.audit.reopen();
        // The one that finds out is let through; it is kept in memory.
        assert_eq!(bench.page(SCRAPER, 1), None);
        bench.audit.flush();
        let refused = strict.then_some(Denial::Unrecordable);
        assert_eq!(bench.page(SCRAPER, 2), refused);
        std::fs::remove_file(&path).unwrap();
        bench.audit.reopen();
        bench.audit.flush();
        assert_eq!(bench.page(SCRAPER, 3), None);
        let requests = bench.requests();
        let unrecordable: Vec<_> = (requests.iter())
            .map(|it| it.decision.unrecordable)
            .collect();
        assert_eq!(unrecordable, [false, strict, false]);
        assert_eq!(bench.audit.lost(), 0);
    }
}
