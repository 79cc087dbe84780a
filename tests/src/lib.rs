//! What the integration tests and the demo share: network namespaces joined by a veth, a sample
//! SaaS API to protect, clients with real TLS and chosen source addresses, and the `botguard`
//! binary as a child process.
//!
//! Everything here is the real thing (kernel, TLS, HTTP, processes); nothing of `botguard` itself
//! is linked in, so a test sees what an operator sees.
#![forbid(unsafe_code)]

pub mod audit;
pub mod bench;
pub mod certificate;
pub mod client;
pub mod config;
pub mod daemon;
pub mod echo_app;
pub mod host;
pub mod lab;
pub mod namespace;
pub mod sample_api;
pub mod wait;
