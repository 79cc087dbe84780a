//! Carries out what an operator asks, on the enforcer that daemon and CLI both use: the same code
//! with and without a daemon. What only a running daemon can do it is asked for ([`Running`]).
//!
//! Every change is recorded in the audit log with its actor and what came of it.

mod asns;
mod keys;
mod lists;
mod pairs;
mod sentences;
mod status;
mod verdict;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::protocol::{
    AllowEntry, Allows, AsnEntry, Blame, BlockEntry, Blocks, DaemonStatus, Done, Failed, Request,
    Response, Verdict,
};
use super::socket::Actor;
use crate::audit::record::{Event, OperatorRecord};
use crate::audit::writer::AuditLog;
use crate::daemon::enforcer::{BlockRequest, Enforcer, ImportRequest, OperatorError};
use crate::daemon::local_listeners;
use crate::enforcement::import::gates::Force;
use crate::enforcement::settings::Backend;
use crate::settings::Loaded;
use crate::words::clock::Wall;
use crate::words::identity::KeyHash;
use crate::words::key::KeyMemo;
use crate::words::memo::PairMemo;

use self::sentences::{block_line, blocked_line, mode_line};
use self::verdict::Question;

/// What operations work on.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// Lists, kernel and journal.
    pub enforcer: &'a Enforcer,
    /// The configuration in force.
    pub loaded: &'a Loaded,
    /// Where changes are recorded; `None` where the log cannot be opened.
    pub audit: Option<&'a AuditLog>,
    /// The daemon, if this is one.
    pub daemon: Option<&'a dyn Running>,
}

/// What only a running daemon knows and does.
pub trait Running {
    /// What `status` says of it.
    fn status(&self) -> DaemonStatus;

    /// Where it really listens: a configured port 0 is resolved.
    fn addresses(&self) -> Vec<SocketAddr>;

    /// Takes up the configuration anew, all or nothing.
    ///
    /// Errors: what is wrong with it, with file and line; the old one stays in force.
    fn reload(&self) -> Result<Done, String>;

    /// What of it does not work as configured, beside the enforcer.
    fn problems(&self) -> Vec<String>;

    /// Follows a change of the global mode.
    fn mode_changed(&self);

    /// The credentials that are refused from an address now.
    fn held_pairs(&self) -> Vec<PairMemo>;

    /// Lets those at addresses of these networks through again; returns how many.
    ///
    /// Errors: it is done in the engine only.
    fn release_pairs(&self, networks: &[IpNet]) -> Result<usize, String>;

    /// Every key whose reputation the engine remembers.
    fn keys(&self) -> Vec<KeyMemo>;

    /// Forgets what a key earned, in the engine and in the store.
    ///
    /// Errors: it is forgotten in the engine only.
    fn forgive(&self, key: KeyHash, reason: &str) -> Result<(), String>;
}

/// Carries out one request of `actor`.
#[must_use]
pub fn perform(site: Site<'_>, actor: Actor, request: &Request, now: Wall) -> Response {
    let response = carry_out(site, actor, request, now);
    if let (Some(audit), Some((operation, target))) = (site.audit, change(request)) {
        let result = match &response {
            Response::Failed(failed) => failed.message.clone(),
            Response::Done(done) => done.did.join("; "),
            _ => "done".to_owned(),
        };
        let record = OperatorRecord {
            actor: actor.to_string(),
            operation: operation.to_owned(),
            target,
            result,
        };
        audit.record(now, Event::Operator(record));
    }
    response
}

