//! The begin of a connection, as proxies send it.
#![no_main]

use botguard_fuzz::{proxy, seeds};

libfuzzer_sys::fuzz_target!(init: seeds::write(proxy::seeds()), |bytes: &[u8]| proxy::check(bytes));
