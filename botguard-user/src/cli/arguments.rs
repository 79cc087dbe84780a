//! The command line as typed. Nothing is opened here; the doc comments are the help texts.

mod key;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;

use crate::words::address::{canonical_network, host_network};
use crate::words::block::Scope;
use crate::words::mode::Mode;
use crate::words::rule::ListName;
use crate::words::units::Span;

/// Edge filter against bots: scores every request, blocks in the kernel what it is sure of.
#[derive(Debug, Parser)]
#[command(
    name = "botguard",
    version,
    after_help = "Exit status: 0 done, or the answer is yes; 1 failed; 2 the answer is no \
                  (would-block: it would pass; status: something is degraded; replay: decisions \
                  flip); 64 bad usage or \
                  configuration."
)]
pub struct Arguments {
    /// Configuration; socket, store and pins are found through it
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "/etc/botguard/botguard.toml"
    )]
    pub config: PathBuf,
    /// Machine-readable output
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon
    Run {
        /// Validate the configuration strictly and exit, without binding anything
        #[arg(long)]
        check: bool,
        /// Take the listening sockets over from the daemon that runs on the same state directory,
        /// which drains and ends; no connection is refused. Without one this is a plain start
        #[arg(long, conflicts_with = "check")]
        take_over: bool,
    },
    /// Keep the kernel filter's capabilities for the daemon that has started this
    #[command(hide = true)]
    Steward,
    /// Take up the configuration anew, all or nothing, keeping connections and state
    Reload,
    /// Bound the mode of edge and kernel at once, with or without the daemon
    Mode {
        /// log: deny and drop nothing; enforce: act on decisions
        mode: ModeArgument,
        /// Go back by itself after this time, as in 1h
        #[arg(long = "for", value_name = "TIME")]
        duration: Option<Span>,
    },
    /// Show listeners, modes, kernel filter and what is degraded
    Status,
    /// The block list
    #[command(subcommand)]
    Block(Block),
    /// The allow list, which beats every block
    #[command(subcommand)]
    Allow(Allow),
    /// API keys: reputation, suspension, overrides
    #[command(subcommand)]
    Key(Key),
    /// Show what the kernel would do with an address, and why
    WouldBlock {
        /// Source address of the packet
        address: IpAddr,
        /// Destination port of the packet; without it that of a listener
        #[arg(long)]
        port: Option<u16>,
    },
    /// The pinned program and maps
    #[command(subcommand)]
    Kernel(Kernel),
    /// Show a decision with every signal, the sum, caps, thresholds and what would have changed it
    Explain {
        /// Botguard-Request-Id of the request
        request_id: String,
    },
    /// Run recorded requests through the engine again, under the policy of the configuration, and
    /// show the decisions that flip
    Replay {
        /// Audit logs in the order of their time, compressed or not; `-` reads standard input
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
}

/// `botguard block`
#[derive(Debug, Subcommand)]
pub enum Block {
    /// Block addresses, networks or whole autonomous systems
    Add {
        /// Addresses, CIDR networks or AS numbers
        #[command(flatten)]
        targets: BlockTargets,
        /// End by itself after this time, as in 1h; without it never
        #[arg(long, value_name = "TIME")]
        ttl: Option<Span>,
        /// Why, for the list and the audit log
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
        /// listeners: packets to the listeners; host: everything. Default: `scope` in the configuration's kernel section
        #[arg(long)]
        scope: Option<ScopeArgument>,
        /// Count what would be dropped, drop nothing
        #[arg(long)]
        count_only: bool,
    },
    /// Remove the blocks of these networks, whoever made them, or an imported list
    Del {
        /// Addresses, CIDR networks or AS numbers, as in 192.0.2.7, 2001:db8::/32 or AS16509
        #[arg(
            value_name = "TARGET",
            required_unless_present = "origin",
            conflicts_with = "origin",
            value_parser = target
        )]
        targets: Vec<Target>,
        /// The imported list of this name
        #[arg(long, value_name = "NAME")]
        origin: Option<ListName>,
    },
    /// List the blocks in force, imported lists as one line each
    List,
    /// Remove every block and list
    Flush,
    /// Import a list of networks, all of it or nothing, in place of the one of the same name
    Import(Import),
    /// Write what is blocked to standard output
    Export {
        /// cidr: a network a line; json: with rule, scope, effect, times and reason. Both can be imported
        #[arg(long, default_value = "cidr")]
        format: ExportFormat,
        /// The imported list of this name, or operator, automatic, or a system as in AS16509
        #[arg(long, value_name = "NAME")]
        origin: Option<String>,
    },
}

