//! The words that botguard's kernel and user halves share.
//!
//! The way of a packet: [`packet`] reads it, [`verdict`] asks the tables about it, [`lookup`] finds
//! its source's [`entry::Entry`] in them, and [`exit::Exit`] says how it came out. The kernel runs this code on real
//! packets and maps, the tests run the same code on byte slices and vectors; neither has a second
//! implementation that could disagree.
//!
//! Deliberately absent: aya (but for the `Pod` impls behind the `user` feature), allocation, time
//! sources, and anything that can panic. Unsafe code is behind that feature too: `pod`, and
//! `mapping`, which maps the tables' memory into the process.
#![no_std]
#![cfg_attr(not(feature = "user"), forbid(unsafe_code))]
#![deny(clippy::float_arithmetic, clippy::indexing_slicing)]

#[cfg(any(test, feature = "corpus"))]
extern crate alloc;
#[cfg(feature = "user")]
extern crate std;

pub mod packet;

pub mod entry;
pub mod exit;
pub mod hash;
pub mod lookup;
pub mod maps;
pub mod verdict;

#[cfg(any(test, feature = "corpus"))]
pub mod corpus;

#[cfg(feature = "user")]
pub mod mapping;
#[cfg(feature = "user")]
mod pod;
