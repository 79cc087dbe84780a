//! HTTP/1 streams, as clients send them.
#![no_main]

use botguard_fuzz::{framing, seeds};

libfuzzer_sys::fuzz_target!(init: seeds::write(framing::seeds()), |bytes: &[u8]| framing::check(bytes));
