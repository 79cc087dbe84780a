//! The `botguard` binary: hands its arguments over to the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// A request is allocated by the thread that serves it and freed by the audit log's, which glibc's
/// allocator pays for with locks.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    botguard::cli::main(std::env::args_os())
}
