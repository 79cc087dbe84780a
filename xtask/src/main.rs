//! `cargo xtask`: everything that CI or a newcomer does with botguard.

fn main() {}
