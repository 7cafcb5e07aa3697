//! What proxies ask of the authority, and what is asked about them.
//!
//! [`follow`] carries the feed; [`join`] has a proxy's certificates made; [`look_up`] answers for a certificate that a
//! proxy does not know yet; [`manage`] is for people.

pub mod follow;
mod hand_in;
pub mod join;
pub mod look_up;
pub mod manage;
