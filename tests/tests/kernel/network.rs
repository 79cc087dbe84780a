//! Two network namespaces joined by a veth, made and removed by each test.

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

/// `near`, with the interface `near0` and [`NEAR`], and `far`, with `far0` and [`FAR`].
pub(crate) struct Pair {
    near: String,
    far: String,
}

pub(crate) const NEAR: [u8; 4] = [10, 77, 0, 1];
pub(crate) const FAR: [u8; 4] = [10, 77, 0, 2];

impl Pair {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = |side| format!("botguard-test-{}-{number}-{side}", std::process::id());
        let pair = Self {
            near: name("near"),
            far: name("far"),
        };
        ip(&["netns", "add", &pair.near]);
        ip(&["netns", "add", &pair.far]);
        pair.add_link();
        pair
    }

    /// Deletes the veth.
    pub(crate) fn delete_link(&self) {
        ip(&["-n", &self.near, "link", "delete", "near0"]);
    }

    /// Makes the veth, which [`Pair::new`] did once.
    pub(crate) fn add_link(&self) {
        let (near, far) = (&self.near, &self.far);
        let link = ["link", "add", "near0", "netns", near, "type", "veth"];
        ip(&[&link[..], &["peer", "name", "far0", "netns", far]].concat());
        for (namespace, interface, address) in [
            (near, "near0", "10.77.0.1/24"),
            (far, "far0", "10.77.0.2/24"),
        ] {
            ip(&["-n", namespace, "address", "add", address, "dev", interface]);
            ip(&["-n", namespace, "link", "set", interface, "up"]);
        }
    }

    /// Makes another veth, both ends of it near.
    pub(crate) fn add_interface(&self, name: &str) {
        let peer = format!("{name}p");
        let link = ["link", "add", name, "type", "veth", "peer", "name", &peer];
        ip(&[&["-n", &self.near][..], &link].concat());
    }

    /// Deletes one of the near interfaces.
    pub(crate) fn delete_interface(&self, name: &str) {
        ip(&["-n", &self.near, "link", "delete", name]);
    }

    /// Runs `body` on a thread inside the near namespace.
    pub(crate) fn near<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        inside(&self.near, body)
    }

    /// Runs `body` on a thread inside the far namespace.
    pub(crate) fn far<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        inside(&self.far, body)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for namespace in [&self.near, &self.far] {
            let removed = Command::new("ip")
                .args(["netns", "del", namespace])
                .status();
            // A second panic would hide the first.
            assert!(
                removed.is_ok_and(|status| status.success()) || std::thread::panicking(),
                "left behind: network namespace {namespace}"
            );
        }
    }
}

fn inside<T: Send>(namespace: &str, body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let file = File::open(format!("/run/netns/{namespace}")).unwrap();
            setns(file, CloneFlags::CLONE_NEWNET).unwrap();
            body()
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("these tests need `ip` (iproute2): {error}"));
    assert!(
        output.status.success(),
        "ip {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}
