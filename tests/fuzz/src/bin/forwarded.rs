//! Lists of hops, as proxies continue them.
#![no_main]

use botguard_fuzz::{forwarded, seeds};

libfuzzer_sys::fuzz_target!(init: seeds::write(forwarded::seeds()), |bytes: &[u8]| forwarded::check(bytes));
