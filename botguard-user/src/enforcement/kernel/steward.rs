//! The privileged helper: a process that keeps the capabilities that the kernel filter takes and
//! nothing else, while the daemon, which faces the network, has none.
//!
//! ```text
//! daemon, root:  starts the steward, says which pins it is for      once
//! daemon, root:  becomes its user, for good
//! daemon:        typed requests: attach, prepare tables, take over  one at a time
//! steward:       what came of it, and the pins' locked directory    (SCM_RIGHTS)
//! ```
//!
//! It loads botguard's own program and no other, and works on the pins that it was started for:
//! whoever takes the daemon over can have the filter drop what it likes, as the daemon could, and
//! nothing more. It holds no lists and decides nothing, and ends with the daemon. What takes no
//! capability, the daemon does itself: a ban never waits for the steward.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::Duration;

use nix::unistd::{Gid, close};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::attach::running_mode;
use super::error::KernelError;
use super::{AttachMode, Attachment};
use crate::enforcement::tables::Needs;

mod office;
mod wire;

pub use office::StewardError;

use wire::Wire;

/// What the steward is for. Said once, by root.
#[derive(Debug, Deserialize, Serialize)]
struct Terms {
    pin_dir: PathBuf,
    /// The daemon's group, which gets the maps.
    group: u32,
}

/// What the steward does.
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum Request {
    /// Sets the filter up, or adopts it. Answered with the locked directory.
    Attach {
        interfaces: Vec<String>,
        mode: AttachMode,
    },
    /// Reaches a filter that is pinned. Answered with the locked directory.
    Take,
    /// Makes a generation aside that has room for this; then has the kernel load its program.
    Prepare(Needs),
    /// Puts it in the place of the one before.
    TakeOver,
    /// Gives it up.
    Discard,
    /// Says where the filter is attached.
    Attachments,
    /// Removes the filter, whose pins the daemon has.
    Remove,
    /// Removes pins that the daemon does not have.
    TakeAndRemove,
    /// Says whether there are pins.
    IsPinned,
}

/// What came of it.
#[derive(Debug, Deserialize, Serialize)]
enum Answer {
    Done,
    Attachments(Vec<Attachment>),
    IsPinned(bool),
    Failed(String),
}

/// The steward as the daemon sees it.
#[derive(Debug)]
pub struct Steward {
    pin_dir: PathBuf,
    /// `None` once it has not answered: an answer that comes late is of another question.
    wire: Mutex<Option<Wire>>,
    /// `None` only while it is dropped.
    child: Mutex<Option<Child>>,
    /// As it said last.
    attachments: Mutex<Vec<Attachment>>,
    has_told_of_its_end: AtomicBool,
}

impl Steward {
    /// Starts the steward of this process. Takes root; it ends when this is dropped, or with this
    /// process.
    ///
    /// Errors: it cannot be started, or lacks the capabilities.
    pub fn start(pin_dir: &Path, group: Gid) -> Result<Self, StewardError> {
        let (wire, other_end) = Wire::pair().map_err(StewardError::Start)?;
        let child = spawn(other_end).map_err(StewardError::Start)?;
        let steward = Self {
            pin_dir: pin_dir.to_owned(),
            wire: Mutex::new(Some(wire)),
            child: Mutex::new(Some(child)),
            attachments: Mutex::default(),
            has_told_of_its_end: AtomicBool::new(false),
        };
        let terms = Terms {
            pin_dir: pin_dir.to_owned(),
            group: group.as_raw(),
        };
        match steward.exchange(&terms) {
            Ok(_ready) => Ok(steward),
            Err(error) => Err(StewardError::Refused(error.to_string())),
        }
    }

    /// Whether it is gone, or as good as. Logged once.
    pub(super) fn has_ended(&self) -> bool {
        let mut child = self.child.lock();
        let is_gone = !matches!(child.as_mut().map(Child::try_wait), Some(Ok(None)));
        drop(child);
        // Whoever has the lock is being answered, or will see.
        let is_silent = || self.wire.try_lock().is_some_and(|wire| wire.is_none());
        let has_ended = is_gone || is_silent();
        if has_ended && !self.has_told_of_its_end.swap(true, Ordering::Relaxed) {
            tracing::error!("{}", KernelError::StewardEnded);
        }
        has_ended
    }

