//! What benchmarks share, whatever they measure: numbers drawn from a seed, the lists and sources
//! made from them, samples, and the table that comes out.

pub mod console;
pub mod random;
pub mod report;
pub mod statistics;
pub mod systems;
pub mod workload;
