//! Where program, links and maps are pinned, and whether what is pinned there is ours.
//!
//! `PIN_DIR/v<layout>/{prog, prog_clock, link_<ifname>, map_<name>}` on a bpffs. A loader takes any
//! map of the right name; [`Pins::verify`] compares shapes first.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use aya::maps::MapInfo;
use botguard_common::maps::{Kind, LAYOUT, Life, SHAPES, Shape};
use nix::mount::{MsFlags, mount};
use nix::poll::poll;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use nix::unistd::{Gid, chown};

use super::error::KernelError;

/// The paths of one filter.
#[derive(Clone, Debug)]
pub(super) struct Pins {
    directory: PathBuf,
    /// The same directory as this process reaches it.
    reach: PathBuf,
}

impl Pins {
    /// Below the configured directory.
    pub(super) fn below(pin_dir: &Path) -> Self {
        Self::in_directory(pin_dir.join(format!("v{LAYOUT}")))
    }

    fn in_directory(directory: PathBuf) -> Self {
        Self {
            reach: directory.clone(),
            directory,
        }
    }

    /// As [`Self::below`], for a process that may not pass through the directories above (a bpffs is
    /// root's alone): by way of the open directory, for as long as `lock` lives.
    pub(super) fn through(pin_dir: &Path, lock: &PinLock) -> Self {
        let number = lock.directory.as_raw_fd();
        Self {
            reach: PathBuf::from(format!("/proc/self/fd/{number}")),
            ..Self::below(pin_dir)
        }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn program(&self) -> PathBuf {
        self.reach.join("prog")
    }

    pub(super) fn clock_program(&self) -> PathBuf {
        self.reach.join("prog_clock")
    }

    pub(super) fn link(&self, interface: &str) -> PathBuf {
        // bpffs refuses names with a dot (bpf_lookup in kernel/bpf/inode.c), as VLANs have them.
        self.reach
            .join(format!("{LINK_PREFIX}{}", interface.replace('.', DOT)))
    }

    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.reach.join(format!("map_{name}"))
    }

    /// Where what is to replace a pin stands until it does.
    pub(super) fn aside(&self, path: &Path) -> PathBuf {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.reach.join(format!("{ASIDE_PREFIX}{name}"))
    }

    /// Whether there are pins, of this or an older layout.
    pub(super) fn exist_in_any_layout(&self) -> bool {
        let older = |layout| self.directory.with_file_name(format!("v{layout}"));
        self.directory.exists() || (1..LAYOUT).any(|layout| older(layout).exists())
    }

    /// Whether a filter is pinned.
    ///
    /// Errors: nobody without privileges sees what is pinned; that is not as if nothing was.
    pub(super) fn has_filter(&self) -> Result<bool, KernelError> {
        let path = self.program();
        path.try_exists()
            .map_err(|error| KernelError::pin(path, error))
    }

    /// Whether everything is pinned that a filter consists of. It is not where a first set-up was
    /// killed in the middle.
    pub(super) fn is_complete(&self) -> bool {
        self.all().all(|path| path.exists())
    }

