//! temp
pub mod reason;
