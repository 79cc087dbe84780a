//! Lists, as the CLI and the daemon read them.
#![no_main]

use botguard_fuzz::{list, seeds};

libfuzzer_sys::fuzz_target!(init: seeds::write(list::seeds()), |bytes: &[u8]| list::check(bytes));
