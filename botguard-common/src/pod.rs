//! Lets the user half read and write the map types as bytes. The only unsafe code of the crate;
//! it stands here because only the crate of a type may implement a foreign trait for it.

use aya::Pod;

use crate::entry::Entry;
use crate::maps::{ClockReading, Config, Listener, OriginCounters};

// SAFETY: repr(C), integers and arrays of integers only, so every bit pattern is a value; the
// padding is a named field, and the size assertions beside the types leave room for no other.
unsafe impl Pod for Entry {}
// SAFETY: as for `Entry`.
unsafe impl Pod for Listener {}
// SAFETY: as for `Entry`.
unsafe impl Pod for Config {}
// SAFETY: as for `Entry`.
unsafe impl Pod for OriginCounters {}
// SAFETY: as for `Entry`.
unsafe impl Pod for ClockReading {}
