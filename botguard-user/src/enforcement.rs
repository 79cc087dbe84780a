//! Floor 3: what is blocked and allowed, and its compiled copy in the kernel.
//!
//! ```text
//! BlockList (truth) ─► plan (pure) ─► tables (words) ─► KernelFilter (maps, pinned)
//!   ▲ single blocks, layers  KernelClock: wall time ─► ticks
//!   └─ NeverBlock refuses what would shut the operator out
//! ```
//!
//! Not here: the decision to ban (engine), and the file that survives a reboot (store).

pub mod clock_watch;
pub mod import;
pub mod layer_index;
pub mod layers;
pub mod list;
pub mod network_map;

pub mod never_block;

/// Words, since the store keeps them too.
pub use crate::words::{layer, network_set};

pub mod kernel_clock;
pub mod plan;
pub mod recovery;
pub mod rules;
pub mod tables;

pub mod kernel;

pub mod settings;
