//! Floor 2, pure: facts and `now` in, decision with its evidence out. No IO, no clock, no logging,
//! no randomness; cannot fail.

pub mod decision;
pub mod facts;
