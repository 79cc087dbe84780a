//! What CLI and daemon say to each other over the Unix socket: one JSON object a line, a request
//! and its response. The types are for the wire (and for `--json`), apart from those of the
//! domain, so that neither holds the other back.

mod asn_entry;
mod keys;
mod lists;
mod pairs;
mod status;

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::enforcement::list::Covering;
use crate::words::block::{Effect, Scope};
use crate::words::clock::Wall;
use crate::words::mode::Mode;
use crate::words::rule::ListName;

pub use keys::{
    KeyCard, KeyDetail, KeyEntry, KeyName, KeyNameError, KeyReference, KeyRequest, Keys,
    OverrideEntry, OverrideTerms, Reputation, TransitionEntry,
};
pub use lists::{Export, ExportPart, ListEntry};
pub use pairs::PairEntry;
pub use status::{
    DaemonStatus, DataFileStatus, EndpointLine, ListenerStatus, Override, RouteStatus, Status,
};

pub use self::asn_entry::AsnEntry;

/// Longest line either side accepts; a list of a million blocks is below it.
pub const MAX_LINE_BYTES: u64 = 512 * 1024 * 1024;

/// What the operator wants. The same requests are carried out without a daemon.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// What runs, what is in force, what is degraded.
    Status,
    /// Take up the configuration anew: all or nothing.
    Reload,
    /// Bound the mode of edge and kernel.
    SetMode {
        /// The bound.
        mode: Mode,
        /// For so long; without it until it is set again.
        for_s: Option<u64>,
    },
    /// Block networks: all of them or none.
    BlockAdd {
        /// Whom.
        #[serde(default)]
        networks: Vec<IpNet>,
        /// And which autonomous systems.
        #[serde(default)]
        asns: Vec<u32>,
        /// Where the operator's SSH session comes from; a block that would end it is refused.
        #[serde(default)]
        session: Option<IpAddr>,
        /// For so long; without it for good.
        ttl_s: Option<u64>,
        /// Why.
        reason: String,
        /// Which packets; the configuration's scope without it.
        scope: Option<Scope>,
        /// Drop or count.
        effect: Effect,
    },
    /// Remove the blocks of these networks, of every origin, and of these systems.
    BlockDelete {
        /// Which.
        #[serde(default)]
        networks: Vec<IpNet>,
        /// And which autonomous systems.
        #[serde(default)]
        asns: Vec<u32>,
    },
    /// List the blocks.
    BlockList,
    /// Remove every block, list and system.
    BlockFlush,
    /// Put a list in force, in place of one of the same name: all of it or nothing.
    ListImport {
        /// Its name.
        name: ListName,
        /// Its entries, one a line, as `enforcement::import::wire` writes them: an object for each
        /// would be ten times as long.
        networks: String,
        /// How long entries without an end of their own hold; without it for good.
        ttl_s: Option<u64>,
        /// Why.
        reason: String,
        /// Which packets; the configuration's scope without it.
        scope: Option<Scope>,
        /// Drop or count.
        effect: Effect,
        /// Whether the gates that may give way do.
        force: bool,
    },
    /// Lift a list.
    ListDelete {
        /// Its name.
        name: ListName,
    },
    /// What is blocked, to be taken elsewhere.
    BlockExport {
        /// On whose account: a rule, or a list's bare name; without it everything.
        origin: Option<String>,
    },
    /// Let networks pass, whatever blocks them.
    AllowAdd {
        /// Whom.
        networks: Vec<IpNet>,
        /// Why.
        reason: String,
    },
    /// Remove networks from the allow list.
    AllowDelete {
        /// Which.
        networks: Vec<IpNet>,
    },
    /// List the allow list.
    AllowList,
    /// What the kernel would do with an address.
    WouldBlock {
        /// Which.
        address: IpAddr,
        /// To this port; without it to a port of a listener.
        port: Option<u16>,
    },
    /// Something about API keys.
    Key(KeyRequest),
    /// Attach the kernel filter and fill it from the store.
    KernelAttach,
    /// Remove the kernel filter and its pins.
    KernelDetach,
    /// Counters of the kernel filter.
    KernelStats,
}

