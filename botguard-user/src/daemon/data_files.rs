//! Follows the data files: one that changes takes effect by itself, whole or not at all. There are
//! two groups, those of networks (`[intel]`, `[[crawler]]`) and those of tokens (`[identity.jwt]`),
//! so that a broken table does not keep out a new key.
//!
//! A file counts as changed when two looks in a row see it alike, and unlike what is in force; one
//! that changes while it is read is looked at again. What cannot be used leaves the old of its group
//! in force, is logged once, and is a degraded state until it is mended.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::running::Daemon;
use crate::edge::identity::IdentitySettings;
use crate::edge::identity::jwt::TokenVerifier;
use crate::intel::Intel;
use crate::settings::Settings;

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stamp {
    modified: (i64, i64),
    length: u64,
    inode: u64,
}

/// The files of a group as they were at one look; `None` is one that is not there.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Stamps(Vec<(PathBuf, Option<Stamp>)>);

impl Stamps {
    fn of_networks(settings: &Settings) -> Self {
        let intel = &settings.intel;
        let mut paths = vec![&intel.asn, &intel.country, &intel.hosting_asns];
        paths.extend(settings.crawler.iter().map(|crawler| &crawler.ranges));
        Self::of(&paths)
    }

    fn of_tokens(settings: &IdentitySettings) -> Self {
        Self::of(&[&settings.jwt.keys, &settings.jwt.secret_file])
    }

    fn of(paths: &[&Option<PathBuf>]) -> Self {
        let paths = paths.iter().filter_map(|path| path.as_ref());
        Self::of_files(paths.map(PathBuf::clone))
    }

    /// The files as they are now.
    pub(super) fn of_files(paths: impl Iterator<Item = PathBuf>) -> Self {
        let stamped = paths.map(|path| {
            let stamp = stamp(&path);
            (path, stamp)
        });
        Self(stamped.collect())
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(Stamp {
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        length: metadata.len(),
        inode: metadata.ino(),
    })
}

/// What stands in the data files, and how they were when it was read.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) intel: Arc<Intel>,
    pub(super) tokens: Arc<TokenVerifier>,
    pub(super) stamps: AllStamps,
}

/// Of both groups.
#[derive(Clone, Debug)]
pub(super) struct AllStamps {
    networks: Stamps,
    tokens: Stamps,
}

/// Reads the data files of all groups.
///
/// Errors: what is wrong with one, with file and line; or one changed meanwhile.
pub(super) fn load(settings: &Settings) -> Result<Data, String> {
    let (intel, networks) = load_networks(settings)?;
    let (tokens, token_stamps) = load_tokens(&settings.identity)?;
    Ok(Data {
        intel: Arc::new(intel),
        tokens: Arc::new(tokens),
        stamps: AllStamps {
            networks,
            tokens: token_stamps,
        },
    })
}

fn load_networks(settings: &Settings) -> Result<(Intel, Stamps), String> {
    let load = || Intel::load(&settings.intel, &settings.crawler);
    steadily(|| Stamps::of_networks(settings), load)
}

fn load_tokens(settings: &IdentitySettings) -> Result<(TokenVerifier, Stamps), String> {
    let load = || TokenVerifier::load(settings);
    steadily(|| Stamps::of_tokens(settings), load)
}

/// Reads files that are before as they are after.
fn steadily<T, E: std::fmt::Display>(
    stamps: impl Fn() -> Stamps,
    load: impl FnOnce() -> Result<T, E>,
) -> Result<(T, Stamps), String> {
    let before = stamps();
    let loaded = load();
    if stamps() != before {
        return Err("a data file changed while it was read; try again".to_owned());
    }
    Ok((loaded.map_err(|error| error.to_string())?, before))
}

/// What is in force, and what was seen since.
#[derive(Debug)]
pub(super) struct DataFiles {
    networks: Followed,
    tokens: Followed,
}

impl DataFiles {
    /// Those in force were read when they were as `stamps`.
    pub(super) fn new(stamps: AllStamps) -> Self {
        Self {
            networks: Followed::new(stamps.networks),
            tokens: Followed::new(stamps.tokens),
        }
    }

    /// What is wrong with files that are not in force.
    pub(super) fn problems(&self) -> Vec<String> {
        let problems = [&self.networks.problem, &self.tokens.problem];
        problems.into_iter().flatten().cloned().collect()
    }

