//! The `botguard` binary: hands its arguments over to the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    botguard::cli::main(std::env::args_os())
}
