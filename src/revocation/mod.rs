//! The wishes to revoke, lock and unlock; they end at the commit.
//!
//! Revoking is one write, however much it ends: a cut-off on the identity, the agency, or what was obtained with a
//! certificate. It is always written, also when nothing seems alive, and for IDs that are deleted or were never seen.
//! Locking can be undone. Telling the proxies is not done here: they follow the journal.
//!
//! `wish` has the wishes, `preview` what they would hit, `reimport` what is taken over after a restore.

pub mod preview;
pub mod reimport;
pub mod wish;