    /// They are in force as they were at `stamps`.
    pub(super) fn accept(&mut self, stamps: AllStamps) {
        *self = Self::new(stamps);
    }
}

/// One group.
#[derive(Debug)]
pub(super) struct Followed {
    /// Of what is in force, or was refused.
    judged: Stamps,
    seen: Stamps,
    problem: Option<String>,
}

impl Followed {
    /// What is in force was read when the files were as `stamps`.
    pub(super) fn new(stamps: Stamps) -> Self {
        Self {
            seen: stamps.clone(),
            judged: stamps,
            problem: None,
        }
    }

    /// Whether they are to be read now.
    pub(super) fn look(&mut self, stamps: Stamps) -> bool {
        let is_settled = stamps == self.seen;
        self.seen = stamps;
        is_settled && self.seen != self.judged
    }

    /// Whether `stamps` are what was seen last.
    pub(super) fn saw(&self, stamps: &Stamps) -> bool {
        self.seen == *stamps
    }

    /// What is wrong with what is not in force.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// They are in force as they were at `stamps`.
    pub(super) fn accept(&mut self, stamps: Stamps) {
        *self = Self::new(stamps);
    }

    /// They are not to be used as they were at `stamps`.
    fn refuse(&mut self, stamps: Stamps, problem: String) {
        self.judged = stamps;
        self.problem = Some(problem);
    }

    /// [`Self::refuse`], said in the log.
    pub(super) fn refuse_logged(&mut self, stamps: Stamps, problem: String) {
        tracing::error!("files changed, the old ones stay in force: {problem}");
        self.refuse(stamps, problem);
    }
}

/// Why a table must not replace another by itself, if so.
fn broken_off(table: Option<&Path>, old: Option<usize>, new: Option<usize>) -> Option<String> {
    let (table, (old, new)) = table.zip(old.zip(new))?;
    (new < old.div_ceil(2)).then(|| {
        format!(
            "{}: has {new} ranges where the one in force has {old}: it looks broken off and is not \
             used; `botguard reload` takes it up as it is",
            table.display()
        )
    })
}

const EVERY: Duration = Duration::from_secs(10);

/// Runs until `shutdown`.
pub(super) async fn follow(daemon: Arc<Daemon>, shutdown: CancellationToken) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        // Both arms are cancellation-safe: a tick that is not seen here is seen next time.
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let daemon = Arc::clone(&daemon);
        // Reading takes a second where a table is large, so off the threads that serve.
        let looked = tokio::task::spawn_blocking(move || look(&daemon)).await;
        if let Err(error) = looked {
            tracing::error!(%error, "data files");
        }
    }
}

fn look(daemon: &Daemon) {
    let loaded = daemon.loaded.load_full();
    look_at_networks(daemon, &loaded.settings);
    look_at_tokens(daemon, &loaded.settings.identity);
    daemon.certificates.look();
}

fn look_at_networks(daemon: &Daemon, settings: &Settings) {
    let stamps = Stamps::of_networks(settings);
    if !daemon.data_files.lock().networks.look(stamps.clone()) {
        return;
    }
    let result = load_networks(settings);
    // From here on no reload comes in between; one that did has judged what is there.
    let mut data_files = daemon.data_files.lock();
    let files = &mut data_files.networks;
    if files.seen != stamps || Stamps::of_networks(settings) != stamps {
        return;
    }
    let result = result.and_then(|(intel, _stamps)| {
        let old = daemon.pipeline.view();
        let asns = |intel: &Intel| intel.asns().map(|table| table.n_ranges());
        let countries = |intel: &Intel| intel.countries().map(|table| table.file().n_entries);
        let problem = broken_off(
            settings.intel.asn.as_deref(),
            asns(&old.intel),
            asns(&intel),
        )
        .or_else(|| {
            let (old, new) = (countries(&old.intel), countries(&intel));
            broken_off(settings.intel.country.as_deref(), old, new)
        });
        problem.map_or(Ok(intel), Err)
    });
    match result {
        Err(problem) => files.refuse_logged(stamps, problem),
        Ok(intel) => {
            let intel = Arc::new(intel);
            let table = intel.asns();
            let n_systems =
                (daemon.enforcer).timed(|now| daemon.enforcer.set_asn_table(table, now));
            daemon.pipeline.set_intel(&intel);
            files.accept(stamps);
            drop(data_files);
            tracing::info!(n_systems, "data files of networks changed and are in force");
            if n_systems > 0 {
                daemon.close_all_blocked();
            }
        }
    }
}

