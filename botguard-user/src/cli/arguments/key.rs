//! `botguard key`, as typed.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

use crate::words::key::KeyState;
use crate::words::mode::Mode;
use crate::words::units::{Rate, Span};

/// `botguard key`
#[derive(Debug, Subcommand)]
pub enum Key {
    /// List the keys that are known, the worst first
    List {
        /// Only those in this state
        #[arg(long)]
        state: Option<StateArgument>,
    },
    /// Show one key: its reputation, its history, and why it is in its state
    Show {
        /// Which.
        #[command(flatten)]
        key: KeyArgument,
    },
    /// Refuse a key, whatever it did
    Suspend {
        /// Which.
        #[command(flatten)]
        key: KeyArgument,
        /// Why, for the list and the audit log
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// End by itself after this time, as in 1h; without it when it is resumed
        #[arg(long = "for", value_name = "TIME")]
        duration: Option<Span>,
    },
    /// Lift a suspension, by command or automatic, and forget what the key earned
    Resume {
        /// Which.
        #[command(flatten)]
        key: KeyArgument,
        /// Why, for the audit log
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Give a key other terms than its tier's, in place of an earlier override
    Override(KeyOverride),
}

/// `botguard key override`
#[derive(Args, Debug)]
#[command(group(
    ArgGroup::new("terms").args(["pin", "rate", "mode", "clear"]).required(true).multiple(true)
))]
pub struct KeyOverride {
    /// Which.
    #[command(flatten)]
    pub key: KeyArgument,
    /// A partner's: nothing that it does denies it anything or suspends it, beyond a `--rate` given
    /// with it
    #[arg(long)]
    pub pin: bool,
    /// Its rate in place of its tier's, as in 1000/min
    #[arg(long, value_name = "RATE", requires = "burst")]
    pub rate: Option<Rate>,
    /// Requests at once
    #[arg(long, value_name = "N", requires = "rate", value_parser = clap::value_parser!(u32).range(1..))]
    pub burst: Option<u32>,
    /// Upper bound of its requests' mode
    #[arg(long)]
    pub mode: Option<BoundArgument>,
    /// Why, for the list and the audit log
    #[arg(
        long,
        value_name = "TEXT",
        required_unless_present = "clear",
        default_value_if("clear", "true", "")
    )]
    pub reason: Option<String>,
    /// End by itself after this time, as in 30d; without it when it is cleared
    #[arg(long = "for", value_name = "TIME")]
    pub duration: Option<Span>,
    /// Lift the override
    #[arg(long, conflicts_with_all = ["pin", "rate", "burst", "mode", "duration"])]
    pub clear: bool,
}

/// Which key.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct KeyArgument {
    /// Its public id, or # and at least 8 digits of its hash, as `key list` shows them
    #[arg(value_name = "KEY")]
    pub key: Option<String>,
    /// A file with the whole key, or - for standard input: for one that was not seen yet. It is
    /// hashed and forgotten
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
}

/// States that keys can be listed by.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum StateArgument {
    /// Looked at.
    Watch,
    /// Held to a part of its rate.
    Throttled,
    /// Refused.
    Suspended,
}

impl From<StateArgument> for KeyState {
    fn from(argument: StateArgument) -> Self {
        match argument {
            StateArgument::Watch => Self::Watch,
            StateArgument::Throttled => Self::Throttled,
            StateArgument::Suspended => Self::Suspended,
        }
    }
}

/// Upper bounds of a key's mode.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum BoundArgument {
    /// Nothing is scored.
    Off,
    /// Nothing is denied.
    Log,
}

impl From<BoundArgument> for Mode {
    fn from(argument: BoundArgument) -> Self {
        match argument {
            BoundArgument::Off => Self::Off,
            BoundArgument::Log => Self::Log,
        }
    }
}
