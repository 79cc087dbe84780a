//! The command line: arguments, and what is shown for them.

pub mod arguments;
pub mod explain;
pub mod render;