/// What came of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "response", rename_all = "snake_case")]
pub enum Response {
    /// Done and durable.
    Done(Done),
    /// [`Request::BlockList`].
    Blocks(Blocks),
    /// [`Request::BlockExport`].
    Export(Export),
    /// [`Request::AllowList`].
    Allows(Allows),
    /// [`Request::WouldBlock`].
    Verdict(Verdict),
    /// [`KeyRequest::List`].
    Keys(Keys),
    /// [`KeyRequest::Show`].
    Key(Box<KeyDetail>),
    /// [`Request::KernelStats`].
    Kernel(Kernel),
    /// [`Request::Status`].
    Status(Box<Status>),
    /// Nothing was changed; or, where the message says so, not everything.
    Failed(Failed),
}

/// A change that was made.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Done {
    /// What was done, a sentence a line.
    pub did: Vec<String>,
    /// What the operator should know about it.
    pub warnings: Vec<String>,
}

/// A change that was refused.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Failed {
    /// Why, naming the argument and the mend.
    pub message: String,
    /// Whose fault.
    pub blame: Blame,
    /// Number of the entry of [`Request::ListImport`] that is at fault, counted from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<usize>,
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Blame {
    /// The arguments or the configuration: exit status 64.
    Usage,
    /// The host or botguard: exit status 1.
    Internal,
}

/// The block list.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Blocks {
    /// Single blocks in the order of their networks.
    pub blocks: Vec<BlockEntry>,
    /// Blocked autonomous systems in the order of their numbers.
    #[serde(default)]
    pub asns: Vec<AsnEntry>,
    /// Imported lists in the order of their names.
    #[serde(default)]
    pub lists: Vec<ListEntry>,
    /// Credentials that are refused from an address, at the edge.
    #[serde(default)]
    pub pairs: Vec<PairEntry>,
}

/// One block.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct BlockEntry {
    /// Whom.
    pub network: IpNet,
    /// The kind of its rule: `operator`, `automatic`, `asn`, `list`.
    pub origin: String,
    /// On whose account: `operator`, `automatic`, `AS16509`, `list:NAME`.
    pub rule: String,
    /// Which packets.
    pub scope: Scope,
    /// Drop or count.
    pub effect: Effect,
    /// When it was made, RFC 3339.
    pub created: String,
    /// When it ends, RFC 3339; `null` is never.
    pub expires: Option<String>,
    /// Seconds until then.
    pub left_s: Option<u64>,
    /// Why.
    pub reason: String,
}

/// The allow list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Allows {
    /// Entries in the order of their networks.
    pub allows: Vec<AllowEntry>,
}

/// One entry of the allow list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AllowEntry {
    /// Whom.
    pub network: IpNet,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Why.
    pub reason: String,
}

/// What the kernel would do with a packet.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Verdict {
    /// The address asked about.
    pub address: IpAddr,
    /// The port asked about.
    pub port: Option<u16>,
    /// Whether it would be dropped.
    pub dropped: bool,
    /// Why, in a sentence.
    pub because: String,
    /// Every live block that covers the address, most specific first.
    pub blocks: Vec<BlockEntry>,
    /// Every allow that covers it.
    pub allows: Vec<AllowEntry>,
}

/// The kernel filter.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Kernel {
    /// `attached`, `off (backend none)`, `detached`, or why it is not attached.
    pub state: String,
    /// Where.
    pub interfaces: Vec<Interface>,
    /// What the filter acts by.
    pub mode: Option<Mode>,
    /// Entries in the maps.
    pub n_entries: u64,
    /// Packets by the program's way out.
    pub exits: Vec<Counter>,
    /// Packets dropped, by rule.
    pub drops: Vec<Counter>,
    /// Packets that passed because the mode is log or a block only counts, by rule.
    #[serde(default)]
    pub would_drop: Vec<Counter>,
}

