//! The `botguard` binary: parses its arguments and hands over to the library.
#![forbid(unsafe_code)]

fn main() {}