    /// Interfaces that have a pinned link.
    ///
    /// Errors: the directory cannot be read; one that does not exist has none.
    pub(super) fn linked_interfaces(&self) -> Result<Vec<String>, KernelError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            Err(error) => return Err(KernelError::pin(&self.directory, error)),
        };
        let names = entries.flatten().filter_map(|entry| {
            let name = entry.file_name();
            let interface = name.to_str()?.strip_prefix(LINK_PREFIX)?;
            Some(interface.replace(DOT, "."))
        });
        let mut names: Vec<_> = names.collect();
        names.sort();
        Ok(names)
    }

    /// Mounts a bpffs at its usual place where the pins are to be there and none is. It takes
    /// CAP_SYS_ADMIN.
    pub(super) fn mount(&self) -> Result<(), KernelError> {
        let usual = Path::new("/sys/fs/bpf");
        if self.directory.starts_with(usual) && !is_bpffs(usual) {
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            mount(Some("bpf"), usual, Some("bpf"), flags, Some("mode=0700"))
                .map_err(|error| KernelError::pin(usual, io::Error::from(error)))?;
        }
        Ok(())
    }

    /// Makes the directory, and mounts a bpffs at its usual place where none is.
    pub(super) fn prepare(&self) -> Result<(), KernelError> {
        self.mount()?;
        let existing = self.directory.ancestors().find(|path| path.exists());
        if !existing.is_some_and(is_bpffs) {
            return Err(KernelError::NotBpffs {
                path: self.directory.clone(),
                mount: self.directory.parent().unwrap_or(&self.directory).into(),
            });
        }
        fs::create_dir_all(&self.directory)
            .map_err(|error| KernelError::pin(&self.directory, error))
    }

    /// Takes the pins for this process, waiting a moment for one that is just ending. Two that fill
    /// the same maps from two stores would each undo what the other does.
    pub(super) fn lock(&self) -> Result<PinLock, KernelError> {
        let failed = |error| KernelError::pin(&self.directory, error);
        let directory = File::open(&self.directory).map_err(failed)?;
        for _ in 0..LOCK_ATTEMPTS {
            match directory.try_lock() {
                Ok(()) => {
                    return Ok(PinLock {
                        directory,
                        release: Release::WithTheLast,
                    });
                }
                Err(TryLockError::WouldBlock) => {
                    // A wait that ends early does no harm.
                    let _unused: nix::Result<i32> = poll(&mut [], LOCK_INTERVAL_MS);
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        Err(KernelError::InUse(self.directory.clone()))
    }

    /// Takes over the links of older layouts, whose programs and tables stay in force until the
    /// first filling, and removes the rest of their pins.
    ///
    /// Errors: [`KernelError::InUse`] where another process still has them.
    pub(super) fn adopt_older_layouts(&self) -> Result<(), KernelError> {
        let Some(parent) = self.directory.parent() else {
            return Ok(());
        };
        for layout in 1..LAYOUT {
            let older = Self::in_directory(parent.join(format!("v{layout}")));
            if !older.directory.exists() {
                continue;
            }
            let _lock = older.lock()?;
            for interface in older.linked_interfaces()? {
                let (from, to) = (older.link(&interface), self.link(&interface));
                fs::rename(&from, to).map_err(|error| KernelError::pin(&from, error))?;
            }
            let failed = |error| KernelError::pin(&older.directory, error);
            for pin in fs::read_dir(&older.directory).map_err(failed)?.flatten() {
                Self::remove(&pin.path())?;
            }
            fs::remove_dir(&older.directory).map_err(failed)?;
            tracing::info!(layout, "took over the filter of an older layout");
        }
        Ok(())
    }

    /// Compares every pinned map with what this version makes of it. A map that is not pinned yet
    /// is in order.
    pub(super) fn verify(&self) -> Result<(), KernelError> {
        SHAPES.iter().try_for_each(|shape| {
            let path = self.map(shape.name);
            if !path.exists() {
                return Ok(());
            }
            let info = MapInfo::from_pin(&path).map_err(|error| KernelError::pin(&path, error))?;
            let capacity = match shape.life {
                Life::Growing => info.max_entries().max(shape.capacity),
                Life::Lasting | Life::Generation => shape.capacity,
            };
            let actual = describe_info(&info);
            let expected = describe(shape, capacity);
            if actual == expected {
                Ok(())
            } else {
                Err(KernelError::WrongShape {
                    path,
                    actual,
                    expected,
                })
            }
        })
    }

    /// Removes a pin; one that is not there is in order.
    pub(super) fn remove(path: &Path) -> Result<(), KernelError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(KernelError::pin(path, error))
            }
            _ => Ok(()),
        }
    }

    /// Lets `group` read and write the maps, and run the clock: all that a process takes that only
    /// follows the lists. Not the links, which it could cut, nor the program.
    pub(super) fn share(&self, group: Gid) -> Result<(), KernelError> {
        // Whatever the umask left of it.
        let failed = |error| KernelError::pin(&self.directory, error);
        let mode = fs::metadata(&self.directory)
            .map_err(failed)?
            .permissions()
            .mode();
        chown(&self.directory, None, Some(group)).map_err(|error| failed(error.into()))?;
        fs::set_permissions(&self.directory, Permissions::from_mode(mode | 0o050))
            .map_err(failed)?;
        self.shared().try_for_each(|path| share(&path, group))
    }

    /// The same of the maps that are to replace those in force.
    pub(super) fn share_aside(&self, group: Gid) -> Result<(), KernelError> {
        let mut aside = self.shared().map(|path| self.aside(&path));
        aside.try_for_each(|path| share(&path, group))
    }

    fn shared(&self) -> impl Iterator<Item = PathBuf> {
        let program = self.program();
        self.all().filter(move |path| *path != program)
    }

    /// Removes what was to replace pins and did not.
    pub(super) fn remove_aside(&self) -> Result<(), KernelError> {
        self.all()
            .try_for_each(|path| Self::remove(&self.aside(&path)))
    }

    /// Every pin but those of links.
    fn all(&self) -> impl Iterator<Item = PathBuf> {
        let maps = SHAPES.iter().map(|shape| self.map(shape.name));
        maps.chain([self.program(), self.clock_program()])
    }

    /// Removes everything but links, and the directories, the configured one too if nothing is
    /// left in it.
    pub(super) fn remove_all(&self) -> Result<(), KernelError> {
        self.remove_aside()?;
        for path in self.all() {
            Self::remove(&path)?;
        }
        fs::remove_dir(&self.directory)
            .map_err(|error| KernelError::pin(&self.directory, error))?;
        if let Some(parent) = self.directory.parent() {
            // Another layout's pins, or a mount point, may keep it.
            let _unused: io::Result<()> = fs::remove_dir(parent);
        }
        Ok(())
    }
}

