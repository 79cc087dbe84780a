//! ClientHellos and openings of HTTP/2, as clients send them.
#![no_main]

use botguard_fuzz::{client_hello, seeds};

libfuzzer_sys::fuzz_target!(init: seeds::write(client_hello::seeds()), |bytes: &[u8]| client_hello::check(bytes));
