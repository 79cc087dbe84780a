//! `cargo xtask run`: the worked example, for real. Two network namespaces, botguard on one side
//! with TLS and XDP, ordinary users, a partner and a scraper on the other; first in log mode until
//! the score stands at its sum, then in enforce mode until the kernel drops the scraper.
//!
//! Shows only what it reads from outside: the audit log, the CLI, the kernel's own counters, and
//! what the clients got. Removes everything at its end, whichever way it ends.

mod first_drop;
mod interrupt;
mod people;
mod scene;
mod show;
mod story;

use std::process::ExitCode;

use clap::Parser;

/// Shows botguard at work in two network namespaces of its own.
#[derive(Parser)]
#[command(name = "botguard-demo")]
struct Arguments {
    /// Weight of the free tier, from 0 to 1
    #[arg(long, default_value_t = 0.10, value_name = "W", value_parser = weight)]
    tier_weight: f64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match story::tell(arguments.tier_weight) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            show::failure(&error);
            ExitCode::FAILURE
        }
    }
}

fn weight(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(weight) if (0.0..=1.0).contains(&weight) => Ok(weight),
        Ok(_) | Err(_) => Err("not a number from 0 to 1".to_owned()),
    }
}
