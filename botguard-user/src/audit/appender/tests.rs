//! What is on disk after full disks, rotations and restarts. Time is that of the records.

use std::fs::OpenOptions;

use super::*;
use crate::audit::archive::Chores;
use crate::audit::record::{OperatorRecord, tests::request};
use crate::audit::rotation::{Compress, Full, Keep};
use crate::words::units::{Size, Span};

const NOW: Wall = Wall::from_unix_ms(1_795_617_000_000);

fn event(target: &str) -> Event {
    Event::Operator(OperatorRecord {
        actor: "uid 0".to_owned(),
        operation: "block add".to_owned(),
        target: target.to_owned(),
        result: "done".to_owned(),
    })
}

fn after(seconds: u64) -> Wall {
    NOW.after(Duration::from_secs(seconds))
}

struct Bench {
    home: tempfile::TempDir,
    health: Arc<Health>,
}

impl Bench {
    fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            health: Arc::default(),
        }
    }

    fn log(&self) -> PathBuf {
        self.home.path().join("audit.jsonl")
    }

    fn open(&self, rotate: Rotate, compress: Compress) -> Appender {
        let chores = Chores {
            log: self.log(),
            keep: Keep::default(),
            compress,
        };
        let archive = Archive::start(chores, Arc::clone(&self.health), NOW).unwrap();
        Appender::open(&self.log(), rotate, Some(archive), Arc::clone(&self.health)).unwrap()
    }

    fn plain(&self) -> Appender {
        Appender::open(&self.log(), Rotate::Off, None, Arc::clone(&self.health)).unwrap()
    }

    /// Sequence numbers of every file, oldest first.
    fn sequences(&self) -> Vec<Vec<u64>> {
        let mut files: Vec<_> = rotation::rotated(&self.log())
            .unwrap()
            .into_iter()
            .map(|file| match file.plain.exists() {
                true => file.plain,
                false => file.compressed(),
            })
            .collect();
        files.push(self.log());
        (files.iter())
            .map(|file| {
                let lines = Lines::open(file).unwrap().map(Result::unwrap);
                let records = lines.map(|line| serde_json::from_slice::<Record>(&line).unwrap());
                records.map(|record| record.seq).collect()
            })
            .collect()
    }

    fn events(&self) -> Vec<Event> {
        let lines = Lines::open(&self.log()).unwrap().map(Result::unwrap);
        lines
            .map(|line| serde_json::from_slice::<Record>(&line).unwrap().event)
            .collect()
    }
}

fn full_disk() -> File {
    OpenOptions::new().append(true).open("/dev/full").unwrap()
}

#[test]
fn a_disk_that_is_full_for_a_moment_costs_nothing() {
    let bench = Bench::new();
    let mut appender = bench.plain();
    appender.file = full_disk();
    appender.append(NOW, event("first"));
    appender.write();
    assert!(bench.health.is_failing());
    assert!(bench.health.problems()[0].contains("cannot be written"));
    // Not asked again within the second, and once it is over.
    appender.file = open_append(&bench.log()).unwrap();
    appender.append(NOW, event("second"));
    appender.write();
    assert_eq!(bench.events(), []);
    appender.append(after(1), event("third"));
    appender.write();
    assert_eq!(bench.events(), ["first", "second", "third"].map(event));
    assert!(!bench.health.is_failing());
    assert_eq!(
        (bench.health.n_lost(), bench.health.problems()),
        (0, vec![])
    );
}

#[test]
fn a_line_that_was_cut_off_goes_on_where_it_was() {
    let bench = Bench::new();
    let mut appender = bench.plain();
    appender.append(NOW, event("first"));
    appender.append(NOW, event("second"));
    // As after a write that found room for ten bytes.
    appender
        .file
        .write_all(&appender.pending.bytes[..10])
        .unwrap();
    appender.pending.n_written = 10;
    appender.write();
    assert_eq!(bench.events(), ["first", "second"].map(event));

    // In another file, the rest of a line is none.
    appender.append(NOW, event("third"));
    appender.append(NOW, event("fourth"));
    appender
        .file
        .write_all(&appender.pending.bytes[..10])
        .unwrap();
    appender.pending.n_written = 10;
    appender.file = full_disk();
    fs::rename(bench.log(), bench.home.path().join("audit.jsonl.1")).unwrap();
    appender.reopen();
    appender.append(after(5), event("fifth"));
    appender.write();
    let gap = Event::Gap(GapRecord { lost: 1 });
    assert_eq!(bench.events(), [event("fourth"), gap, event("fifth")]);
}

