//! What botguard's build script and `cargo xtask` share: building the BPF object and installing
//! what that takes.
//!
//! Light on purpose, since every build of botguard-user waits for it: std and anyhow only.

pub mod bpf;
pub mod setup;

mod python;
