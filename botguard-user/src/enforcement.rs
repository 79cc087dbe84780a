//! Floor 3: what is blocked and allowed, and its compiled copy in the kernel.

pub mod block;
