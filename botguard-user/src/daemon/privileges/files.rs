//! Botguard's own files become its user's: the state directory, the audit log and what was rotated
//! from it, and the directory of the admin socket.
//!
//! Root does this where somebody else may write, so it follows no symbolic link, takes up no file
//! that has a second name, and knows its files by their names. A directory is given away only if it
//! is root's, holds nothing but such files, and nobody but root can put another in its place.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _,
};
use std::path::{Path, PathBuf};

use nix::fcntl::AtFlags;
use nix::libc::{O_DIRECTORY, O_NOFOLLOW, O_PATH};
use nix::unistd::{fchown, fchownat};

use super::Account;
use crate::settings::Settings;

/// A file or directory cannot be given away. The operator's fault, or the host's.
#[derive(Debug, thiserror::Error)]
#[error("cannot give {} to user `{user}`: {source}", path.display())]
pub struct GiveError {
    path: PathBuf,
    user: String,
    source: io::Error,
}

/// One of botguard's directories.
struct Place<'a> {
    directory: &'a Path,
    /// Where it has to be made.
    mode: u32,
    is_ours: Box<dyn Fn(&str) -> bool + 'a>,
}

/// Makes the directories that are missing, and gives them and their files to `account`.
pub(super) fn give(settings: &Settings, account: &Account) -> Result<(), GiveError> {
    let places = places(settings);
    for place in &places {
        let failed = |source| GiveError {
            path: place.directory.to_owned(),
            user: account.name.clone(),
            source,
        };
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(place.mode);
        made.create(place.directory).map_err(failed)?;
    }
    // Innermost first: once a directory is the user's, so is what lies in it.
    let mut innermost_first: Vec<_> = places.iter().map(|place| place.directory).collect();
    innermost_first.sort_by_key(|directory| std::cmp::Reverse(directory.components().count()));
    innermost_first.dedup();
    for directory in innermost_first {
        let here = places.iter().filter(|place| place.directory == directory);
        let is_ours = |name: &OsStr| {
            let name = name.to_str();
            name.is_some_and(|name| here.clone().any(|place| (place.is_ours)(name)))
        };
        give_directory(directory, &is_ours, account).map_err(|(path, source)| GiveError {
            path,
            user: account.name.clone(),
            source,
        })?;
    }
    Ok(())
}

fn places(settings: &Settings) -> [Place<'_>; 3] {
    let log = name_of(&settings.audit.path);
    let socket = name_of(&settings.admin.socket);
    [
        Place {
            directory: &settings.state_dir,
            mode: 0o700,
            is_ours: Box::new(is_state),
        },
        Place {
            directory: parent(&settings.audit.path),
            mode: 0o750,
            is_ours: Box::new(move |name| {
                let rest = name.strip_prefix(log);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
            }),
        },
        Place {
            directory: parent(&settings.admin.socket),
            mode: 0o755,
            is_ours: Box::new(move |name| name == socket),
        },
    ]
}

/// What store and handover make (`store`, `store/secrets.rs`, `daemon/handover.rs`).
fn is_state(name: &str) -> bool {
    matches!(
        name,
        "lock" | "store.redb" | "secrets" | "secrets.new" | "handover.sock"
    ) || name.starts_with("store.redb.corrupt-")
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(OsStr::to_str).unwrap_or_default()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

type Failed = (PathBuf, io::Error);

fn give_directory(
    directory: &Path,
    is_ours: &dyn Fn(&OsStr) -> bool,
    account: &Account,
) -> Result<(), Failed> {
    let failed = |error: io::Error| (directory.to_owned(), error);
    let mut options = OpenOptions::new();
    let options = options.read(true).custom_flags(O_DIRECTORY | O_NOFOLLOW);
    let open = options.open(directory).map_err(failed)?;
    let owner = open.metadata().map_err(failed)?.uid();
    if owner != 0 && owner != account.uid.as_raw() {
        // Somebody has made it for somebody else; what that comes to, the start says.
        return Ok(());
    }
    let names = fs::read_dir(directory).map_err(failed)?.flatten();
    let names: Vec<_> = names.map(|entry| entry.file_name()).collect();
    for name in names.iter().filter(|name| is_ours(name)) {
        give_file(&open, name, account).map_err(|error| (directory.join(name), error))?;
    }
    if owner == 0 && names.iter().all(|name| is_ours(name)) && is_roots_way(directory) {
        fchown(&open, Some(account.uid), Some(account.group))
            .map_err(|error| failed(error.into()))?;
    }
    Ok(())
}

/// Whether all directories above are root's, and nobody else may rename what lies in them.
fn is_roots_way(directory: &Path) -> bool {
    let Ok(real) = directory.canonicalize() else {
        return false;
    };
    let mut above = real.ancestors().skip(1);
    above.all(|above| {
        let metadata = above.metadata();
        metadata.is_ok_and(|metadata| {
            let is_sticky = metadata.mode() & 0o1000 != 0;
            metadata.uid() == 0 && (is_sticky || metadata.mode() & 0o022 == 0)
        })
    })
}

fn give_file(directory: &File, name: &OsStr, account: &Account) -> io::Result<()> {
    use nix::fcntl::{OFlag, openat};
    use nix::sys::stat::Mode;

    let flags = OFlag::from_bits_retain(O_PATH | O_NOFOLLOW) | OFlag::O_CLOEXEC;
    let file = match openat(directory.as_fd(), name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        // Gone meanwhile.
        Err(nix::errno::Errno::ENOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    let kind = metadata.file_type();
    let is_plain = (kind.is_file() && metadata.nlink() == 1) || kind.is_socket();
    if !is_plain || metadata.uid() != 0 {
        return Ok(());
    }
    let (uid, group) = (Some(account.uid), Some(account.group));
    fchownat(file.as_fd(), "", uid, group, AtFlags::AT_EMPTY_PATH)?;
    Ok(())
}
