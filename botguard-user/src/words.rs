//! Floor 1: the words that every other module speaks. Values only, no IO but the clock's.

pub mod address;
pub mod block;
pub mod bounded_map;
pub mod clock;
pub mod data_file;
pub mod header_lines;
pub mod identity;
pub mod key;
pub mod layer;
pub mod memo;
pub mod mode;
pub mod network_set;
pub mod plain;
pub mod points;
pub mod route;
pub mod rule;
pub mod spent;
pub mod units;
