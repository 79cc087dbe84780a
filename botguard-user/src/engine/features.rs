//! What a principal did lately, in a fixed number of bytes. Facts go in; signals read the numbers.

pub(crate) mod churn;
pub(crate) mod kinds;
pub(crate) mod paging;
pub(crate) mod principal;
pub(crate) mod window;
