//! What of its capabilities a process keeps. They are each thread's own (capabilities(7)): to be
//! called while there is one.

use std::io;

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

/// Nothing that this process executes will ever have a capability but `kept`, nor a privilege that
/// the process lacks.
///
/// Errors: CAP_SETPCAP is missing.
pub fn bound_capabilities(kept: CapabilitySet) -> io::Result<()> {
    set_no_new_privs(true)?;
    clear_ambient_capability_set()?;
    // Numbers that this kernel does not know are refused.
    for capability in (0..64).map(|number| CapabilitySet::from_bits_retain(1 << number)) {
        match capability_is_in_bounding_set(capability) {
            Ok(true) if !kept.contains(capability) => {
                remove_capability_from_bounding_set(capability)?;
            }
            Ok(_) => {}
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Keeps `kept` of the capabilities that this process has, and makes sure of it.
///
/// Errors: it has fewer, or the kernel gives no word of it.
pub fn hold_capabilities(kept: CapabilitySet) -> io::Result<()> {
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets)?;
    if capabilities(None)? != sets {
        return Err(io::Error::other("capabilities are others than were set"));
    }
    Ok(())
}
