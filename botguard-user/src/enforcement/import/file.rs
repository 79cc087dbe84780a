//! Reads a list's file as a whole, and makes sure that it is one file that was read: whoever
//! writes it in place meanwhile would have half of two lists imported.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Largest file: sixteen times a million networks of IPv4 with room for comments.
pub const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// A file that was not read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read. Mostly a mistyped path.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is too large.
    #[error(
        "{} is larger than {} MiB; import it in parts, each with an `--origin`",
        path.display(),
        MAX_BYTES / (1024 * 1024)
    )]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// Somebody wrote it meanwhile. Nobody's fault; trying again is in order.
    #[error(
        "{} changed while it was read; nothing was imported, try again. Whoever makes it should \
         write a new file and rename it into place",
        path.display()
    )]
    Changed {
        /// Which.
        path: PathBuf,
    },
}

/// Reads the file at `path`, or standard input where that is `-`.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    if path.as_os_str() == "-" {
        let path = Path::new("standard input");
        return bounded(path, &mut io::stdin().lock());
    }
    read_by(path, |file| bounded(path, file))
}

fn read_by(
    path: &Path,
    read: impl FnOnce(&mut File) -> Result<Vec<u8>, FileError>,
) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(failed)?;
    let before = Stamp::of(&file.metadata().map_err(failed)?);
    let content = read(&mut file)?;
    // By its path: it may be another file by now, of which this one is the former version.
    let after = Stamp::of(&fs::metadata(path).map_err(failed)?);
    let is_whole = before.is_of(&content) && before == after;
    if is_whole {
        Ok(content)
    } else {
        Err(FileError::Changed {
            path: path.to_owned(),
        })
    }
}

fn bounded(path: &Path, source: &mut impl Read) -> Result<Vec<u8>, FileError> {
    let mut content = vec![];
    let read = source.take(MAX_BYTES + 1).read_to_end(&mut content);
    read.map_err(|source| FileError::Io {
        path: path.to_owned(),
        source,
    })?;
    if content.len() as u64 > MAX_BYTES {
        return Err(FileError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(content)
}

/// What tells one version of a file from another.
#[derive(Debug, Eq, PartialEq)]
struct Stamp {
    device: u64,
    inode: u64,
    /// What is read of a pipe has no length beforehand, and its time changes by being written.
    regular: Option<Regular>,
}

#[derive(Debug, Eq, PartialEq)]
struct Regular {
    n_bytes: u64,
    modified: (i64, i64),
    /// Moves also where the time of modification was set back.
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            regular: metadata.is_file().then(|| Regular {
                n_bytes: metadata.len(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            }),
        }
    }

    fn is_of(&self, content: &[u8]) -> bool {
        let n_bytes = content.len() as u64;
        (self.regular.as_ref()).is_none_or(|regular| regular.n_bytes == n_bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_is_read_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("list");
        fs::write(&path, "192.0.2.1\n").unwrap();
        assert_eq!(read(&path).unwrap(), b"192.0.2.1\n");
        assert_eq!(read(Path::new("/dev/null")).unwrap(), b"");
        let error = read(&directory.path().join("absent")).unwrap_err();
        assert!(error.to_string().contains("absent"), "{error}");
        assert!(matches!(read(directory.path()), Err(FileError::Io { .. })));
    }

    #[test]
    fn a_file_that_changes_while_read_is_refused() {
        let check = |name: &str, change: &dyn Fn(&Path)| {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("list");
            fs::write(&path, "192.0.2.1\n").unwrap();
            let result = read_by(&path, |file| {
                let content = bounded(&path, file);
                change(&path);
                content
            });
            assert!(matches!(result, Err(FileError::Changed { .. })), "{name}");
        };
        check("appended", &|path| {
            let mut file = File::options().append(true).open(path).unwrap();
            file.write_all(b"192.0.2.2\n").unwrap();
        });
        check("truncated", &|path| drop(File::create(path).unwrap()));
        check("replaced", &|path| {
            let other = path.with_extension("new");
            fs::write(&other, "192.0.2.1\n").unwrap();
            fs::rename(&other, path).unwrap();
        });
        check("same length", &|path| {
            let file = File::options().write(true).open(path).unwrap();
            (&file).write_all(b"192.0.2.9\n").unwrap();
            let later = file.metadata().unwrap().modified().unwrap();
            let later = later + std::time::Duration::from_secs(1);
            file.set_modified(later).unwrap();
        });
    }

    #[test]
    fn a_file_that_is_cut_while_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("list");
        fs::write(&path, "192.0.2.1\n").unwrap();
        let result = read_by(&path, |_file| Ok(b"192.0.".to_vec()));
        assert!(matches!(result, Err(FileError::Changed { .. })));
    }
}
