//! When a log file is full, what the files rotated from it are called, and the step from one to
//! the next. The writer calls it between two records; what becomes of rotated files later is
//! `archive`.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::words::clock::Wall;
use crate::words::units::{Size, Span};

/// `[audit] rotate`: when a new file is begun.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rotate {
    /// `"off"`: never; something else renames the file and sends SIGHUP.
    Off,
    /// At whichever comes first.
    At(Full),
}

/// When a file is full. At least one of both is set.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Full {
    /// Bytes, at least 4 KiB; exceeded by less than one batch of records.
    pub size: Option<Size>,
    /// Age of its first record, at least a second.
    pub age: Option<Span>,
}

/// 256 MiB: about 100,000 requests.
impl Default for Rotate {
    fn default() -> Self {
        Self::At(Full {
            size: Some(Size(256 << 20)),
            age: None,
        })
    }
}

/// `[audit] keep`: a rotated file goes when one of these is exceeded. Only files that botguard
/// rotated itself are removed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// So many rotated files, at least 1.
    pub files: Option<u32>,
    /// So long after their rotation.
    pub age: Option<Span>,
    /// So many bytes of rotated files, as they lie on the disk.
    pub size: Option<Size>,
}

/// 14 files: at the default size about 1.4 million requests.
impl Default for Keep {
    fn default() -> Self {
        Self {
            files: Some(14),
            age: None,
            size: None,
        }
    }
}

/// `[audit] compress`: how rotated files are kept.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Compress {
    /// By gzip (RFC 1952), which zcat and zgrep read; about a tenth of the size.
    #[default]
    Gzip,
    /// As they were written.
    None,
}

/// Limits of rotation that make no sense. The configuration's fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RotationError {
    /// An empty table.
    #[error(
        "audit.rotate: says neither size nor age; write {{ size = \"256MiB\" }}, or \"off\" to \
         leave it to logrotate"
    )]
    Never,
    /// A file for every few records.
    #[error(
        "audit.rotate: a size below 4KiB or an age below 1s makes a file of every record or two"
    )]
    Always,
    /// Nothing would be kept.
    #[error("audit.keep: zero keeps no rotated file at all; leave the key out for no limit")]
    Nothing,
}

impl Rotate {
    pub(super) fn validate(&self) -> Result<(), RotationError> {
        match self {
            Self::Off => Ok(()),
            Self::At(Full {
                size: None,
                age: None,
            }) => Err(RotationError::Never),
            Self::At(Full { size, age })
                if size.is_some_and(|Size(size)| size < MIN_SIZE_BYTES)
                    || age.is_some_and(|Span(age)| age < MIN_AGE) =>
            {
                Err(RotationError::Always)
            }
            Self::At(_) => Ok(()),
        }
    }

    /// Whether a file of `bytes`, whose first record is of `began`, is full at `at`.
    pub(super) fn is_due(&self, bytes: u64, began: Wall, at: Wall) -> bool {
        match self {
            Self::Off => false,
            Self::At(Full { size, age }) => {
                size.is_some_and(|Size(size)| bytes >= size)
                    || age.is_some_and(|Span(age)| began.until(at) >= age)
            }
        }
    }
}

const MIN_SIZE_BYTES: u64 = 4_096;
const MIN_AGE: Duration = Duration::from_secs(1);

impl Keep {
    pub(super) fn validate(&self) -> Result<(), RotationError> {
        let is_nothing = self.files == Some(0)
            || self.age.is_some_and(|Span(age)| age.is_zero())
            || self.size == Some(Size(0));
        if is_nothing {
            Err(RotationError::Nothing)
        } else {
            Ok(())
        }
    }
}

