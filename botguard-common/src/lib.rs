//! The words that botguard's kernel and user halves share.
//!
//! The way of a packet: [`packet`] reads it, [`verdict`] asks the tables about it, the tables hold
//! [`entry::Entry`]s, and [`exit::Exit`] says how it came out. The kernel runs this code on real
//! packets and maps, the tests run the same code on byte slices and vectors; neither has a second
//! implementation that could disagree.
//!
//! Deliberately absent: aya (but for the `Pod` impls behind the `user` feature), allocation, time
//! sources, and anything that can panic.
#![no_std]
#![cfg_attr(not(feature = "user"), forbid(unsafe_code))]
#![deny(clippy::float_arithmetic, clippy::indexing_slicing)]

#[cfg(any(test, feature = "corpus"))]
extern crate alloc;

pub mod packet;

pub mod entry;
pub mod exit;
pub mod maps;
pub mod verdict;

#[cfg(any(test, feature = "corpus"))]
pub mod corpus;

#[cfg(feature = "user")]
mod pod;
