//! botguard's user half: terminates TLS, scores every request, decides per route, and pushes
//! what it is sure of into the kernel.
//!
//! The way of a request, which is also the reading order of the modules:
//!
//! ```text
//! edge ─► RequestFacts ─► engine ─► Decision ─► edge answers or forwards
//!                                      ├─► audit        exactly one record a request
//!                                      └─► enforcement  blocks in the kernel maps
//! ```
//!
//! Five floors; a module imports only from lower floors, and siblings on floors 3 and 4 do not
//! import each other (`cargo xtask tidy` enforces the table):
//!
//! | floor | modules | rule |
//! |---|---|---|
//! | 1 words | [`words`] | no IO but `words::clock`, the only reader of time |
//! | 2 engine | [`engine`] | pure: facts and `now` in, decision with its evidence out |
//! | 3 outlets | [`enforcement`], [`audit`], [`store`], [`telemetry`] | effects of decisions |
//! | 4 inlets | [`edge`], [`interaction`], [`challenge`], [`intel`] | produce facts, obey decisions |
//! | 5 control | [`settings`], [`daemon`], [`admin`], [`cli`] | wires the rest together |
#![forbid(unsafe_code)]

pub mod words;

pub mod engine;

pub mod audit;
pub mod enforcement;
pub mod store;
pub mod telemetry;

pub mod challenge;
pub mod edge;
pub mod intel;
pub mod interaction;

pub mod admin;
pub mod cli;
pub mod daemon;
pub mod settings;