fn carry_out(site: Site<'_>, actor: Actor, request: &Request, now: Wall) -> Response {
    let enforcer = site.enforcer;
    match request {
        Request::Status => Response::Status(Box::new(status::of(site, now))),
        Request::Reload => match site.daemon.map(Running::reload) {
            Some(Ok(done)) => Response::Done(done),
            Some(Err(message)) => Response::usage(message),
            None => Response::internal(
                "no daemon is running; it reads the configuration when it starts",
            ),
        },
        Request::SetMode { mode, for_s } => {
            let duration = for_s.map(Duration::from_secs);
            let result = enforcer.set_mode(*mode, duration, now);
            if let Some(daemon) = site.daemon {
                daemon.mode_changed();
            }
            let unended = (duration.is_some() && site.daemon.is_none()).then(|| {
                "no daemon is running to end it: the kernel stays in this mode until one starts or \
                 the next command"
                    .to_owned()
            });
            answer(result, |_set| mode_line(*mode, duration))
                .warned(kernel_warning(site))
                .warned(unended)
        }
        Request::BlockAdd {
            networks,
            asns,
            session,
            ttl_s,
            reason,
            scope,
            effect,
        } => {
            let ttl = ttl_s.map(Duration::from_secs);
            let request = BlockRequest {
                networks: networks.clone(),
                asns: asns.clone(),
                session: *session,
                ttl,
                reason: reason.clone(),
                scope: *scope,
                effect: *effect,
            };
            answer(enforcer.block(request, now), |blocked| {
                let terms = blocked_line(blocked.scope, *effect, ttl);
                let networks = networks.iter().map(|network| format!("{network} {terms}"));
                let asns = blocked.asns.iter().flat_map(|asn| asns::lines(asn, &terms));
                networks.chain(asns).collect()
            })
            .warned(kernel_warning(site))
        }
        Request::BlockDelete { networks, asns } => {
            let (blocks, _allows) = enforcer.snapshot(now);
            let listed: Vec<_> = enforcer.asns(now).iter().map(asns::number).collect();
            let targets = asns::targets(networks, asns);
            let unknown = asns::unknown(
                unknown(networks, blocks.iter().map(|block| block.network)),
                asns,
                &listed,
            );
            let response = match enforcer.unblock(networks, asns, now) {
                Ok(0) => Response::internal(format!(
                    "no block of exactly {targets}; `botguard would-block` shows what covers an address",
                )),
                result => answer(result, |n| vec![format!("{n} blocks removed")])
                    .warned(unknown.map(|networks| format!("no block of exactly {networks}"))),
            };
            pairs::released(site, networks, now, response)
        }
        Request::BlockFlush => {
            let response = answer(enforcer.flush(now), |flushed| lists::flushed(&flushed));
            pairs::all_released(site, now, response)
        }
        Request::ListImport {
            name,
            networks,
            ttl_s,
            reason,
            scope,
            effect,
            force,
        } => {
            let request = ImportRequest {
                name,
                wire: networks,
                ttl: ttl_s.map(Duration::from_secs),
                reason,
                scope: *scope,
                effect: *effect,
                force: if *force { Force::Yes } else { Force::No },
            };
            lists::import(site, request, now)
        }
        Request::ListDelete { name } => lists::delete(site, name, now),
        Request::BlockExport { origin } => lists::export(site, origin.as_deref(), now),
        Request::BlockList => {
            let (blocks, _allows) = enforcer.snapshot(now);
            let blocks = (blocks.iter()).map(|block| BlockEntry::of(&block.into(), now));
            let asns = enforcer.asns(now);
            Response::Blocks(Blocks {
                blocks: blocks.collect(),
                asns: asns.iter().map(|asn| AsnEntry::of(asn, now)).collect(),
                lists: lists::entries(site, now),
                pairs: pairs::entries(site, now),
            })
        }
        Request::AllowAdd { networks, reason } => {
            answer(enforcer.allow(networks, reason, now), |()| {
                (networks.iter())
                    .map(|network| format!("{network} allowed, whatever blocks it"))
                    .collect()
            })
        }
        Request::AllowDelete { networks } => {
            let (_blocks, allows) = enforcer.snapshot(now);
            let unknown = unknown(networks, allows.iter().map(|allow| allow.network));
            match enforcer.unallow(networks, now) {
                Ok(0) => Response::internal(format!(
                    "no allow of exactly {}; `botguard allow list` shows them",
                    list(networks)
                )),
                result => answer(result, |n| vec![format!("{n} allows removed")])
                    .warned(unknown.map(|networks| format!("no allow of exactly {networks}"))),
            }
        }
        Request::AllowList => {
            let (_blocks, allows) = enforcer.snapshot(now);
            Response::Allows(Allows {
                allows: allows.iter().map(AllowEntry::of).collect(),
            })
        }
        Request::WouldBlock { address, port } => {
            let (blocks, allows) = enforcer.covering(*address, now);
            let (dropped, because) = verdict::of(&Question {
                port: *port,
                blocks: &blocks,
                allows: &allows,
                listeners: &addresses(site),
                kernel: &enforcer.kernel(),
            });
            Response::Verdict(Verdict {
                address: *address,
                port: *port,
                dropped,
                because,
                blocks: blocks.iter().map(|b| BlockEntry::of(b, now)).collect(),
                allows: allows.iter().map(AllowEntry::of).collect(),
            })
        }
        Request::Key(request) => keys::perform(site, actor, request, now),
        Request::KernelStats => Response::Kernel(enforcer.kernel()),
        Request::KernelAttach => attach(site, now),
        Request::KernelDetach => match enforcer.detach(&site.loaded.settings.kernel.pin_dir) {
            Ok(()) => did("kernel filter, maps and pins removed"),
            Err(error) => Response::internal(error),
        },
    }
}

