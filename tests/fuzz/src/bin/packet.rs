//! Packets, as the kernel filter reads them.
#![no_main]

use botguard_fuzz::{packet, seeds};

libfuzzer_sys::fuzz_target!(init: seeds::write(packet::seeds()), |bytes: &[u8]| packet::check(bytes));
