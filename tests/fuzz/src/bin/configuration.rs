//! Configuration files, as `run --check` reads them.
#![no_main]

use botguard_fuzz::{configuration, seeds};

libfuzzer_sys::fuzz_target!(
    init: seeds::write(configuration::seeds()),
    |bytes: &[u8]| if let Ok(text) = std::str::from_utf8(bytes) {
        configuration::check(text);
    }
);
