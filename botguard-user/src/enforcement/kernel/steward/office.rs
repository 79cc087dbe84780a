//! The steward's own side: gives up what it does not need, then does what it is asked, one request
//! after the other, until the daemon is gone.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::SigSet;
use nix::unistd::{Gid, setgroups, setresgid};
use rustix::thread::CapabilitySet;

use super::wire::Wire;
use super::{Answer, Request, Terms};
use crate::enforcement::kernel::attach::Generation;
use crate::enforcement::kernel::capabilities::{bound_capabilities, hold_capabilities};
use crate::enforcement::kernel::error::KernelError;
use crate::enforcement::kernel::pins::{PinLock, Pins};
use crate::enforcement::kernel::{KernelSettings, whole};
use crate::enforcement::tables::Sizes;

/// The privileged helper cannot be had. Internal, or the fault of whoever bounds the daemon.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StewardError {
    /// It was not started.
    #[error("cannot start the privileged helper: {0}")]
    Start(#[source] io::Error),
    /// It was started and gave up.
    #[error("the privileged helper does not start: {0}")]
    Refused(String),
    /// It was not a daemon that started it.
    #[error("`botguard steward` is started by the daemon alone: {0}")]
    NoDaemon(#[source] io::Error),
}

/// What the kernel filter takes: CAP_BPF to make maps and load programs, CAP_NET_ADMIN for programs
/// of the network and to attach them, CAP_PERFMON since the verifier refuses the program without it
/// (seen on Linux 6.18: EACCES). The pins are in directories of its own uid, which stays root's.
const KEPT: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::PERFMON);

/// The process. Its standard input is the socket.
pub(super) fn run(end: OwnedFd) -> Result<(), StewardError> {
    let wire = Wire::of(end);
    let terms = wire.receive::<Terms>().map_err(StewardError::NoDaemon)?;
    let Some((terms, _)) = terms else {
        return Ok(());
    };
    let (answer, office) = match confine(Gid::from_raw(terms.group)) {
        Ok(()) => (Answer::Done, Some(Office::of(&terms))),
        Err(error) => (Answer::Failed(error.to_string()), None),
    };
    wire.send(&answer, None).map_err(StewardError::Start)?;
    match office {
        Some(office) => office.serve(&wire).map_err(StewardError::NoDaemon),
        None => Ok(()),
    }
}

/// Leaves root's uid, for files that are root's, the daemon's group, and [`KEPT`].
fn confine(group: Gid) -> io::Result<()> {
    // A service manager tells all processes of a service to end; this one ends after the daemon.
    SigSet::all().thread_block()?;
    set_dumpable(false)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    setgroups(&[])?;
    setresgid(group, group, group)?;
    bound_capabilities(KEPT)?;
    hold_capabilities(KEPT).map_err(|error| {
        io::Error::other(format!(
            "{error}; it takes root with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, also in \
             CapabilityBoundingSet="
        ))
    })
}

struct Office {
    settings: KernelSettings,
    pins: Pins,
    group: Gid,
    /// A second descriptor of what the daemon has: should it be killed, nobody has the pins before
    /// what is going on here has ended.
    lock: Option<PinLock>,
    aside: Option<Prepared>,
}

struct Prepared {
    generation: Generation,
    /// What the kernel said of its programs; `None` where it was not asked yet.
    loaded: Option<Result<(), KernelError>>,
}

impl Office {
    fn of(terms: &Terms) -> Self {
        Self {
            settings: KernelSettings {
                pin_dir: terms.pin_dir.clone(),
                ..KernelSettings::default()
            },
            pins: Pins::below(&terms.pin_dir),
            group: Gid::from_raw(terms.group),
            lock: None,
            aside: None,
        }
    }

    /// Errors: a message that is none. The daemon is not to be trusted then.
    fn serve(mut self, wire: &Wire) -> io::Result<()> {
        while let Some((request, _)) = wire.receive()? {
            let passes_on = matches!(request, Request::Attach { .. } | Request::Take);
            let answer = self
                .perform(request)
                .unwrap_or_else(|error| Answer::Failed(error.to_string()));
            let passed_on = match (&answer, &self.lock) {
                (Answer::Done, Some(lock)) if passes_on => Some(lock.as_fd()),
                _ => None::<BorrowedFd<'_>>,
            };
            match wire.send(&answer, passed_on) {
                // The daemon is gone.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                sent => sent?,
            }
            self.load();
        }
        Ok(())
    }

    fn perform(&mut self, request: Request) -> Result<Answer, KernelError> {
        match request {
            Request::Attach { interfaces, mode } => {
                self.let_go();
                self.settings.interfaces = interfaces;
                self.settings.mode = mode;
                let lock = whole::set_up(&self.settings, &self.pins)?;
                self.pins.share(self.group)?;
                self.lock = Some(lock);
            }
            Request::Take => {
                self.let_go();
                let lock = whole::take(&self.pins)?;
                self.pins.share(self.group)?;
                self.lock = Some(lock);
            }
            Request::Prepare(needs) => {
                self.aside = None;
                let sizes = Sizes::of(&needs)?;
                // The seed is of what the daemon writes; nothing is written here.
                let generation = Generation::load(&self.pins, &sizes, 0)?;
                self.pins.share_aside(self.group)?;
                self.aside = Some(Prepared {
                    generation,
                    loaded: None,
                });
            }
            Request::TakeOver => {
                let aside = self.aside.take();
                let none = || KernelError::Load("nothing was prepared".into());
                let Prepared { generation, loaded } = aside.ok_or_else(none)?;
                loaded.ok_or_else(none)??;
                generation.take_over(&self.pins)?;
                self.pins.share(self.group)?;
            }
            Request::Discard => {
                self.aside = None;
                self.pins.remove_aside()?;
            }
            Request::Attachments => {
                return Ok(Answer::Attachments(whole::attachments(&self.pins)?));
            }
            Request::Remove => whole::remove(&self.pins)?,
            Request::TakeAndRemove => {
                self.let_go();
                whole::take_and_remove(&self.pins)?;
            }
            Request::IsPinned => {
                return Ok(Answer::IsPinned(self.pins.directory().exists()));
            }
        }
        Ok(Answer::Done)
    }

    /// What the daemon has let go of.
    fn let_go(&mut self) {
        self.aside = None;
        self.lock = None;
    }

    /// Has the kernel load what was prepared, while the daemon fills the tables.
    fn load(&mut self) {
        if let Some(prepared) = &mut self.aside
            && prepared.loaded.is_none()
        {
            prepared.loaded = Some(prepared.generation.filled_by(|_tables| ()));
        }
    }
}
