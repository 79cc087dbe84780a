//! What becomes of rotated files: compressed in a thread of their own, and removed when there are
//! enough. It looks at the directory each time and remembers nothing, so that it goes on where a
//! crash left it.
//!
//! Invariant: a record is at every moment in a whole file, and in one of a name that is searched.
//! The plain file goes only when the compressed one is on disk under its name; where both are
//! there, the plain one counts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::health::{Health, Problem};
use super::rotation::{self, Compress, Keep, Rotated, sync_directory, with_suffix};
use crate::words::clock::Wall;
use crate::words::units::{Size, Span};

/// The thread. Dropped, it leaves what it is doing; the next start does it again.
#[derive(Debug)]
pub(super) struct Archive {
    wake: Option<SyncSender<Wall>>,
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

/// What there is to do with rotated files of one log.
#[derive(Clone, Debug)]
pub(super) struct Chores {
    pub(super) log: PathBuf,
    pub(super) keep: Keep,
    pub(super) compress: Compress,
}

impl Archive {
    /// Starts the thread, which looks once at once.
    pub(super) fn start(chores: Chores, health: Arc<Health>, now: Wall) -> io::Result<Self> {
        // One is enough: whoever is woken looks at everything.
        let (wake, woken) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("audit-archive".to_owned())
            .spawn(move || {
                for now in woken {
                    let done = chores.run(now, &stopped);
                    if !stopped.load(Ordering::Relaxed) {
                        health.set(Problem::Archive, done.err().as_ref());
                    }
                }
            })?;
        let archive = Self {
            wake: Some(wake),
            thread: Some(thread),
            stop,
        };
        archive.wake(now);
        Ok(archive)
    }

    /// There may be something to do. Never waits.
    pub(super) fn wake(&self, now: Wall) {
        if let Some(wake) = &self.wake {
            // Full: it is about to look anyway.
            let _woken: Result<(), _> = wake.try_send(now);
        }
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by its own hook.
            let _joined: std::thread::Result<()> = thread.join();
        }
    }
}

impl Chores {
    /// Compresses what is not, and removes what is too much. What fails is tried again next time.
    ///
    /// Errors: the first failure; the rest was done all the same.
    pub(super) fn run(&self, now: Wall, stop: &AtomicBool) -> io::Result<()> {
        let files = rotated(&self.log)?;
        let mut result = Ok(());
        if self.compress == Compress::Gzip {
            for file in &files {
                let done = if file.plain.exists() {
                    compress(file, stop)
                } else {
                    Ok(())
                };
                result = result.and(done);
            }
        }
        let removed = self.remove(&files, now);
        result.and(removed)
    }

    fn remove(&self, files: &[Rotated], now: Wall) -> io::Result<()> {
        let Keep {
            files: most,
            age,
            size,
        } = self.keep;
        let mut result = Ok(());
        let (mut n_kept, mut bytes_kept) = (0, 0);
        // Newest first; what is older than one that goes, goes too.
        let mut goes = false;
        for file in files.iter().rev() {
            let names = [file.plain.clone(), file.compressed()];
            let bytes: u64 = (names.iter())
                .filter_map(|name| Some(fs::metadata(name).ok()?.len()))
                .sum();
            goes |= most.is_some_and(|most| n_kept >= most)
                || age.is_some_and(|Span(age)| file.at.until(now) >= age)
                || size.is_some_and(|Size(size)| bytes_kept + bytes > size);
            if !goes {
                n_kept += 1;
                bytes_kept += bytes;
                continue;
            }
            for name in names {
                match fs::remove_file(&name) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        result = result.and(Err(error));
                    }
                    _ => {}
                }
            }
        }
        result
    }
}

fn rotated(log: &Path) -> io::Result<Vec<Rotated>> {
    match rotation::rotated(log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        files => files,
    }
}

/// Written aside, made to last, given its name; only then the plain file goes. Begun anew where it
/// was interrupted.
fn compress(file: &Rotated, stop: &AtomicBool) -> io::Result<()> {
    let aside = with_suffix(&file.compressed(), ".part");
    let mut plain = File::open(&file.plain)?;
    let compressed = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .open(&aside)?;
    compressed.set_permissions(plain.metadata()?.permissions())?;
    let mut encoder = GzEncoder::new(compressed, Compression::default());
    let mut chunk = vec![0; 256 * 1024];
    loop {
        if stop.load(Ordering::Relaxed) {
            return fs::remove_file(&aside);
        }
        match plain.read(&mut chunk)? {
            0 => break,
            n_read => encoder
                .write_all(&chunk[..n_read])
                .inspect_err(|_full| discard(&aside))?,
        }
    }
    let compressed = encoder.finish().inspect_err(|_full| discard(&aside))?;
    compressed.sync_all()?;
    fs::rename(&aside, file.compressed())?;
    sync_directory(&file.plain)?;
    fs::remove_file(&file.plain)
}

