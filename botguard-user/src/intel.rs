//! intel.