    /// Itself, for these pins.
    ///
    /// Errors: they are others than it was started for.
    pub(super) fn at(&self, pin_dir: &Path) -> Result<&Self, KernelError> {
        match self.pin_dir == pin_dir {
            true => Ok(self),
            false => Err(KernelError::OtherPins(pin_dir.to_owned())),
        }
    }

    /// Where the filter is attached, without asking: nobody else changes what is in the links, and
    /// whether it runs the network says to everybody.
    pub(super) fn attachments(&self) -> Vec<Attachment> {
        let mut attachments = self.attachments.lock().clone();
        for attachment in &mut attachments {
            attachment.mode = running_mode(&attachment.interface, attachment.program_id);
        }
        attachments
    }

    /// To be called when that may have changed.
    pub(super) fn learn_attachments(&self) -> Result<(), KernelError> {
        if let (Answer::Attachments(attachments), _) = self.exchange(&Request::Attachments)? {
            *self.attachments.lock() = attachments;
        }
        Ok(())
    }

    pub(super) fn is_pinned(&self, pin_dir: &Path) -> Result<bool, KernelError> {
        match self.at(pin_dir)?.exchange(&Request::IsPinned)? {
            (Answer::IsPinned(is_pinned), _) => Ok(is_pinned),
            _ => Err(KernelError::StewardEnded),
        }
    }

    /// Has something done.
    pub(super) fn tell(&self, request: &Request) -> Result<(), KernelError> {
        self.exchange(request).map(|_done| ())
    }

    pub(super) fn ask_for_descriptor(&self, request: &Request) -> Result<OwnedFd, KernelError> {
        let (_, descriptor) = self.exchange(request)?;
        descriptor.ok_or(KernelError::StewardEnded)
    }

    fn exchange(&self, message: &impl Serialize) -> Result<(Answer, Option<OwnedFd>), KernelError> {
        let mut place = self.wire.lock();
        let wire = place.as_ref().ok_or(KernelError::StewardEnded)?;
        let answer = wire.send(message, None).and_then(|()| wire.receive());
        match answer {
            Ok(Some((Answer::Failed(why), _))) => Err(KernelError::Steward(why)),
            Ok(Some(answer)) => Ok(answer),
            failed => {
                if let Err(error) = failed {
                    tracing::error!(%error, "no answer of the privileged helper");
                }
                *place = None;
                Err(KernelError::StewardEnded)
            }
        }
    }
}

impl Drop for Steward {
    /// It ends as its wire is closed, and would be a zombie for as long as this process goes on. One
    /// that hangs keeps nobody waiting.
    fn drop(&mut self) {
        drop(self.wire.get_mut().take());
        let Some(mut child) = self.child.get_mut().take() else {
            return;
        };
        let reaper = Builder::new().name("steward".to_owned());
        if let Err(error) = reaper.spawn(move || child.wait()) {
            tracing::debug!(%error, "the privileged helper is not waited for");
        }
    }
}

/// Is the steward, until the daemon that started it ends.
///
/// Errors: it was started by somebody else, or there is no word with the daemon.
pub fn run() -> Result<(), StewardError> {
    close_what_was_left_open().map_err(StewardError::NoDaemon)?;
    // The socket, beside the descriptor that stays standard input.
    let end = io::stdin().as_fd().try_clone_to_owned();
    office::run(end.map_err(StewardError::NoDaemon)?)
}

/// Whatever whoever started the daemon forgot to close: it is nothing of the steward's. To be called
/// before it has opened anything.
fn close_what_was_left_open() -> io::Result<()> {
    let numbers: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for number in numbers {
        if number > 2 {
            // The one by which they were listed is closed already.
            let _closed: nix::Result<()> = close(number);
        }
    }
    Ok(())
}

/// The hidden command of the binary that is the steward.
pub const STEWARD_COMMAND: &str = "steward";

/// Longer than the verifier, or the links' grace periods, ever take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// In a process group of its own: Ctrl-C is the daemon's.
fn spawn(end: OwnedFd) -> io::Result<Child> {
    let log = std::env::var_os("BOTGUARD_LOG");
    Command::new("/proc/self/exe")
        .arg0("botguard")
        .arg(STEWARD_COMMAND)
        .env_clear()
        .envs(log.map(|filter| ("BOTGUARD_LOG", filter)))
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::from(File::from(end)))
        .stdout(Stdio::null())
        .spawn()
}