/// Half a file would only fill the disk further.
fn discard(aside: &Path) {
    let _removed: io::Result<()> = fs::remove_file(aside);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::audit::lines::Lines;

    static GO_ON: AtomicBool = AtomicBool::new(false);
    const FIRST: &str = "audit.jsonl-20261125T143000Z";
    const SECOND: &str = "audit.jsonl-20261125T143001Z";
    const THIRD: &str = "audit.jsonl-20261126T143001Z";

    fn at(text: &str) -> Wall {
        let time = humantime::parse_rfc3339(text).unwrap();
        Wall::default().after(time.duration_since(std::time::UNIX_EPOCH).unwrap())
    }

    struct Home(tempfile::TempDir);

    impl Home {
        fn with(files: &[(&str, &[u8])]) -> Self {
            let home = tempfile::tempdir().unwrap();
            for (name, content) in files {
                fs::write(home.path().join(name), content).unwrap();
            }
            Self(home)
        }

        fn chores(&self, keep: Keep) -> Chores {
            Chores {
                log: self.0.path().join("audit.jsonl"),
                keep,
                compress: Compress::Gzip,
            }
        }

        fn listing(&self) -> Vec<String> {
            let mut names: Vec<_> = fs::read_dir(self.0.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }

        fn lines(&self, name: &str) -> Vec<Vec<u8>> {
            Lines::open(&self.0.path().join(name))
                .unwrap()
                .map(Result::unwrap)
                .collect()
        }
    }

    fn zipped(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// The state of the directory at every point at which compressing can be cut off.
    #[test]
    fn goes_on_where_a_crash_left_it() {
        let whole = zipped(b"one\ntwo\n");
        let plain = (FIRST, b"one\ntwo\n".as_slice());
        let part = format!("{FIRST}.gz.part");
        let done = format!("{FIRST}.gz");
        let states: [&[(&str, &[u8])]; 6] = [
            &[plain],
            &[plain, (&part, b"")],
            &[plain, (&part, &whole[..9])],
            &[plain, (&part, &whole)],
            &[plain, (&done, &whole)],
            &[(&done, &whole)],
        ];
        for state in states {
            let home = Home::with(state);
            let chores = home.chores(Keep::default());
            chores.run(at("2026-11-25T14:31:00Z"), &GO_ON).unwrap();
            assert_eq!(home.listing(), std::slice::from_ref(&done));
            assert_eq!(home.lines(&done), [b"one", b"two"]);
        }
    }

    #[test]
    fn keeps_mode_and_what_it_was_told_to_leave() {
        let home = Home::with(&[
            (FIRST, b"one\n"),
            ("audit.jsonl", b"now\n"),
            ("audit.jsonl.1", b"by logrotate\n"),
            ("other.jsonl-20261125T143000Z", b"other\n"),
        ]);
        let plain = home.0.path().join(FIRST);
        fs::set_permissions(&plain, fs::Permissions::from_mode(0o640)).unwrap();
        // Interrupted: the plain file stays, and no part of another.
        let stop = AtomicBool::new(true);
        let chores = home.chores(Keep::default());
        chores.run(at("2026-11-25T14:31:00Z"), &stop).unwrap();
        let before = home.listing();
        assert_eq!(before.len(), 4, "{before:?}");
        chores.run(at("2026-11-25T14:31:00Z"), &GO_ON).unwrap();
        assert_eq!(
            home.listing(),
            [
                "audit.jsonl",
                "audit.jsonl-20261125T143000Z.gz",
                "audit.jsonl.1",
                "other.jsonl-20261125T143000Z"
            ]
        );
        let compressed = home.0.path().join(format!("{FIRST}.gz"));
        let mode = fs::metadata(compressed).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o640);
    }

    #[test]
    fn too_many_too_old_and_too_large_go_oldest_first() {
        let nothing = Keep {
            files: None,
            age: None,
            size: None,
        };
        let check = |keep: Keep, expected: &[&str]| {
            let home = Home::with(&[
                (FIRST, &[b'x'; 100]),
                (SECOND, &[b'x'; 100]),
                (THIRD, &[b'x'; 100]),
                ("audit.jsonl", &[b'x'; 100]),
                ("audit.jsonl.1", b"by logrotate"),
            ]);
            let chores = Chores {
                compress: Compress::None,
                ..home.chores(keep)
            };
            chores.run(at("2026-11-26T14:30:01Z"), &GO_ON).unwrap();
            let left: Vec<_> = home
                .listing()
                .into_iter()
                .filter(|name| name.ends_with('Z'))
                .collect();
            assert_eq!(left, expected, "{keep:?}");
            assert!(home.0.path().join("audit.jsonl.1").exists());
        };
        check(nothing, &[FIRST, SECOND, THIRD]);
        check(
            Keep {
                files: Some(2),
                ..nothing
            },
            &[SECOND, THIRD],
        );
        let day = Some(Span(std::time::Duration::from_secs(86_400)));
        check(
            Keep {
                age: day,
                ..nothing
            },
            &[THIRD],
        );
        check(
            Keep {
                size: Some(Size(299)),
                ..nothing
            },
            &[SECOND, THIRD],
        );
        check(
            Keep {
                size: Some(Size(99)),
                ..nothing
            },
            &[],
        );
    }

    #[test]
    fn a_failure_is_told_and_the_rest_is_done() {
        let home = Home::with(&[(FIRST, b"one\n"), (SECOND, b"two\n")]);
        fs::create_dir(home.0.path().join(format!("{FIRST}.gz.part"))).unwrap();
        let chores = home.chores(Keep::default());
        chores.run(at("2026-11-25T14:31:00Z"), &GO_ON).unwrap_err();
        assert!(home.0.path().join(FIRST).exists());
        assert!(home.0.path().join(format!("{SECOND}.gz")).exists());
        fs::remove_dir(home.0.path().join(format!("{FIRST}.gz.part"))).unwrap();
        chores.run(at("2026-11-25T14:31:00Z"), &GO_ON).unwrap();
        assert!(!home.0.path().join(FIRST).exists());
    }
}