/// `botguard block import`
#[derive(Args, Debug)]
pub struct Import {
    /// The list; `-` reads standard input
    pub file: PathBuf,
    /// How it is written; auto looks at its first byte
    #[arg(long, default_value = "auto")]
    pub format: ImportFormat,
    /// End entries by themselves after this time, as in 1h, if they have no end of their own
    #[arg(long, value_name = "TIME")]
    pub ttl: Option<Span>,
    /// Name of the list. Default: the file's, without its ending
    #[arg(long, value_name = "NAME")]
    pub origin: Option<ListName>,
    /// Why, for the list and the audit log
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// listeners: packets to the listeners; host: everything. Default: `scope` in the configuration's kernel section
    #[arg(long)]
    pub scope: Option<ScopeArgument>,
    /// Count what would be dropped, drop nothing
    #[arg(long)]
    pub count_only: bool,
    /// Import also reserved networks, large shares of the address space, and lists that grew or shrank suddenly
    #[arg(long)]
    pub force: bool,
}

/// How a list is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ImportFormat {
    /// By its first byte.
    Auto,
    /// An address or network a line, comments behind # or ;
    Cidr,
    /// An array of strings, or of objects with network and expires.
    Json,
}

/// How blocks are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum ExportFormat {
    /// A network a line.
    Cidr,
    /// An array of objects, one a line.
    Json,
}

/// `botguard allow`
#[derive(Debug, Subcommand)]
pub enum Allow {
    /// Let addresses or networks pass, whatever blocks them
    Add {
        /// Addresses or CIDR networks
        #[command(flatten)]
        targets: Targets,
        /// Why, for the list and the audit log
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Remove networks from the allow list
    Del {
        /// Addresses or CIDR networks
        #[command(flatten)]
        targets: Targets,
    },
    /// List the allow list
    List,
}

/// `botguard kernel`
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Kernel {
    /// Attach the filter and fill it from the store
    Attach,
    /// Remove the filter, its maps and pins
    Detach,
    /// Show its counters
    Stats,
    /// Show drops as they happen, a sample of them: at most 64 a CPU and tick of about a second
    Events {
        /// Stop after so many
        #[arg(long, value_name = "N")]
        count: Option<u64>,
        /// Stop after this time, as in 10s
        #[arg(long = "for", value_name = "TIME")]
        duration: Option<Span>,
    },
}

pub use self::key::{BoundArgument, Key, KeyArgument, KeyOverride, StateArgument};

/// One or more networks.
#[derive(Args, Debug)]
pub struct Targets {
    /// Addresses or CIDR networks, as in 192.0.2.7 or 2001:db8::/32
    #[arg(value_name = "TARGET", required = true, value_parser = network)]
    pub networks: Vec<IpNet>,
}

/// One or more targets of a block.
#[derive(Args, Debug)]
pub struct BlockTargets {
    /// Addresses, CIDR networks or AS numbers, as in 192.0.2.7, 2001:db8::/32 or AS16509
    #[arg(value_name = "TARGET", required = true, value_parser = target)]
    pub targets: Vec<Target>,
}

/// Whom to block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Target {
    /// An address or network.
    Network(IpNet),
    /// What an autonomous system announces.
    Asn(u32),
}

/// The addresses and networks among targets.
#[must_use]
pub fn networks_of(targets: &[Target]) -> Vec<IpNet> {
    let networks = targets.iter().filter_map(|target| match target {
        Target::Network(network) => Some(*network),
        Target::Asn(_) => None,
    });
    networks.collect()
}

/// The AS numbers among them.
#[must_use]
pub fn asns_of(targets: &[Target]) -> Vec<u32> {
    let asns = targets.iter().filter_map(|target| match target {
        Target::Network(_) => None,
        Target::Asn(number) => Some(*number),
    });
    asns.collect()
}