fn look_at_tokens(daemon: &Daemon, settings: &IdentitySettings) {
    let stamps = Stamps::of_tokens(settings);
    if !daemon.data_files.lock().tokens.look(stamps.clone()) {
        return;
    }
    let result = load_tokens(settings);
    let mut data_files = daemon.data_files.lock();
    let files = &mut data_files.tokens;
    if files.seen != stamps || Stamps::of_tokens(settings) != stamps {
        return;
    }
    match result {
        Err(problem) => files.refuse_logged(stamps, problem),
        Ok((tokens, _stamps)) => {
            let n_keys = tokens.n_keys();
            daemon.pipeline.set_tokens(&Arc::new(tokens));
            files.accept(stamps);
            tracing::info!(n_keys, "keys of tokens changed and are in force");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamps(length: u64) -> Stamps {
        let stamp = (length > 0).then_some(Stamp {
            modified: (0, 0),
            length,
            inode: 1,
        });
        Stamps(vec![(PathBuf::from("asn.csv"), stamp)])
    }

    #[test]
    fn a_file_is_read_once_it_stays_as_it_is() {
        // Lengths at each look; 0 is a file that is gone.
        let check = |lengths: &[u64], expected: &[bool]| {
            let mut files = Followed::new(stamps(1));
            let loads = lengths.iter().map(|length| {
                let load = files.look(stamps(*length));
                if load {
                    files.accept(stamps(*length));
                }
                load
            });
            assert_eq!(loads.collect::<Vec<_>>(), expected, "{lengths:?}");
        };
        check(&[1, 1, 1], &[false, false, false]);
        check(&[2, 2, 2], &[false, true, false]);
        check(&[2, 3, 3, 3], &[false, false, true, false]);
        check(&[2, 1, 1], &[false, false, false]);
        check(&[0, 0], &[false, true]);
    }

    #[test]
    fn what_was_refused_is_not_read_again_until_it_changes() {
        let mut files = Followed::new(stamps(1));
        assert!(!files.look(stamps(2)) && files.look(stamps(2)));
        files.refuse(stamps(2), "asn.csv:7: …".to_owned());
        assert!(!files.look(stamps(2)) && files.problem.is_some());
        // Put back as it was, it is read, since what is in force is not known to be that.
        assert!(!files.look(stamps(1)) && files.look(stamps(1)));
        files.accept(stamps(1));
        assert_eq!(files.problem, None);
    }

    #[test]
    fn a_broken_key_set_stays_out_and_a_mended_one_comes_in() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys.json");
        let mut settings = IdentitySettings::default();
        settings.jwt.keys = Some(keys.clone());
        let check = |text: &str, expected: Result<usize, &str>| {
            std::fs::write(&keys, text).unwrap();
            match (load_tokens(&settings), expected) {
                (Ok((tokens, _)), Ok(n_keys)) => assert_eq!(tokens.n_keys(), n_keys),
                (Err(problem), Err(part)) => assert!(problem.contains(part), "{problem}"),
                (loaded, expected) => panic!("{loaded:?}, expected {expected:?}"),
            }
        };
        let key = |x: &str| format!("{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{x}\"}}");
        let good = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        check(&format!("{{\"keys\":[{}]}}", key(good)), Ok(1));
        check(
            &format!("{{\"keys\":[{}]}}", key("AA")),
            Err("keys.json: keys[0]: `x` is"),
        );
        check("{\"keys\":[", Err("keys.json: is not a JWK Set"));
        check(&format!("{{\"keys\":[{}]}}", key(good)), Ok(1));
        let before = Stamps::of_tokens(&settings);
        std::fs::remove_file(&keys).unwrap();
        assert_ne!(Stamps::of_tokens(&settings), before);
    }

    #[test]
    fn half_a_table_looks_broken_off() {
        let check = |old, new, expected| {
            let problem = broken_off(Some(Path::new("asn.csv")), Some(old), Some(new));
            assert_eq!(problem.is_some(), expected, "{old} to {new}");
        };
        check(100, 50, false);
        check(100, 49, true);
        check(101, 50, true);
        check(1, 0, true);
        check(0, 0, false);
    }
}
