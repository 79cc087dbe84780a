//! The command line: turns arguments into a request, has it carried out by the daemon or, without
//! one, by itself (`access`), and shows what came of it.
//!
//! Results go to standard output, errors and logs to standard error. Whoever stops reading
//! (`| head`) ends the command quietly.

pub mod arguments;
pub mod explain;
pub mod render;
pub mod replay;

mod access;
mod events;
mod keys;
mod lists;
mod session;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use ipnet::IpNet;
use serde::Serialize;

use self::access::{Access, AccessError};
use self::arguments::{
    Allow, Arguments, Block, Command, ExportFormat, Kernel, asns_of, networks_of,
};
use self::explain::Explanation;
use self::keys::KeyError;
use self::lists::{ListError, Source};
use self::render::Text;
use self::replay::ReplayError;
use crate::admin::protocol::{Blame, Failed, Request, Response};
use crate::audit::search;
use crate::daemon;
use crate::enforcement::kernel::KernelError;
use crate::enforcement::kernel::steward::{self, StewardError};
use crate::settings::{Loaded, SettingsError};
use crate::telemetry;
use crate::words::block::{Effect, Scope};

/// Runs the command of `arguments`, program name first.
#[must_use]
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    telemetry::start_logging();
    match run(&arguments) {
        Ok(answer) => ExitCode::from(answer as u8),
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::from(Answer::Done as u8)
        }
        Err(error) => {
            complain(&format!("error: {error}\n"));
            ExitCode::from(error.exit_status())
        }
    }
}

