//! The kernel filter on the running kernel, as root: the program by BPF_PROG_TEST_RUN on the corpus
//! that the host's tests use, and attaching it to veths in network namespaces of its own.
//!
//! A missing privilege is a failure that names it. Nothing is left behind: pins live on a bpffs
//! that each test mounts in a temporary directory.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails where it stands"
)]

#[path = "kernel/bench.rs"]
mod bench;
#[path = "kernel/model.rs"]
mod model;
#[path = "kernel/network.rs"]
mod network;

#[path = "kernel/agreement.rs"]
mod agreement;
#[path = "kernel/attach.rs"]
mod attach;
#[path = "kernel/damage.rs"]
mod damage;
#[path = "kernel/events.rs"]
mod events;
#[path = "kernel/rules.rs"]
mod rules;