/// As the owner of the pin, who needs no capability to give it to a group of its own.
fn share(pin: &Path, group: Gid) -> Result<(), KernelError> {
    if !pin.exists() {
        return Ok(());
    }
    chown(pin, None, Some(group))
        .map_err(io::Error::from)
        .and_then(|()| fs::set_permissions(pin, Permissions::from_mode(0o660)))
        .map_err(|error| KernelError::pin(pin, error))
}

/// The pins belong to this process for as long as this lives.
#[derive(Debug)]
pub(super) struct PinLock {
    directory: File,
    release: Release,
}

/// When a lock ends, which all descriptors of one open directory share (flock(2)).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Release {
    /// With the last of its descriptors.
    WithTheLast,
    /// With this one, whoever has others.
    WithThis,
}

impl PinLock {
    /// The lock of another process that has passed its descriptor on. It ends with this, though that
    /// process keeps another: it holds the lock only in case this process is killed while it works.
    pub(super) fn passed_on(directory: OwnedFd) -> Self {
        Self {
            directory: directory.into(),
            release: Release::WithThis,
        }
    }
}

impl AsFd for PinLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl Drop for PinLock {
    fn drop(&mut self) {
        if self.release == Release::WithThis {
            // It fails only for a descriptor that is none.
            let _unlocked: io::Result<()> = self.directory.unlock();
        }
    }
}

/// A second in all: the state directory's lock, which is taken first, has kept out all that share it.
const LOCK_ATTEMPTS: u32 = 100;
const LOCK_INTERVAL_MS: u8 = 10;

const LINK_PREFIX: &str = "link_";
const ASIDE_PREFIX: &str = "new_";
/// Stands for a dot; no interface name has a colon (dev_valid_name in net/core/dev.c).
const DOT: &str = ":";

fn is_bpffs(path: &Path) -> bool {
    statfs(path).is_ok_and(|stat| stat.filesystem_type() == BPF_FS_MAGIC)
}

fn describe(shape: &Shape, capacity: u32) -> String {
    words(
        kind_name(shape.kind),
        shape.key_bytes,
        shape.value_bytes,
        capacity,
        shape.flags,
    )
}

fn describe_info(info: &MapInfo) -> String {
    let kind = info.map_type().map_or_else(
        |_error| "a map of unknown type".to_owned(),
        |kind| format!("{kind:?}"),
    );
    words(
        &kind,
        info.key_size(),
        info.value_size(),
        info.max_entries(),
        info.map_flags(),
    )
}

fn words(kind: &str, key: u32, value: u32, capacity: u32, flags: u32) -> String {
    format!("{kind} ({key} to {value} bytes, {capacity} entries, flags {flags:#x})")
}

/// As aya's `MapType` prints.
const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Array => "Array",
        Kind::PerCpuArray => "PerCpuArray",
        Kind::LpmTrie => "LpmTrie",
        Kind::RingBuf => "RingBuf",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A daemon that is taken over from serves its last connections while its steward still has a
    /// descriptor of the pins.
    #[test]
    fn a_lock_that_was_passed_on_ends_with_whom_it_was_passed_to() {
        let folder = tempfile::tempdir().unwrap();
        let pins = Pins::in_directory(folder.path().to_owned());
        let stewards = pins.lock().unwrap();
        let passed_on = stewards.as_fd().try_clone_to_owned().unwrap();
        let daemons = PinLock::passed_on(passed_on);
        assert!(matches!(pins.lock(), Err(KernelError::InUse(_))));
        drop(daemons);
        drop(pins.lock().unwrap());
        drop(stewards);
    }

    /// The other way round the daemon keeps them: its steward was killed.
    #[test]
    fn a_lock_that_was_passed_on_outlives_who_passed_it() {
        let folder = tempfile::tempdir().unwrap();
        let pins = Pins::in_directory(folder.path().to_owned());
        let stewards = pins.lock().unwrap();
        let daemons = PinLock::passed_on(stewards.as_fd().try_clone_to_owned().unwrap());
        drop(stewards);
        assert!(matches!(pins.lock(), Err(KernelError::InUse(_))));
        drop(daemons);
        pins.lock().unwrap();
    }
}
