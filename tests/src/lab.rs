//! The place where a test or the demo happens: an edge host and the world, two network namespaces
//! joined by a veth, with a bpffs and a directory of their own.
//!
//! ```text
//!   world namespace                    edge namespace
//!   any source address ── veth ══════ veth 192.0.2.1, 2001:db8::1
//!                         `world`     `edge`   XDP hooks in here
//!                                     127.0.0.1:3000  sample API
//! ```

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use crate::namespace::{self, Namespace};

/// The edge host's addresses.
pub const EDGE_V4: &str = "192.0.2.1";
/// See [`EDGE_V4`].
pub const EDGE_V6: &str = "2001:db8::1";
/// The interface on the edge host that the world's packets come in by.
pub const EDGE_INTERFACE: &str = "edge";

/// Two namespaces, a veth, a bpffs and a directory; all removed on drop.
#[derive(Debug)]
pub struct Lab {
    /// The host that botguard runs on.
    pub edge: Namespace,
    /// Everybody else.
    pub world: Namespace,
    bpffs: Bpffs,
    directory: TempDir,
}

impl Lab {
    /// Sets everything up. `name` tells labs of one process apart.
    ///
    /// Errors: no privilege, or a missing tool; the message names it.
    pub fn create(name: &str) -> Result<Self> {
        namespace::remove_orphans();
        remove_orphans();
        let edge = Namespace::create(&format!("{name}-edge"))?;
        let world = Namespace::create(&format!("{name}-world"))?;
        let prefix = format!("{}{}-", namespace::PREFIX, std::process::id());
        let directory = tempfile::Builder::new().prefix(&prefix).tempdir()?;
        let bpffs = Bpffs::mount(directory.path().join("bpf"))?;
        let lab = Self {
            edge,
            world,
            bpffs,
            directory,
        };
        lab.connect()?;
        Ok(lab)
    }

    /// Joins the two by a veth; again after a test has deleted it.
    pub fn connect(&self) -> Result<()> {
        let Self { edge, world, .. } = self;
        edge.ip(&[
            "link",
            "add",
            EDGE_INTERFACE,
            "type",
            "veth",
            "peer",
            "name",
            "world",
            "netns",
            world.name(),
        ])?;
        // nodad: an address that is still being probed cannot be bound.
        edge.ip(&[
            "addr",
            "add",
            &format!("{EDGE_V4}/24"),
            "dev",
            EDGE_INTERFACE,
        ])?;
        edge.ip(&[
            "addr",
            "add",
            &format!("{EDGE_V6}/64"),
            "dev",
            EDGE_INTERFACE,
            "nodad",
        ])?;
        edge.ip(&["link", "set", EDGE_INTERFACE, "up"])?;
        world.ip(&["link", "set", "world", "up"])?;
        edge.ip(&["route", "add", "default", "dev", EDGE_INTERFACE])?;
        edge.ip(&["-6", "route", "add", "default", "dev", EDGE_INTERFACE])?;
        world.ip(&["route", "add", &format!("{EDGE_V4}/32"), "dev", "world"])?;
        world.ip(&[
            "-6",
            "route",
            "add",
            &format!("{EDGE_V6}/128"),
            "dev",
            "world",
        ])
    }

    /// Gives the world one more address to send from.
    pub fn add_source(&self, source: IpAddr) -> Result<()> {
        match source {
            IpAddr::V4(v4) => self
                .world
                .ip(&["addr", "add", &format!("{v4}/32"), "dev", "world"]),
            IpAddr::V6(v6) => {
                self.world
                    .ip(&["addr", "add", &format!("{v6}/128"), "dev", "world", "nodad"])
            }
        }
    }

    /// Files of this lab.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where botguard pins: a directory of the lab's own bpffs.
    #[must_use]
    pub fn pin_dir(&self) -> PathBuf {
        self.bpffs.path.join("botguard")
    }
}

/// Removes directories, and the bpffs in them, of labs whose process is gone.
pub fn remove_orphans() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        if namespace::is_orphan(&entry.file_name().to_string_lossy()) {
            let _unmounted: nix::Result<()> =
                umount2(&entry.path().join("bpf"), MntFlags::MNT_DETACH);
            let _removed: std::io::Result<()> = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A bpffs that is mounted as long as its value exists.
#[derive(Debug)]
pub struct Bpffs {
    path: PathBuf,
}

impl Bpffs {
    /// Makes a directory and mounts a bpffs on it.
    ///
    /// Errors: no privilege (root is needed), or a kernel without BPF.
    pub fn mount(path: PathBuf) -> Result<Self> {
        std::fs::create_dir(&path)?;
        mount(
            Some("bpf"),
            &path,
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        )
        .context("mounting a bpffs needs root and a kernel with BPF")?;
        Ok(Self { path })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        // Unmounting frees the pins with it, links and so the attached program included.
        let _unmounted: nix::Result<()> = umount2(&self.path, MntFlags::MNT_DETACH);
    }
}