/// What a command that did not fail has to say by its exit status.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
enum Answer {
    /// Done, or yes.
    Done = 0,
    /// No: it would pass, something is degraded, or decisions flip.
    No = 2,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("{}", _0.message)]
    Refused(Failed),
    #[error(transparent)]
    Search(#[from] search::SearchError),
    #[error("no request `{id}` in {path} and the files rotated from it; it may not have ended yet")]
    NoRequest { id: String, path: String },
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error(transparent)]
    Daemon(#[from] daemon::StartError),
    #[error(
        "a block of every packet of {0} would end your own SSH session; write networks that leave your address out, \
         or leave out `--scope host`"
    )]
    OwnSession(IpNet),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error(transparent)]
    Steward(#[from] StewardError),
    #[error(transparent)]
    List(#[from] ListError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("cannot write the result: {0}")]
    Output(#[from] io::Error),
}

impl CommandError {
    const fn exit_status(&self) -> u8 {
        match self {
            Self::Settings(_)
            | Self::Replay(ReplayError::Settings(_))
            | Self::OwnSession(_)
            | Self::Refused(Failed {
                blame: Blame::Usage,
                ..
            }) => USAGE,
            Self::Daemon(error) if error.is_usage() => USAGE,
            Self::List(error) if error.is_usage() => USAGE,
            Self::Key(error) if error.is_usage() => USAGE,
            Self::Refused(_)
            | Self::Access(_)
            | Self::Search(_)
            | Self::NoRequest { .. }
            | Self::Replay(_)
            | Self::Kernel(_)
            | Self::Steward(_)
            | Self::Daemon(_)
            | Self::List(_)
            | Self::Key(_)
            | Self::Output(_) => FAILED,
        }
    }
}

const FAILED: u8 = 1;
/// EX_USAGE of sysexits(3).
const USAGE: u8 = 64;

fn run(arguments: &Arguments) -> Result<Answer, CommandError> {
    if matches!(arguments.command, Command::Steward) {
        // It has no configuration: the daemon has read that.
        steward::run()?;
        return Ok(Answer::Done);
    }
    let loaded = Loaded::read(&arguments.config)?;
    let mut source = None;
    let request = match &arguments.command {
        Command::Run { check: true, .. } => {
            let report = daemon::check(&loaded)?;
            show(arguments, &report)?;
            return Ok(Answer::Done);
        }
        Command::Run { take_over, .. } => {
            let succession = match take_over {
                true => daemon::Succession::TakeOver,
                false => daemon::Succession::First,
            };
            daemon::run(loaded, succession)?;
            return Ok(Answer::Done);
        }
        Command::Explain { request_id } => {
            let path = &loaded.settings.audit.path;
            let found =
                search::request(path, request_id)?.ok_or_else(|| CommandError::NoRequest {
                    id: request_id.clone(),
                    path: path.display().to_string(),
                })?;
            show(arguments, &Explanation::of(&found))?;
            return Ok(Answer::Done);
        }
        Command::Replay { files } => {
            let report = replay::replay(&loaded, files)?;
            show(arguments, &report)?;
            return Ok(match report.has_flips() {
                true => Answer::No,
                false => Answer::Done,
            });
        }
        Command::Kernel(Kernel::Events { count, duration }) => {
            let bounds = events::Bounds {
                count: *count,
                time: duration.map(|span| span.0),
            };
            let pin_dir = &loaded.settings.kernel.pin_dir;
            events::follow(pin_dir, &bounds, write, arguments.json)?;
            return Ok(Answer::Done);
        }
        Command::Block(Block::Import(import)) => {
            let list = Source::read(import)?;
            let request = list.request(import)?;
            source = Some(list);
            Some(request)
        }
        Command::Key(command) => Some(Request::Key(keys::request(command, &loaded)?)),
        command => request(command),
    };
    let Some(request) = request else {
        return Ok(Answer::Done);
    };
    if let Some(network) = session::shut_out(&request, loaded.settings.kernel.scope) {
        return Err(CommandError::OwnSession(network));
    }
    let pin_dir = loaded.settings.kernel.pin_dir.clone();
    let response = match Access::open(loaded, &request) {
        Err(AccessError::Store(error)) if request == Request::KernelDetach && !error.is_held() => {
            access::detach_without_store(&pin_dir, &error)
        }
        access => access?.perform(&request)?,
    };
    if let Response::Failed(failed) = response {
        return Err(CommandError::Refused(match &source {
            Some(source) => source.place(failed),
            None => failed,
        }));
    }
    if let Response::Export(export) = &response {
        let format = match &arguments.command {
            Command::Block(Block::Export { format, .. }) if !arguments.json => *format,
            _ => ExportFormat::Json,
        };
        lists::write(export, format, &mut io::stdout().lock())?;
    } else if arguments.json {
        write_json(&response)?;
    } else {
        write(&Text(&response).to_string())?;
    }
    Ok(answer(&response))
}

/// The request of a command that is one by itself; `run`, `explain`, `replay` and `kernel events` are
/// not, and those of imports and keys are made with their files.
fn request(command: &Command) -> Option<Request> {
    Some(match command {
        Command::Run { .. }
        | Command::Steward
        | Command::Explain { .. }
        | Command::Replay { .. }
        | Command::Block(Block::Import(_))
        | Command::Key(_)
        | Command::Kernel(Kernel::Events { .. }) => {
            return None;
        }
        Command::Reload => Request::Reload,
        Command::Mode { mode, duration } => Request::SetMode {
            mode: (*mode).into(),
            for_s: duration.map(|span| span.0.as_secs()),
        },
        Command::Status => Request::Status,
        Command::Block(Block::Add {
            targets,
            ttl,
            reason,
            scope,
            count_only,
        }) => Request::BlockAdd {
            networks: networks_of(&targets.targets),
            asns: asns_of(&targets.targets),
            session: session::peer(),
            ttl_s: ttl.map(|span| span.0.as_secs()),
            reason: reason.clone(),
            scope: scope.map(Scope::from),
            effect: if *count_only {
                Effect::Count
            } else {
                Effect::Drop
            },
        },
        Command::Block(Block::Del {
            origin: Some(name), ..
        }) => Request::ListDelete { name: name.clone() },
        Command::Block(Block::Del {
            targets,
            origin: None,
        }) => Request::BlockDelete {
            networks: networks_of(targets),
            asns: asns_of(targets),
        },
        Command::Block(Block::Export { origin, .. }) => Request::BlockExport {
            origin: origin.clone(),
        },
        Command::Block(Block::List) => Request::BlockList,
        Command::Block(Block::Flush) => Request::BlockFlush,
        Command::Allow(Allow::Add { targets, reason }) => Request::AllowAdd {
            networks: targets.networks.clone(),
            reason: reason.clone(),
        },
        Command::Allow(Allow::Del { targets }) => Request::AllowDelete {
            networks: targets.networks.clone(),
        },
        Command::Allow(Allow::List) => Request::AllowList,
        Command::WouldBlock { address, port } => Request::WouldBlock {
            address: address.to_canonical(),
            port: *port,
        },
        Command::Kernel(Kernel::Attach) => Request::KernelAttach,
        Command::Kernel(Kernel::Detach) => Request::KernelDetach,
        Command::Kernel(Kernel::Stats) => Request::KernelStats,
    })
}

fn answer(response: &Response) -> Answer {
    match response {
        Response::Verdict(verdict) if !verdict.dropped => Answer::No,
        Response::Status(status) if !status.degraded.is_empty() => Answer::No,
        _ => Answer::Done,
    }
}

fn show<T: Serialize + std::fmt::Display>(arguments: &Arguments, result: &T) -> io::Result<()> {
    if arguments.json {
        write_json(result)
    } else {
        write(&result.to_string())
    }
}

fn write_json(result: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(result)?;
    text.push('\n');
    write(&text)
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn complain(text: &str) {
    // Where standard error cannot be written either, the exit status has to do.
    let _written: io::Result<()> = io::stderr().lock().write_all(text.as_bytes());
}

/// Help and version are answers; the rest is bad usage, for which clap itself would exit with 2.
fn usage(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    if error.use_stderr() {
        complain(&text);
        return ExitCode::from(USAGE);
    }
    match write(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_error) => ExitCode::from(FAILED),
    }
}
