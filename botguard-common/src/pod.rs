//! Lets the user half read and write the map types as bytes. Unsafe, and here because only the
//! crate of a type may implement a foreign trait for it.

use aya::Pod;

use crate::entry::Entry;
use crate::maps::{ClockReading, Config, DropEvent, EventTokens, Header, RuleCounters, RuleName};

// SAFETY: repr(C), integers and arrays of integers only, so every bit pattern is a value; the
// padding is a named field, and the size assertions beside the types leave room for no other.
unsafe impl Pod for Entry {}
// SAFETY: as for `Entry`.
unsafe impl Pod for Header {}
// SAFETY: as for `Entry`.
unsafe impl Pod for Config {}
// SAFETY: as for `Entry`.
unsafe impl Pod for RuleCounters {}
// SAFETY: as for `Entry`.
unsafe impl Pod for RuleName {}
// SAFETY: as for `Entry`.
unsafe impl Pod for DropEvent {}
// SAFETY: as for `Entry`.
unsafe impl Pod for EventTokens {}
// SAFETY: as for `Entry`.
unsafe impl Pod for ClockReading {}
