//! The pinned filter as a whole, by a process that has the capabilities: set up, taken, looked at,
//! removed.

use super::Attachment;
use super::attach::{install, linked_program, release, running_mode};
use super::error::KernelError;
use super::pins::{PinLock, Pins};
use crate::enforcement::settings::KernelSettings;

/// Sets the filter up, or adopts it, and takes its pins for this process.
///
/// Errors: nothing new stays attached or pinned then.
pub(super) fn set_up(settings: &KernelSettings, pins: &Pins) -> Result<PinLock, KernelError> {
    let is_new = !pins.exist_in_any_layout();
    install(settings, pins).inspect_err(|_error| {
        if is_new {
            // The first error is the one to tell.
            let _unused: Result<(), KernelError> = remove(pins);
        }
    })
}

/// Takes the pins of a filter that is there for this process.
pub(super) fn take(pins: &Pins) -> Result<PinLock, KernelError> {
    if !pins.has_filter()? {
        return Err(KernelError::NotAttached(pins.directory().into()));
    }
    let lock = pins.lock()?;
    pins.verify()?;
    Ok(lock)
}

/// Where the filter is attached.
pub(super) fn attachments(pins: &Pins) -> Result<Vec<Attachment>, KernelError> {
    let interfaces = pins.linked_interfaces()?.into_iter();
    let attachments = interfaces.map(|interface| {
        let program_id = linked_program(&pins.link(&interface))?;
        Ok(Attachment {
            mode: running_mode(&interface, program_id),
            interface,
            program_id,
        })
    });
    attachments.collect()
}

/// Takes the filter out of the kernel, links first, so that no packet meets one that is half gone.
pub(super) fn remove(pins: &Pins) -> Result<(), KernelError> {
    for interface in pins.linked_interfaces()? {
        release(&interface, pins)?;
    }
    pins.remove_all()
}

/// The same for pins that this process has not taken, of whatever shape.
pub(super) fn take_and_remove(pins: &Pins) -> Result<(), KernelError> {
    if !pins.directory().exists() {
        return Err(KernelError::NotAttached(pins.directory().into()));
    }
    let _lock = pins.lock()?;
    remove(pins)
}
