//! What must hold of any bytes that come from outside: packets, requests, what proxies say, lists,
//! configuration files, tokens and the first bytes of connections. A target in
//! `src/bin` is libFuzzer's loop around one `check` of this library, on the seeds beside it.
//!
//! `cargo xtask test` runs each target for a fixed number of runs. To look for longer:
//! `BOTGUARD_FUZZ_RUSTC=1 RUSTC_WORKSPACE_WRAPPER=$PWD/target/fuzz-rustc cargo run -p botguard-fuzz
//! --bin fuzz-list CORPUS_DIRECTORY`; to see one input again, name its file in place of the
//! directory.
#![forbid(unsafe_code)]

pub mod client_hello;
pub mod configuration;
pub mod forwarded;
pub mod framing;
pub mod jwt;
pub mod list;
pub mod packet;
pub mod proxy;
pub mod seeds;