impl<'de> Deserialize<'de> for Rotate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Rotate;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"off\", or a table as in { size = \"256MiB\", age = \"24h\" }")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Rotate, E> {
                if text == "off" {
                    Ok(Rotate::Off)
                } else {
                    Err(E::invalid_value(de::Unexpected::Str(text), &self))
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Rotate, A::Error> {
                Full::deserialize(MapAccessDeserializer::new(map)).map(Rotate::At)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A file that botguard rotated from a log.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Rotated {
    /// When, to the second; never twice the same.
    pub(super) at: Wall,
    /// Without the ending of a compressed one.
    pub(super) plain: PathBuf,
}

impl Rotated {
    /// Where it is once it is compressed.
    pub(super) fn compressed(&self) -> PathBuf {
        with_suffix(&self.plain, COMPRESSED)
    }
}

/// What a compressed file's name ends with.
pub(super) const COMPRESSED: &str = ".gz";

/// Those of `log` that are there, compressed or not, oldest first.
///
/// Errors: the directory cannot be read.
pub(super) fn rotated(log: &Path) -> io::Result<Vec<Rotated>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory(log))? {
        let path = entry?.path();
        files.extend(stamp(log, &path).map(|at| Rotated {
            at,
            plain: without_suffix(&path, COMPRESSED),
        }));
    }
    files.sort_unstable();
    files.dedup();
    Ok(files)
}

/// When `path` was rotated from `log`, by its name: `audit.jsonl-20261125T143000Z`, or the same
/// with the ending of a compressed one.
pub(super) fn stamp(log: &Path, path: &Path) -> Option<Wall> {
    let name = path.file_name()?.to_str()?;
    let stamp = name
        .strip_prefix(log.file_name()?.to_str()?)?
        .strip_prefix('-')?;
    let stamp = stamp.strip_suffix(COMPRESSED).unwrap_or(stamp);
    let is_stamp = stamp.len() == 16
        && (stamp.bytes().enumerate()).all(|(at, byte)| match at {
            8 => byte == b'T',
            15 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        });
    if !is_stamp {
        return None;
    }
    let part = |range: std::ops::Range<usize>| &stamp[range];
    let text = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0..4),
        part(4..6),
        part(6..8),
        part(9..11),
        part(11..13),
        part(13..15)
    );
    let time = humantime::parse_rfc3339(&text).ok()?;
    let since_epoch = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Wall::default().after(since_epoch))
}

/// The name of what is rotated from `log` at `at`.
fn name_at(log: &Path, at: Wall) -> PathBuf {
    let digits: String = (at.to_string().chars())
        .take("2026-11-25T14:30:00".len())
        .filter(|letter| !matches!(letter, '-' | ':'))
        .collect();
    with_suffix(log, &format!("-{digits}Z"))
}

/// Puts an empty file in the place of the log, which keeps its content under a name of its time.
/// There is no moment at which records would be lost; a crash in between leaves no file under the
/// log's name at worst, which the next start makes.
///
/// The name's time is `at`, or the second after the last rotated one where that is later: names
/// sort as the records do, whatever the wall clock does.
///
/// Errors: nothing has changed, and `current` is still the log.
pub(super) fn swap(log: &Path, current: &File, at: Wall) -> io::Result<File> {
    let metadata = current.metadata()?;
    let is_ours = fs::metadata(log)
        .is_ok_and(|other| (other.dev(), other.ino()) == (metadata.dev(), metadata.ino()));
    if !is_ours {
        // Somebody else has renamed it already.
        return open_append(log);
    }
    let last = rotated(log)?.pop();
    let after_last = last.map_or(at, |last| at.max(last.at.after(Duration::from_secs(1))));
    let target = name_at(log, after_last);
    let aside = with_suffix(log, ".rotating");
    if fs::metadata(&aside).is_ok_and(|left| left.is_file() && left.len() == 0) {
        fs::remove_file(&aside)?;
    }
    let fresh = OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(0o640)
        .open(&aside)?;
    let moved = fresh
        .set_permissions(Permissions::from_mode(metadata.mode() & 0o777))
        .and_then(|()| fs::rename(log, &target))
        .and_then(|()| fs::rename(&aside, log).inspect_err(|_| undo(&target, log)));
    if let Err(error) = moved {
        // Empty, and harmless where it stays.
        let _removed: io::Result<()> = fs::remove_file(&aside);
        return Err(error);
    }
    // So that a crash of the host does not bring the old names back; no worse comes of it.
    let _synced: io::Result<()> = sync_directory(log);
    Ok(fresh)
}

fn undo(target: &Path, log: &Path) {
    if let Err(error) = fs::rename(target, log) {
        tracing::error!(%error, from = %target.display(), "audit log not renamed back; records go there");
    }
}

/// Opens a log for appending, making it and its directory if they are missing.
pub(super) fn open_append(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(directory(path))?;
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

/// Makes renames in the directory of `path` last.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory(path))?.sync_all()
}

/// The directory of a file; of a bare name the current one.
pub(super) fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// `path` with something behind its name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn without_suffix(path: &Path, suffix: &str) -> PathBuf {
    match path.to_str().and_then(|text| text.strip_suffix(suffix)) {
        Some(rest) => rest.into(),
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests;
