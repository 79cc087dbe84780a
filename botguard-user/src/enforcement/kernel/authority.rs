//! Who does what takes capabilities: making maps, loading programs, attaching, pinning. What is done
//! to maps that exist takes their descriptors only (Linux 5.19, c8644cd0efe7), and is not here.

use std::path::Path;
use std::sync::Arc;

use super::attach::Generation;
use super::error::KernelError;
use super::generation::{KernelTables, tables_aside};
use super::pins::{PinLock, Pins};
use super::steward::{Request, Steward};
use super::{Attachment, KernelSettings, whole};
use crate::enforcement::tables::{Needs, Sizes};

/// Who has the capabilities.
#[derive(Clone, Debug, Default)]
pub enum Authority {
    /// This process, if anybody.
    #[default]
    Own,
    /// A process that has kept them, by request.
    Steward(Arc<Steward>),
}

impl Authority {
    /// What is wrong with it.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Own => None,
            Self::Steward(steward) => {
                (steward.has_ended()).then(|| KernelError::StewardEnded.to_string())
            }
        }
    }

    /// Why nothing can be done to these pins, where that is known beforehand.
    #[must_use]
    pub fn refusal(&self, pin_dir: &Path) -> Option<KernelError> {
        match self {
            Self::Own => None,
            Self::Steward(steward) if steward.has_ended() => Some(KernelError::StewardEnded),
            Self::Steward(steward) => steward.at(pin_dir).err(),
        }
    }

    /// Whether there are pins, of whatever shape. What nobody can tell is not told.
    #[must_use]
    pub fn is_pinned(&self, pin_dir: &Path) -> bool {
        match self {
            Self::Own => Pins::below(pin_dir).directory().exists(),
            Self::Steward(steward) => steward.is_pinned(pin_dir).unwrap_or(false),
        }
    }

    /// Removes pins that this process has not taken, of whatever shape, and what hangs on them.
    ///
    /// Errors: [`KernelError::NotAttached`], or what could not be removed.
    pub fn take_and_remove(&self, pin_dir: &Path) -> Result<(), KernelError> {
        match self {
            Self::Own => whole::take_and_remove(&Pins::below(pin_dir)),
            Self::Steward(steward) => steward.at(pin_dir)?.tell(&Request::TakeAndRemove),
        }
    }

    /// [`whole::set_up`].
    pub(super) fn attach(&self, settings: &KernelSettings) -> Result<(Pins, PinLock), KernelError> {
        match self {
            Self::Own => {
                let pins = Pins::below(&settings.pin_dir);
                let lock = whole::set_up(settings, &pins)?;
                Ok((pins, lock))
            }
            Self::Steward(steward) => taken(
                &settings.pin_dir,
                steward,
                &Request::Attach {
                    interfaces: settings.interfaces.clone(),
                    mode: settings.mode,
                },
            ),
        }
    }

    /// [`whole::take`].
    pub(super) fn open(&self, pin_dir: &Path) -> Result<(Pins, PinLock), KernelError> {
        match self {
            Self::Own => {
                let pins = Pins::below(pin_dir);
                let lock = whole::take(&pins)?;
                Ok((pins, lock))
            }
            Self::Steward(steward) => taken(pin_dir, steward, &Request::Take),
        }
    }

    /// Makes a generation aside.
    pub(super) fn aside(
        &self,
        pins: &Pins,
        needs: &Needs,
        seed: u64,
    ) -> Result<Aside, KernelError> {
        match self {
            Self::Own => {
                let generation = Generation::load(pins, &Sizes::of(needs)?, seed)?;
                Ok(Aside::Own(Box::new(generation)))
            }
            Self::Steward(steward) => {
                steward.tell(&Request::Prepare(*needs))?;
                let steward = Arc::clone(steward);
                let tables = Box::new(tables_aside(pins, seed)?);
                Ok(Aside::Steward { steward, tables })
            }
        }
    }

    /// Gives up what was made aside.
    pub(super) fn discard(&self, pins: &Pins) -> Result<(), KernelError> {
        match self {
            Self::Own => pins.remove_aside(),
            Self::Steward(steward) => steward.tell(&Request::Discard),
        }
    }

    /// [`whole::attachments`].
    pub(super) fn attachments(&self, pins: &Pins) -> Result<Vec<Attachment>, KernelError> {
        match self {
            Self::Own => whole::attachments(pins),
            Self::Steward(steward) => Ok(steward.attachments()),
        }
    }

    /// [`whole::remove`].
    pub(super) fn remove(&self, pins: &Pins) -> Result<(), KernelError> {
        match self {
            Self::Own => whole::remove(pins),
            Self::Steward(steward) => steward.tell(&Request::Remove),
        }
    }
}

/// Pins that the steward has taken for this process.
fn taken(
    pin_dir: &Path,
    steward: &Steward,
    request: &Request,
) -> Result<(Pins, PinLock), KernelError> {
    let lock = PinLock::passed_on(steward.at(pin_dir)?.ask_for_descriptor(request)?);
    steward.learn_attachments()?;
    Ok((Pins::through(pin_dir, &lock), lock))
}

/// A generation that is not yet in force.
pub(super) enum Aside {
    /// Of this process alone.
    Own(Box<Generation>),
    /// Whose programs the steward has.
    Steward {
        /// Who.
        steward: Arc<Steward>,
        /// To be filled.
        tables: Box<KernelTables>,
    },
}

impl Aside {
    /// [`Generation::filled_by`]. The steward says only when it is to take over what the kernel said
    /// of the program.
    pub(super) fn filled_by<T>(
        &mut self,
        fill: impl FnOnce(&mut KernelTables) -> T,
    ) -> Result<T, KernelError> {
        match self {
            Self::Own(generation) => generation.filled_by(fill),
            Self::Steward { tables, .. } => Ok(fill(tables)),
        }
    }

    /// [`Generation::take_over`].
    pub(super) fn take_over(self, pins: &Pins) -> Result<KernelTables, KernelError> {
        match self {
            Self::Own(generation) => generation.take_over(pins),
            Self::Steward { steward, tables } => {
                let done = steward.tell(&Request::TakeOver);
                // Also after an error: some links may have gone over.
                let learned = steward.learn_attachments();
                done.and(learned).map(|()| *tables)
            }
        }
    }
}