/// Modes that the kill switch knows.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ModeArgument {
    /// Deny and drop nothing.
    Log,
    /// Act on decisions.
    Enforce,
}

impl From<ModeArgument> for Mode {
    fn from(argument: ModeArgument) -> Self {
        match argument {
            ModeArgument::Log => Self::Log,
            ModeArgument::Enforce => Self::Enforce,
        }
    }
}

/// Scopes of a block.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ScopeArgument {
    /// Packets to the listeners.
    Listeners,
    /// Everything.
    Host,
}

impl From<ScopeArgument> for Scope {
    fn from(argument: ScopeArgument) -> Self {
        match argument {
            ScopeArgument::Listeners => Self::Listeners,
            ScopeArgument::Host => Self::Host,
        }
    }
}

/// An AS number, or an address or network, made canonical.
fn target(text: &str) -> Result<Target, String> {
    let Some(digits) = as_digits(text) else {
        let hint = |message: String| message.replace("or 192.0.2.0/24", "192.0.2.0/24 or AS16509");
        return network(text).map(Target::Network).map_err(hint);
    };
    match digits.parse() {
        Ok(0) | Err(_) => Err("AS numbers go from 1 to 4294967295".to_owned()),
        Ok(number) => Ok(Target::Asn(number)),
    }
}

/// The digits of `AS16509`, in any case.
fn as_digits(text: &str) -> Option<&str> {
    let (prefix, digits) = text.split_at_checked(2)?;
    let is_number = prefix.eq_ignore_ascii_case("as")
        && !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(digits)
}

/// An address or network, made canonical.
fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(host_network(ip));
    }
    if as_digits(text).is_some() {
        return Err(
            "the allow list has addresses and networks, no AS numbers; an allowed system would let \
             every tenant of it pass. Give the networks that you trust"
                .to_owned(),
        );
    }
    let network = text.parse::<IpNet>().map_err(|_cause| {
        "not an address or network; write 192.0.2.7 or 192.0.2.0/24".to_owned()
    })?;
    if network.trunc() == network {
        Ok(canonical_network(network))
    } else {
        Err(format!(
            "has bits set beyond its prefix; write {} or {}",
            network.trunc(),
            network.addr()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn targets() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let parsed = network(text).map(|network| network.to_string());
            match (parsed, expected) {
                (Ok(parsed), Ok(expected)) => assert_eq!(parsed, expected),
                (Err(message), Err(expected)) => assert!(message.contains(expected), "{message}"),
                (parsed, _) => panic!("{text}: {parsed:?}"),
            }
        };
        check("192.0.2.7", Ok("192.0.2.7/32"));
        check("::ffff:192.0.2.7", Ok("192.0.2.7/32"));
        check("192.0.2.0/24", Ok("192.0.2.0/24"));
        check("2001:db8::/32", Ok("2001:db8::/32"));
        check("::ffff:192.0.2.0/120", Ok("192.0.2.0/24"));
        check("192.0.2.7/24", Err("192.0.2.0/24 or 192.0.2.7"));
        check("AS16509", Err("no AS numbers"));
        check("as1", Err("no AS numbers"));
        check("as", Err("not an address"));
        check("example.com", Err("not an address"));
        check("é", Err("not an address"));
    }

    #[test]
    fn targets_of_blocks() {
        let check = |text: &str, expected: Result<Target, &str>| match (target(text), expected) {
            (Ok(parsed), Ok(expected)) => assert_eq!(parsed, expected),
            (Err(message), Err(expected)) => assert!(message.contains(expected), "{message}"),
            (parsed, _) => panic!("{text}: {parsed:?}"),
        };
        check("AS16509", Ok(Target::Asn(16_509)));
        check("as1", Ok(Target::Asn(1)));
        check("aS4294967295", Ok(Target::Asn(u32::MAX)));
        check("AS4294967296", Err("from 1 to 4294967295"));
        check("AS0", Err("from 1 to"));
        check("AS+5", Err("not an address"));
        check("ASé", Err("or AS16509"));
        check(
            "192.0.2.7",
            Ok(Target::Network("192.0.2.7/32".parse().unwrap())),
        );
        check("192.0.2.7/24", Err("192.0.2.0/24 or 192.0.2.7"));
    }
}
