//! Clients that others wrote, before a real daemon in namespaces of its own: curl, h2load, httpx,
//! gRPC, Chromium, slowhttptest. `cargo xtask setup` installs them; without one a test fails and
//! says so.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod application;
mod browser;
mod command_line;
mod grpc;
mod python;
mod scene;
mod slow;