#[test]
fn what_waits_is_bounded_and_the_rest_is_a_gap() {
    let bench = Bench::new();
    let mut appender = bench.plain();
    appender.file = full_disk();
    let long = "x".repeat(100_000);
    for _record in 0..100 {
        appender.append(NOW, event(&long));
        appender.write();
    }
    assert!(appender.pending.bytes.len() < RETAINED_BYTES + 200_000);
    let n_lost = bench.health.n_lost();
    assert!((10..30).contains(&n_lost), "{n_lost}");
    appender.reopen();
    appender.append(after(1), event("last"));
    appender.write();
    let events = bench.events();
    assert_eq!(events.len() as u64, 100 - n_lost + 2);
    let gap = Event::Gap(GapRecord { lost: n_lost });
    assert_eq!(events[events.len() - 2..], [gap, event("last")]);
    let sequences = bench.sequences().concat();
    assert!(sequences.iter().copied().eq(0..sequences.len() as u64));
}

#[test]
fn what_cannot_be_written_to_the_end_is_counted() {
    let bench = Bench::new();
    let mut appender = bench.plain();
    appender.file = full_disk();
    appender.append(NOW, event("first"));
    appender.append(NOW, event("second"));
    appender.close();
    assert_eq!(bench.health.n_lost(), 2);
}

#[test]
fn files_follow_each_other_at_a_record_and_numbers_go_on() {
    let by_size = Rotate::At(Full {
        size: Some(Size(4_096)),
        age: None,
    });
    let by_age = Rotate::At(Full {
        size: None,
        age: Some(Span(Duration::from_secs(10))),
    });
    for (rotate, compress) in [
        (by_size, Compress::None),
        (by_size, Compress::Gzip),
        (by_age, Compress::None),
    ] {
        let bench = Bench::new();
        // A restart in the middle of it, once with an empty log and once without.
        for part in 0..3 {
            let mut appender = bench.open(rotate, compress);
            for n in part * 10..(part + 1) * 10 {
                let request = request(&format!("r{n}"));
                appender.append(after(n), Event::Request(Box::new(request)));
                appender.write();
            }
            appender.close();
        }
        let files = bench.sequences();
        assert!(files.len() >= 3, "{files:?}");
        if rotate == by_age {
            assert!(files.iter().all(|file| file.len() == 10), "{files:?}");
        }
        assert!(files.concat().into_iter().eq(0..30), "{files:?}");
        for n in 0..30 {
            let id = format!("r{n}");
            let found = search::request(&bench.log(), &id).unwrap().unwrap();
            assert_eq!(found.record.seq, n, "{id}");
        }
        assert_eq!(bench.health.problems(), Vec::<String>::new());
    }
}

#[test]
fn numbers_go_on_after_a_rotation_that_left_an_empty_log() {
    let bench = Bench::new();
    let mut appender = bench.plain();
    appender.append(NOW, event("first"));
    appender.write();
    drop(appender);
    let file = File::open(bench.log()).unwrap();
    rotation::swap(&bench.log(), &file, NOW).unwrap();
    // Between the two renames, even without one.
    fs::remove_file(bench.log()).unwrap();
    let mut appender = bench.plain();
    appender.append(NOW, event("second"));
    appender.write();
    assert_eq!(bench.sequences(), [[0], [1]]);
}

#[test]
fn a_rotation_that_fails_is_told_once_and_tried_again() {
    let bench = Bench::new();
    let rotate = Rotate::At(Full {
        size: Some(Size(4_096)),
        age: None,
    });
    let mut appender = bench.open(rotate, Compress::None);
    let in_the_way = bench.home.path().join("audit.jsonl.rotating");
    fs::create_dir(&in_the_way).unwrap();
    let mut n = 0;
    let mut ten = |appender: &mut Appender, at| {
        for _request in 0..10 {
            appender.append(at, event(&"x".repeat(1_000)));
            appender.write();
            n += 1;
        }
        n
    };
    ten(&mut appender, NOW);
    assert!(bench.health.problems()[0].contains("cannot be rotated"));
    assert!(!bench.health.is_failing());
    assert_eq!(bench.sequences().len(), 1);
    fs::remove_dir(&in_the_way).unwrap();
    ten(&mut appender, after(59));
    assert_eq!(bench.sequences().len(), 1);
    let n = ten(&mut appender, after(60));
    assert!(bench.sequences().len() > 1);
    assert!(bench.sequences().concat().into_iter().eq(0..n));
    assert_eq!(bench.health.problems(), Vec::<String>::new());
}
