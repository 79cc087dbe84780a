//! What a daemon gives up for the next one while its last connections are still served.

use super::{Enforcer, KernelSide};
use crate::enforcement::kernel::Authority;

/// Why a ban is not carried out then.
pub(super) const REASON: &str =
    "this daemon has handed over to the next one, and only closes its own connections";

impl Enforcer {
    /// Gives up the kernel filter, which goes on dropping, and the store, once everything queued is
    /// in it. The lists stay as they are for the connections that this process still has.
    pub fn release(&self) {
        // With its authority goes the steward, if there is one, and what that holds.
        *self.kernel.lock() = KernelSide::off(Authority::Own);
        self.journal.close();
    }

    /// Whether it was.
    pub(super) fn is_released(&self) -> bool {
        self.journal.is_closed()
    }
}
