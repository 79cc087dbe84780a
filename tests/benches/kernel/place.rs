//! Where a run keeps its pins: a directory and a bpffs of its own, gone when it ends.

use std::path::{Path, PathBuf};

use anyhow::Result;
use botguard_tests::lab::{Bpffs, remove_orphans};
use botguard_tests::namespace::{self, PREFIX};
use tempfile::TempDir;

/// A directory with a bpffs in it.
#[derive(Debug)]
pub(crate) struct Place {
    // First, so that it is unmounted before the directory goes.
    bpffs: Bpffs,
    directory: TempDir,
}

impl Place {
    /// Makes it, and removes what runs that were killed have left.
    pub(crate) fn create() -> Result<Self> {
        namespace::remove_orphans();
        remove_orphans();
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let directory = tempfile::Builder::new().prefix(&prefix).tempdir()?;
        let bpffs = Bpffs::mount(directory.path().join("bpf"))?;
        Ok(Self { bpffs, directory })
    }

    /// Where something called `name` may be pinned.
    pub(crate) fn pins(&self, name: &str) -> PathBuf {
        self.bpffs.path().join(name)
    }

    /// For files.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}