/// One interface the filter is attached to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// `native`, `generic`, or [`Self::GONE`].
    pub mode: String,
    /// The kernel's id of the program.
    pub program: u32,
}

impl Interface {
    /// [`Self::mode`] of an interface that was deleted, renamed, or is in another network namespace.
    pub const GONE: &str = "gone";

    /// Whether packets meet the filter there.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.mode != Self::GONE
    }
}

/// A named count.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Counter {
    /// Of what.
    pub name: String,
    /// How many.
    pub packets: u64,
}

impl Response {
    /// A refusal that the arguments or the configuration caused.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Failed(Failed {
            message: message.into(),
            blame: Blame::Usage,
            entry: None,
        })
    }

    /// A failure of the host or of botguard.
    #[must_use]
    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::Failed(Failed {
            message: message.to_string(),
            blame: Blame::Internal,
            entry: None,
        })
    }
}

impl BlockEntry {
    /// As of `now`.
    #[must_use]
    pub fn of(block: &Covering, now: Wall) -> Self {
        Self {
            network: block.network,
            origin: block.rule.kind().to_owned(),
            rule: block.rule.to_string(),
            scope: block.scope,
            effect: block.effect,
            created: block.created.to_string(),
            expires: block.expires.map(|expires| expires.to_string()),
            left_s: block.expires.map(|expires| now.until(expires).as_secs()),
            reason: block.reason.clone(),
        }
    }
}

impl AllowEntry {
    /// Of this entry.
    #[must_use]
    pub fn of(allow: &crate::words::block::Allow) -> Self {
        Self {
            network: allow.network,
            created: allow.created.to_string(),
            reason: allow.reason.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_as_written_by_hand() {
        let check = |line: &str, expected: Option<Request>| {
            assert_eq!(
                serde_json::from_str::<Request>(line).ok(),
                expected,
                "{line}"
            );
        };
        check(r#"{"request":"status"}"#, Some(Request::Status));
        check(
            r#"{"request":"set_mode","mode":"log","for_s":3600}"#,
            Some(Request::SetMode {
                mode: Mode::Log,
                for_s: Some(3_600),
            }),
        );
        check(
            r#"{"request":"would_block","address":"192.0.2.1","port":null}"#,
            Some(Request::WouldBlock {
                address: "192.0.2.1".parse().unwrap(),
                port: None,
            }),
        );
        check(r#"{"request":"set_mode","mode":"log","fro_s":1}"#, None);
        check(
            r##"{"request":"key","operation":"suspend","key":"#0123abcd","reason":"leaked"}"##,
            Some(Request::Key(KeyRequest::Suspend {
                key: KeyReference::Named("#0123abcd".to_owned()),
                reason: "leaked".to_owned(),
                for_s: None,
            })),
        );
        check(
            r#"{"request":"key","operation":"override","key":{"hash":"0","public_id":"","shown":""},
                "terms":{"limit":{"rate":"5/s","burst":2},"mode":"log"},"reason":"x"}"#,
            Some(Request::Key(KeyRequest::Override {
                key: KeyReference::Card(KeyCard {
                    hash: "0".to_owned(),
                    public_id: String::new(),
                    shown: String::new(),
                    tier: None,
                }),
                terms: OverrideTerms {
                    pin: false,
                    limit: Some(crate::words::key::KeyLimit {
                        rate: "5/s".parse().unwrap(),
                        burst: 2,
                    }),
                    mode: Some(Mode::Log),
                },
                reason: "x".to_owned(),
                for_s: None,
            })),
        );
        check(
            r#"{"request":"key","operation":"list","stat":"watch"}"#,
            None,
        );
        check(r#"{"request":"explode"}"#, None);
    }
}
