//! Proxies of clusters: being invited with a token, joining, renewing, being removed, and the processes that may still
//! serve on what they know.
//!
//! Read `join` first, then `instances`.

pub mod instances;
pub mod join;
pub mod look;
pub mod remove;
pub mod rows;
