//! Tokens, as clients send them.
#![no_main]

use botguard_fuzz::{jwt, seeds};

libfuzzer_sys::fuzz_target!(init: seeds::write(jwt::seeds()), |bytes: &[u8]| jwt::check(bytes));