fn attach(site: Site<'_>, now: Wall) -> Response {
    if site.loaded.settings.kernel.backend == Backend::None {
        return Response::usage(
            "there is nothing to attach: `[kernel] backend` is \"none\"; write \"xdp\"",
        );
    }
    if let Err(error) = site.enforcer.sees_all() {
        return Response::usage(error.to_string());
    }
    match site.enforcer.attach(&site.loaded.settings.kernel, now) {
        Err(error) => Response::internal(error),
        Ok(()) => {
            site.enforcer
                .set_listeners(&local_listeners(&addresses(site)));
            let problem = site.enforcer.kernel_problem();
            problem.map_or_else(
                || Response::Kernel(site.enforcer.kernel()),
                Response::internal,
            )
        }
    }
}

/// Where the daemon listens, or would.
fn addresses(site: Site<'_>) -> Vec<SocketAddr> {
    site.daemon.map_or_else(
        || {
            let listeners = site.loaded.settings.listener.iter();
            listeners.map(|listener| listener.bind).collect()
        },
        Running::addresses,
    )
}

/// The operation and its target, if the request changes anything.
fn change(request: &Request) -> Option<(&'static str, String)> {
    match request {
        Request::Status
        | Request::BlockList
        | Request::BlockExport { .. }
        | Request::AllowList
        | Request::WouldBlock { .. }
        | Request::KernelStats => None,
        Request::Key(request) => keys::change(request),
        Request::Reload => Some(("reload", String::new())),
        Request::SetMode { mode, .. } => Some(("mode", mode.to_string())),
        Request::BlockAdd { networks, asns, .. } => {
            Some(("block add", asns::targets(networks, asns)))
        }
        Request::BlockDelete { networks, asns } => {
            Some(("block del", asns::targets(networks, asns)))
        }
        Request::BlockFlush => Some(("block flush", String::new())),
        // The result says how many there were; a record is no place for a million.
        Request::ListImport { name, .. } => Some(("block import", format!("list {name}"))),
        Request::ListDelete { name } => Some(("block del", format!("list {name}"))),
        Request::AllowAdd { networks, .. } => Some(("allow add", list(networks))),
        Request::AllowDelete { networks } => Some(("allow del", list(networks))),
        Request::KernelAttach => Some(("kernel attach", String::new())),
        Request::KernelDetach => Some(("kernel detach", String::new())),
    }
}

/// Those of the networks that are not among the listed ones.
fn unknown(networks: &[IpNet], listed: impl Iterator<Item = IpNet>) -> Option<String> {
    let listed: HashSet<_> = listed.collect();
    let unknown: Vec<_> = (networks.iter().copied())
        .filter(|network| !listed.contains(network))
        .collect();
    (!unknown.is_empty()).then(|| list(&unknown))
}

fn list(networks: &[IpNet]) -> String {
    let networks: Vec<_> = networks.iter().map(ToString::to_string).collect();
    networks.join(" ")
}

fn answer<T>(result: Result<T, OperatorError>, say: impl FnOnce(T) -> Vec<String>) -> Response {
    match result {
        Ok(value) => Response::Done(Done {
            did: say(value),
            warnings: Vec::new(),
        }),
        Err(OperatorError::Refused(refusal)) => Response::Failed(Failed {
            entry: refusal.entry,
            message: OperatorError::Refused(refusal).to_string(),
            blame: Blame::Usage,
        }),
        Err(
            error @ (OperatorError::NoList(_)
            | OperatorError::Kernel(_)
            | OperatorError::NotDurable(_)),
        ) => Response::internal(error),
        Err(error) => Response::usage(error.to_string()),
    }
}

fn did(line: &str) -> Response {
    Response::Done(Done {
        did: vec![line.to_owned()],
        warnings: Vec::new(),
    })
}

impl Response {
    fn warned(mut self, warning: Option<String>) -> Self {
        if let Self::Done(done) = &mut self {
            done.warnings.extend(warning);
        }
        self
    }
}

fn kernel_warning(site: Site<'_>) -> Option<String> {
    site.enforcer
        .kernel_problem()
        .map(|problem| format!("the kernel does not follow: {problem}"))
}

#[cfg(test)]
mod tests;
